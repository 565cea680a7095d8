"""What an outcome means to a shell: pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
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


# First what is final, then what the same command will meet again, last what it may mend.
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
    """The time that the command had was up before the service had answered."""

    _advice = "Try again, or give it more time with --timeout."


def exit_code_of(outcome: FineTuneJob | DashScopeFTError) -> ExitCode:
    """The code for one job: its terminal snapshot, or the error its wait ended with."""
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


def most_serious(exits: Iterable[ExitCode]) -> ExitCode:
    """The code for several jobs."""
    return min(exits, key=_MOST_SERIOUS_FIRST.index, default=ExitCode.SUCCEEDED)


def resume_command(command: str, options: Iterable[str], pending: Iterable[str]) -> str:
    """`command` again, quoted for a shell, for the jobs that had not ended."""
    ids = list(pending)
    # An id that looks like an option was given behind `--`, and must be again.
    divider = ["--"] if any(job_id.startswith("-") for job_id in ids) else []
    return shlex.join(["dashscope-ft", command, *options, *divider, *ids])
