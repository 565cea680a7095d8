"""A job, its status, and a page of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

import attrs

__all__ = ["Failure", "FineTuneJob", "JobPage", "JobStatus"]


class JobStatus(StrEnum):
    """Where a job is in its life. `SUCCEEDED`, `FAILED` and `CANCELED` are final; nothing else is."""

    PENDING = "PENDING"
    """Accepted, not started."""
    QUEUING = "QUEUING"
    """Waiting for its turn: an account trains one job at a time, so this may last hours."""
    RUNNING = "RUNNING"
    """Training."""
    CANCELING = "CANCELING"
    """A cancel was accepted; the job is still stopping, and may yet end in any of the three ways."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    SUSPENDED = "SUSPENDED"
    """Known to the official SDK, documented nowhere; not final."""
    UNKNOWN = "UNKNOWN"
    """The service cannot tell (documented for some job kinds); not final."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """A word this version does not know. `FineTuneJob.raw_status` keeps it."""

    @property
    def is_terminal(self) -> bool:
        """Whether the word alone says that the job has ended."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})

# What a watcher calls a change. `request_id` differs in every answer and says nothing about the job.
_CHANGE_FIELDS = (
    "raw_status",
    "end_time",
    "usage",
    "output_cnt",
    "finetuned_output",
    "code",
    "message",
)


@attrs.frozen(kw_only=True)
class Failure:
    """Why a job failed, as far as the job itself says it."""

    code: str | None = None
    """The service's code, such as ``InvalidParameter``."""
    message: str | None = None
    """The service's text."""


@attrs.frozen(kw_only=True)
class FineTuneJob:
    """One snapshot of a fine-tuning job.

    Two snapshots are equal when all fields are; the two mappings do not take part in the hash.
    Optional fields are `None` where the service left them out, sent null, or sent something that
    cannot be read without guessing (the original is then in `extra`).
    """

    job_id: str
    """The job's id, such as ``ft-202410291653-1c7f``."""
    status: JobStatus
    """The status, with known spelling variants folded (``SUCCEED`` is `JobStatus.SUCCEEDED`)."""
    raw_status: str
    """The status word exactly as the service sent it."""
    job_name: str | None = None
    """Free text given at creation, else the same as `job_id`."""
    finetuned_output: str | None = None
    """Name of the resulting model. Reserved early for many jobs: its presence is no sign of success."""
    model: str | None = None
    """The model that is tuned; may itself be a tuned one."""
    base_model: str | None = None
    """The foundation model underneath `model`."""
    training_file_ids: tuple[str, ...] = ()
    """Training file ids (or URLs). Empty on newer jobs, whose data sets are in `extra`."""
    validation_file_ids: tuple[str, ...] = ()
    """Validation file ids; often empty."""
    hyper_parameters: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Only those set explicitly, untouched: ``learning_rate`` may be text or a number."""
    training_type: str | None = None
    """``sft``, ``efficient_sft``, ``cpt``, ``dpo_full``, ``dpo_lora``, …"""
    create_time: datetime | None = None
    """When the job was created: naive, as sent. The service names no zone (Beijing and Singapore
    stamps fit UTC+8)."""
    workspace_id: str | None = None
    """Workspace the job belongs to."""
    user_identity: str | None = None
    """UID of the owner."""
    modifier: str | None = None
    """UID of whoever acted last (for instance cancelled)."""
    creator: str | None = None
    """UID of the author."""
    end_time: datetime | None = None
    """When the job ended; documented for terminal jobs only."""
    group: str | None = None
    """Kind of job, such as ``llm``."""
    usage: int | None = None
    """Tokens trained on (other units for other `group` values)."""
    output_cnt: int | None = None
    """Checkpoints produced so far, where the model supports several."""
    max_output_cnt: int | None = None
    """Upper bound of `output_cnt`."""
    code: str | None = None
    """Result code the *job* carries. Data, not a request error; ``"1"`` is seen on canceled jobs."""
    message: str | None = None
    """Text that goes with `code`."""
    request_id: str | None = None
    """Id of the answer this snapshot came from: quote it in a support ticket."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name, and originals that could not be read."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended.

        True for the three final statuses, and for a word nobody knows when the service also gives an
        `end_time` (which its page promises for ended jobs only).
        """
        if self.status is JobStatus.UNRECOGNIZED:
            return self.end_time is not None
        return self.status.is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether the status is `JobStatus.SUCCEEDED`."""
        return self.status is JobStatus.SUCCEEDED

    @property
    def failure(self) -> Failure | None:
        """Why the job FAILED, or `None` where it gives no reason or has not failed.

        The service documents no place for it. These are read, in this order: `code` and `message`,
        ``error`` and ``error_code`` in `extra`, and the code and message around the job (``envelope`` in
        `extra`). The first with a text wins, else the first with a code. The job's logs may say more.
        """
        if self.status is not JobStatus.FAILED:
            return None
        reasons = (
            Failure(code=_said(self.code), message=_said(self.message)),
            _reason(self.extra.get("error")),
            Failure(code=_said(self.extra.get("error_code"))),
            _reason(self.extra.get("envelope")),
        )
        with_text = next((reason for reason in reasons if reason.message is not None), None)
        return with_text or next((reason for reason in reasons if reason.code is not None), None)

    @property
    def duration(self) -> timedelta | None:
        """Time from creation to end, queue included; `None` where it cannot be told."""
        if self.create_time is None or self.end_time is None:
            return None
        if (self.create_time.tzinfo is None) != (self.end_time.tzinfo is None):
            return None
        elapsed = self.end_time - self.create_time
        return elapsed if elapsed >= timedelta(0) else None

    def is_change_from(self, earlier: FineTuneJob | None) -> bool:
        """Whether this snapshot tells a watcher something that `earlier` did not.

        A change is a change of `raw_status`, `end_time`, `usage`, `output_cnt`, `finetuned_output`,
        `code` or `message`. Anything is a change from `None`.
        """
        if earlier is self:
            return False
        return earlier is None or any(
            getattr(self, name) != getattr(earlier, name) for name in _CHANGE_FIELDS
        )


def _reason(value: object) -> Failure:
    if not isinstance(value, Mapping):
        return Failure(message=_said(value))
    facts = cast("Mapping[object, object]", value)
    return Failure(code=_said(facts.get("code")), message=_said(facts.get("message")))


def _said(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


@attrs.frozen(kw_only=True)
class JobPage:
    """One page of the account's jobs (``GET /fine-tunes``)."""

    page_no: int
    """1-based page number, as the service echoed it (else as asked)."""
    page_size: int
    """Jobs per page, as the service echoed it (else as asked)."""
    total: int | None = None
    """Number of jobs over all pages, where the service says it."""
    jobs: tuple[FineTuneJob, ...] = ()
    """The jobs, each a whole snapshot. Order is undocumented; samples show the newest first. A row that
    cannot be read as a job is left out, and is in ``extra["jobs"]``."""
    request_id: str | None = None
    """Id of the answer."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name; under ``jobs`` the rows that could not be read."""
