"""A fine-tuning job, its status, and a page of the list of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

import attrs

from dashscope_ft_async.models.base import EMPTY_MAPPING, ConfigurationError, Model
from dashscope_ft_async.models.text import safe_word

__all__ = ["Failure", "FineTuneJob", "JobPage", "JobStatus"]


class JobStatus(StrEnum):
    """Status of a job. Only `SUCCEEDED`, `FAILED` and `CANCELED` are final."""

    PENDING = "PENDING"
    """Accepted, not started."""
    QUEUING = "QUEUING"
    """Waiting to start. An account trains one job at a time, so this may last hours."""
    RUNNING = "RUNNING"
    """Training."""
    CANCELING = "CANCELING"
    """A cancel request was accepted. The job may still end in any of the three final statuses."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    SUSPENDED = "SUSPENDED"
    """Defined by the official SDK but not documented; not final."""
    UNKNOWN = "UNKNOWN"
    """The service does not know the status (documented for some kinds of jobs); not final."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """A word that this version does not know; `FineTuneJob.raw_status` has it."""

    @property
    def is_terminal(self) -> bool:
        """Whether this status alone means that the job has ended."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})
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
class Failure(Model):
    """Why a job failed, as far as the job says so."""

    code: str | None = None
    """The service's code, such as ``InvalidParameter``."""
    message: str | None = None
    """The service's message."""


@attrs.frozen(kw_only=True)
class FineTuneJob(Model):
    """One snapshot of a fine-tuning job.

    Two snapshots are equal if all fields are equal. Optional fields are `None` or empty if the service
    left them out, sent null, or sent a value that cannot be read without guessing; `extra` then has the
    original value.
    """

    job_id: str
    """Id of the job, such as ``ft-202410291653-1c7f``."""
    status: JobStatus
    """The status. Known spelling variants are unified: ``SUCCEED`` is `JobStatus.SUCCEEDED`."""
    raw_status: str
    """The status exactly as the service sent it."""
    job_name: str | None = None
    """The name given at creation; without one, the service uses the job id."""
    finetuned_output: str | None = None
    """Name of the resulting model. Many jobs have it long before they succeed."""
    model: str | None = None
    """The model that is tuned, which may be a tuned model itself."""
    base_model: str | None = None
    """The foundation model that `model` is based on."""
    training_file_ids: tuple[str, ...] = ()
    """Ids or URLs of the training files. Empty for newer jobs, which have `training_datasets`."""
    validation_file_ids: tuple[str, ...] = ()
    """Ids or URLs of the validation files; often empty."""
    training_datasets: tuple[Mapping[str, Any], ...] = attrs.field(default=(), hash=False)
    """The training data of newer jobs, such as ``{"data_source_type": "file_id", "file_id": …}``."""
    validation_datasets: tuple[Mapping[str, Any], ...] = attrs.field(default=(), hash=False)
    """The validation data of newer jobs."""
    hyper_parameters: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """The hyper-parameters that were set explicitly, as sent: ``learning_rate`` may be text or a number."""
    training_type: str | None = None
    """``sft``, ``efficient_sft``, ``cpt``, ``dpo_full``, ``dpo_lora``, …"""
    create_time: datetime | None = None
    """When the job was created. Naive unless the service named a time zone, which it usually does not;
    times of jobs in Beijing and Singapore fit UTC+8."""
    workspace_id: str | None = None
    """Workspace of the job."""
    user_identity: str | None = None
    """UID of the owner."""
    modifier: str | None = None
    """UID of the last user who changed the job, for example cancelled it."""
    creator: str | None = None
    """UID of the user who created the job."""
    end_time: datetime | None = None
    """When the job ended; documented for ended jobs only."""
    group: str | None = None
    """Kind of job, such as ``llm``."""
    usage: int | None = None
    """Number of tokens trained on; another unit for some values of `group`."""
    output_cnt: int | None = None
    """Number of checkpoints so far, for models that save several."""
    max_output_cnt: int | None = None
    """Upper limit of `output_cnt`."""
    model_name: str | None = None
    """Display name of the resulting model."""
    charge_type: str | None = None
    """How the job is billed, such as ``token``."""
    code: str | None = None
    """Result code of the job. It is no error of the request; cancelled jobs have been seen with ``"1"``."""
    message: str | None = None
    """Message that belongs to `code`."""
    request_id: str | None = None
    """Id of the request that returned this snapshot. Support asks for it."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name, and the original values that could not be read."""

    def __repr__(self) -> str:
        words = (self.job_id, self.raw_status, self.model)
        return f"<FineTuneJob {' '.join(safe_word(word) for word in words if word)}>"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended.

        True for the three final statuses. A status that this version does not know is final if the job
        has an `end_time`, which the service documents for ended jobs only.
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
        """Why the job FAILED; `None` if it did not fail or gives no reason. Its log may say more.

        The service documents no place for the reason. It is read from `code` and `message`, else from
        ``error``, ``error_code`` and ``envelope`` in `extra`; ``envelope`` has the code and message that
        stood around the job in the answer. The first with a message is used, else the first with a code.
        """
        if self.status is not JobStatus.FAILED:
            return None
        reasons = (
            Failure(code=_reason_text(self.code), message=_reason_text(self.message)),
            _reason(self.extra.get("error")),
            Failure(code=_reason_text(self.extra.get("error_code"))),
            _reason(self.extra.get("envelope")),
        )
        with_message = next((reason for reason in reasons if reason.message is not None), None)
        return with_message or next((reason for reason in reasons if reason.code is not None), None)

    @property
    def duration(self) -> timedelta | None:
        """Time from creation to end, including the time in the queue; `None` if unknown."""
        if self.create_time is None or self.end_time is None:
            return None
        if (self.create_time.tzinfo is None) != (self.end_time.tzinfo is None):
            return None
        elapsed = self.end_time - self.create_time
        return elapsed if elapsed >= timedelta(0) else None

    def is_change_from(self, earlier: FineTuneJob | None) -> bool:
        """Whether this snapshot differs from `earlier` in something that callers of `watch` are told.

        These are `raw_status`, `end_time`, `usage`, `output_cnt`, `finetuned_output`, `code` and
        `message`. Every snapshot is a change from `None`.
        """
        if earlier is self:
            return False
        return earlier is None or any(
            getattr(self, name) != getattr(earlier, name) for name in _CHANGE_FIELDS
        )

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> FineTuneJob:
        """Return the job that `to_dict` describes.

        Names that this version does not know are kept in `extra`.

        Raises:
            ConfigurationError: a field is missing or has a value that `to_dict` does not return.
        """
        if not isinstance(cast("object", mapping), Mapping):
            found = type(mapping).__name__
            raise ConfigurationError(
                f"FineTuneJob.from_dict takes the mapping that to_dict returns, not {found}."
            )
        values: dict[str, Any] = {}
        unknown = {name: value for name, value in mapping.items() if name not in _READERS}
        for name, read in _READERS.items():
            if name in mapping or name in _REQUIRED:
                try:
                    values[name] = read(mapping[name])
                except (KeyError, TypeError, ValueError):
                    found = f"not {type(mapping[name]).__name__}" if name in mapping else "and is missing"
                    raise ConfigurationError(
                        f"FineTuneJob.{name} must be as to_dict returns it, {found}."
                    ) from None
        if unknown:
            values["extra"] = {**unknown, **values.get("extra", {})}
        return cls(**values)


def _reason(value: object) -> Failure:
    if not isinstance(value, Mapping):
        return Failure(message=_reason_text(value))
    facts = cast("Mapping[object, object]", value)
    return Failure(code=_reason_text(facts.get("code")), message=_reason_text(facts.get("message")))


def _reason_text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _read_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(value)


def _read_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(value)


def _read_time(value: object) -> datetime:
    return datetime.fromisoformat(_read_text(value))


def _read_mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value)) or EMPTY_MAPPING
    raise TypeError(value)


def _tuple_of(read: Callable[[object], object]) -> Callable[[object], object]:
    def read_tuple(value: object) -> object:
        if isinstance(value, list | tuple):
            return tuple(map(read, cast("list[object]", value)))
        raise TypeError(value)

    return read_tuple


def _optional(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


_READERS_BY_TYPE: Mapping[object, Callable[[Any], object]] = {
    "str": _read_text,
    "JobStatus": JobStatus,
    "str | None": _optional(_read_text),
    "int | None": _optional(_read_number),
    "datetime | None": _optional(_read_time),
    "tuple[str, ...]": _tuple_of(_read_text),
    "tuple[Mapping[str, Any], ...]": _tuple_of(_read_mapping),
    "Mapping[str, Any]": _read_mapping,
}
_READERS = {field.name: _READERS_BY_TYPE[field.type] for field in attrs.fields(FineTuneJob)}
_REQUIRED = ("job_id", "status", "raw_status")


@attrs.frozen(kw_only=True)
class JobPage(Model):
    """One page of the account's jobs (``GET /fine-tunes``). Iterating over it gives the jobs."""

    page_no: int
    """Number of the page, from 1; as the service sent it, else as requested."""
    page_size: int
    """Jobs per page; as the service sent it, else as requested."""
    total: int | None = None
    """Number of jobs on all pages, if the service says so."""
    jobs: tuple[FineTuneJob, ...] = ()
    """Complete snapshots. The order is not documented; the documented samples begin with the newest job.
    A row that cannot be read as a job is left out and kept in ``extra["jobs"]``."""
    request_id: str | None = None
    """Id of the request."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name; under ``jobs`` the rows that could not be read."""

    def __iter__(self) -> Iterator[FineTuneJob]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<JobPage {self.page_no}: {len(self.jobs)}{of} jobs>"
