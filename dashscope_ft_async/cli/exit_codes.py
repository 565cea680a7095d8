"""The exit codes of the command, and the time limit that leads to one of them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from enum import IntEnum

from dashscope_ft_async.errors import (
    APIStatusError,
    CheckpointError,
    ConfigurationError,
    DashScopeFTError,
    JobVanishedError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import FineTuneJob, JobStatus
from dashscope_ft_async.policy import is_transient


class ExitCode(IntEnum):
    """Exit codes of the command."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    CANCELED = 3
    TIMED_OUT = 4
    REFUSED = 5
    UNREACHABLE = 6
    BUG = 70
    INTERRUPTED = 130
    READER_GONE = 141


# Final outcomes first, then errors that repeating the command would meet again, then those it may not.
_MOST_SERIOUS_FIRST = (
    ExitCode.FAILED,
    ExitCode.CANCELED,
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.UNREACHABLE,
    ExitCode.TIMED_OUT,
    ExitCode.SUCCEEDED,
)


class NoAnswerError(DashScopeFTError):
    """The time limit of the command passed before the service had answered."""

    _advice = "Try again, or give it more time with --timeout."


def exit_code_of(outcome: FineTuneJob | DashScopeFTError) -> ExitCode:
    """Return the exit code for one terminal job, or for the error that ended its wait."""
    match outcome:
        case FineTuneJob(status=JobStatus.SUCCEEDED):
            return ExitCode.SUCCEEDED
        case FineTuneJob(status=JobStatus.CANCELED):
            return ExitCode.CANCELED
        case FineTuneJob():
            return ExitCode.FAILED
        case ConfigurationError():
            return ExitCode.USAGE
        case WaitTimeoutError() | NoAnswerError():
            return ExitCode.TIMED_OUT
        case JobVanishedError() | CheckpointError():
            return ExitCode.REFUSED
        case APIStatusError() if not is_transient(outcome):
            return ExitCode.REFUSED
        case _:
            return ExitCode.UNREACHABLE


def most_serious(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code for several outcomes."""
    return min(codes, key=_MOST_SERIOUS_FIRST.index, default=ExitCode.SUCCEEDED)


@asynccontextmanager
async def time_limit(
    seconds: float | None, message: str, job_id: str | None = None
) -> AsyncGenerator[None, None]:
    """Cancel the body of the block after `seconds`; `None` is no limit.

    Raises:
        NoAnswerError: the body was cancelled; with `message` and `job_id`.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        # Some errors of the library are TimeoutErrors too.
        if isinstance(error, DashScopeFTError) or not limit.expired():
            raise
        raise NoAnswerError(message, job_id=job_id) from None


def resume_command(command: str, arguments: Iterable[str], job_ids: Iterable[str]) -> str:
    """Return `command` with its arguments, quoted for a shell."""
    ids = list(job_ids)
    # After `--`, an id that begins with a hyphen is not an option.
    separator = ["--"] if any(job_id.startswith("-") for job_id in ids) else []
    return shlex.join(["dashscope-ft", command, *arguments, *separator, *ids])
