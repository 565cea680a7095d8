"""How the wait for a job came out, as JSON between trigger, task and XCom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from dashscope_ft_async.errors import (
    DashScopeFTError,
    JobCanceledError,
    JobError,
    JobFailedError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import FineTuneJob

_JOB_ERRORS = {kind.__name__ for kind in (JobError, JobFailedError, JobCanceledError)}
_SHOWN = 10


class Outcome(TypedDict):
    """What is in XCom for each job."""

    job_id: str
    status: str | None
    """The last status seen; `None` where none was."""
    finetuned_output: str | None
    """Name of the model, of a job that has SUCCEEDED."""
    usage: int | None
    """Tokens trained on."""
    error: str | None
    """Name of the error that the wait ended with; `None` for a job that has SUCCEEDED."""
    reason: str | None
    """Text of that error."""


def of_success(job: FineTuneJob) -> Outcome:
    """Of a job that has SUCCEEDED."""
    return _outcome(job.job_id, job, None)


def of_error(job_id: str, error: DashScopeFTError) -> Outcome:
    """Of a job that ended otherwise, or whose end was not seen."""
    match error:
        case JobError():
            return _outcome(job_id, error.job, error)
        case WaitError():
            return _outcome(job_id, error.last_job, error)
        case _:
            return _outcome(job_id, None, error)


def _outcome(job_id: str, job: FineTuneJob | None, error: DashScopeFTError | None) -> Outcome:
    return {
        "job_id": job_id,
        "status": None if job is None else job.status.value,
        # Reserved early for many jobs, so it means nothing before success.
        "finetuned_output": None if job is None or error is not None else job.finetuned_output,
        "usage": None if job is None else job.usage,
        "error": None if error is None else type(error).__name__,
        "reason": None if error is None else str(error),
    }


def ended_badly(outcomes: Sequence[Outcome]) -> bool:
    """Whether a job ended, and not in success: no further wait will mend that."""
    return any(outcome["error"] in _JOB_ERRORS for outcome in outcomes)


def timed_out(outcomes: Sequence[Outcome]) -> bool:
    """Whether a deadline passed."""
    return any(outcome["error"] == WaitTimeoutError.__name__ for outcome in outcomes)


def complaint(outcomes: Sequence[Outcome]) -> str | None:
    """What went wrong, in words; `None` where all jobs have SUCCEEDED."""
    bad = [f"{outcome['error']}: {outcome['reason']}" for outcome in outcomes if outcome["error"]]
    if not bad:
        return None
    if len(outcomes) == 1:
        return bad[0]
    more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
    return "\n".join([f"{len(bad)} of {len(outcomes)} jobs did not succeed:", *bad[:_SHOWN], *more])
