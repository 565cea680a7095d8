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


class Exit(IntEnum):
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
    Exit.FAILED,
    Exit.CANCELED,
    Exit.USAGE,
    Exit.REFUSED,
    Exit.UNREACHABLE,
    Exit.TIMED_OUT,
    Exit.SUCCEEDED,
)


class NoAnswerError(DashScopeFTError):
    """The time that the command had was up before the service had answered."""

    _advice = "Try again, or give it more time with --timeout."


def exit_of(outcome: FineTuneJob | DashScopeFTError) -> Exit:
    """The code for one job: its terminal snapshot, or the error its wait ended with."""
    match outcome:
        case FineTuneJob(status=JobStatus.SUCCEEDED):
            return Exit.SUCCEEDED
        case FineTuneJob(status=JobStatus.CANCELED):
            return Exit.CANCELED
        case FineTuneJob():
            return Exit.FAILED
        case ConfigurationError():
            return Exit.USAGE
        case WaitTimeoutError() | NoAnswerError():
            return Exit.TIMED_OUT
        case JobVanishedError() | CheckpointError():
            return Exit.REFUSED
        case APIStatusError() if not is_transient(outcome):
            return Exit.REFUSED
        case _:
            return Exit.UNREACHABLE


def most_serious(exits: Iterable[Exit]) -> Exit:
    """The code for several jobs."""
    return min(exits, key=_MOST_SERIOUS_FIRST.index, default=Exit.SUCCEEDED)


def go_on_line(command: str, options: Iterable[str], pending: Iterable[str]) -> str:
    """`command` again, quoted for a shell, for the jobs that had not ended."""
    ids = list(pending)
    # An id that looks like an option was given behind `--`, and must be again.
    divider = ["--"] if any(job_id.startswith("-") for job_id in ids) else []
    return shlex.join(["dashscope-ft", command, *options, *divider, *ids])
