"""What the command knows about each job. `follow` records it, the views read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import attrs

from dashscope_ft_async.cli.exit_codes import ExitCode, exit_code_of, most_serious
from dashscope_ft_async.cli.messages import printable, short_error
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus

NOT_SEEN = "not seen yet"
_QUEUED = (JobStatus.PENDING, JobStatus.QUEUING)
_LAST = datetime.max.replace(tzinfo=UTC)


@attrs.define(kw_only=True)
class Row:
    """One job."""

    job_id: str
    since: float
    """When the present status was first seen, on the caller's clock."""
    job: FineTuneJob | None = None
    error: DashScopeFTError | None = None
    exit_code: ExitCode | None = None
    """The job's own exit code, once its wait is over."""
    end_rank: int = 0
    """How many waits of the tracker were over when this one was, itself included."""

    @property
    def name(self) -> str:
        """The job id, without control characters: it may be anything that was typed."""
        return printable(self.job_id)

    @property
    def job_name(self) -> str:
        """The name of the job; empty if it is the same as the id."""
        name = "" if self.job is None else printable(self.job.job_name or "")
        return "" if name == self.name else name

    @property
    def status(self) -> str:
        """The status as text."""
        if self.job is None:
            return NOT_SEEN
        known = self.job.status is not JobStatus.UNRECOGNIZED
        return self.job.status if known else printable(self.job.raw_status)

    @property
    def queued(self) -> bool:
        """Whether the training has not begun yet."""
        return self.exit_code is None and self.job is not None and self.job.status in _QUEUED

    @property
    def failed(self) -> bool:
        """Whether the job FAILED, or the wait for it ended in an error."""
        return self.error is not None or self.exit_code is ExitCode.FAILED

    @property
    def model(self) -> str:
        """The model that is trained."""
        return printable(self.job.model or "") if self.job is not None else ""

    @property
    def checkpoints(self) -> str:
        """The number of checkpoints saved and the largest number possible: ``2/10``."""
        done = None if self.job is None else self.job.output_cnt
        most = None if self.job is None else self.job.max_output_cnt
        if most is None:
            return "" if done is None else f"{done}"
        return f"{'?' if done is None else done}/{most}"

    @property
    def result(self) -> str:
        """The name of the resulting model, or the error; empty until the wait is over."""
        if self.error is not None:
            return short_error(self.error)
        if self.job is None or self.exit_code is None:
            return ""
        if self.job.succeeded:
            return printable(self.job.finetuned_output or "")
        return printable(": ".join(part for part in (self.job.code, self.job.message) if part))


class JobTracker:
    """A row for each job, in the order in which they were given."""

    def __init__(
        self, job_ids: Iterable[str] = (), now: float = 0.0, *, is_whole_account: bool = False
    ) -> None:
        self.rows: dict[str, Row] = {}
        self.is_whole_account = is_whole_account
        """Whether it has every active job of the account."""
        self._ends = 0
        self.add(job_ids, now)

    def add(self, job_ids: Iterable[str], now: float) -> None:
        """Add rows for the jobs that have none."""
        for job_id in job_ids:
            self.rows.setdefault(job_id, Row(job_id=job_id, since=now))

    def record_snapshot(self, job: FineTuneJob, now: float) -> Row:
        """Record a snapshot."""
        row = self.rows[job.job_id]
        if row.job is None or row.job.raw_status != job.raw_status:
            row.since = now
        row.job = job
        return row

    def record_end(self, job: FineTuneJob, now: float) -> Row:
        """Record a terminal snapshot."""
        row = self.record_snapshot(job, now)
        row.exit_code = exit_code_of(job)
        return self._over(row)

    def record_error(self, job_id: str, error: DashScopeFTError) -> Row:
        """Record the error that ended a wait."""
        row = self.rows[job_id]
        row.error, row.exit_code = error, exit_code_of(error)
        return self._over(row)

    def _over(self, row: Row) -> Row:
        self._ends += 1
        row.end_rank = self._ends
        return row

    @property
    def pending(self) -> list[str]:
        """Ids of the jobs whose waits are not over."""
        return [row.job_id for row in self.rows.values() if row.exit_code is None]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code for all waits that are over."""
        return most_serious(row.exit_code for row in self.rows.values() if row.exit_code is not None)

    @property
    def error_exit_code(self) -> ExitCode:
        """The exit code for the waits that ended in an error."""
        return most_serious(exit_code_of(row.error) for row in self.rows.values() if row.error is not None)

    def status_summary(self) -> str:
        """Return the number of jobs by status: ``3 RUNNING, 1 FAILED``."""
        count = Counter(row.status for row in self.rows.values())
        return ", ".join(f"{number} {status}" for status, number in count.most_common())

    def queue_positions(self) -> dict[str, int]:
        """Return the position of each queued job in the queue of its account, from 1.

        Empty unless it has the whole account. The service does not tell positions. An account trains one
        job at a time, so the order of creation is taken.
        """
        if not self.is_whole_account:
            return {}
        queued = sorted((row for row in self.rows.values() if row.queued), key=_created)
        return {row.job_id: position for position, row in enumerate(queued, 1)}

    def select_rows(self, most: int) -> list[Row]:
        """Return at most `most` rows: all in their order, or if there are more, the most important first.

        Jobs that failed come first, the newest of them on top, but they take no more than half of the
        lines as long as others need them. Then come running jobs, queued jobs in the order of the queue,
        jobs not seen yet, and jobs that ended well, the newest first.
        """
        rows = list(self.rows.values())
        if len(rows) <= most:
            return rows
        most = max(most, 0)
        failed = sorted((row for row in rows if row.failed), key=_newest_end)
        others = sorted((row for row in rows if not row.failed), key=_importance)
        most_failed = max(most // 2, most - len(others))
        return (failed[:most_failed] + others)[:most]


def _created(row: Row) -> datetime:
    at = None if row.job is None else row.job.create_time
    return _LAST if at is None else at.replace(tzinfo=UTC)


def _newest_end(row: Row) -> int:
    return -row.end_rank


def _importance(row: Row) -> tuple[int, int, datetime]:
    if row.exit_code is not None:
        return 3, _newest_end(row), _LAST
    if row.job is None:
        return 2, 0, _LAST
    return (1, 0, _created(row)) if row.queued else (0, 0, _LAST)
