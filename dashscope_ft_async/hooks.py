"""Events of a client's work, for metrics, traces and logs. Pure: values without a clock.

    FineTuneClient(hooks=[print])

A hook is a callable that takes one event. It is called at once, in the event loop, so it must be short and
must not block. An exception that it raises is logged once and affects nothing else. Events never hold the
API key. The library's own log is a hook like any other (`dashscope_ft_async._api.events`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from dashscope_ft_async.models import FineTuneJob

__all__ = [
    "CallEnded",
    "CallStarted",
    "Event",
    "Hook",
    "ListChanged",
    "ModelNameMissing",
    "PollFailed",
    "RequestFinished",
    "Retrying",
    "RowsSkipped",
    "StatusChanged",
    "StillWaiting",
    "Throttled",
    "UnknownStatus",
    "WaitEnded",
    "WaitStarted",
]


@attrs.frozen(kw_only=True)
class CallStarted:
    """A single call, such as `get` or `list`, began."""

    call: int
    """Its number, unique in this process."""
    name: str
    """The client's method."""
    job_id: str | None


@attrs.frozen(kw_only=True)
class CallEnded:
    """A single call returned, raised or was cancelled."""

    call: int
    name: str
    job_id: str | None
    seconds: float
    """Duration, with the pauses between attempts."""
    error: BaseException | None
    """What it raised."""


@attrs.frozen(kw_only=True)
class RequestFinished:
    """One HTTP exchange is over, with or without an answer. Polls are requests too."""

    call: int | None
    """The call that made it; `None` for requests of waits."""
    method: str
    template: str
    """The path below ``/api/v1`` with names in place of ids: ``/fine-tunes/{job_id}``."""
    job_id: str | None
    host: str
    port: int
    seconds: float
    status: int | None
    """HTTP status of the answer; `None` if no complete answer came."""
    error: str | None
    """Name of the error if no complete answer came: ``APITimeoutError``, ``CancelledError``, …"""


@attrs.frozen(kw_only=True)
class Retrying:
    """An attempt failed, and another one follows."""

    call: int | None
    """The call it belongs to, or `None` if it belongs to a wait."""
    wait: int | None
    """The wait it belongs to, or `None` if it belongs to a call."""
    job_id: str | None
    attempt: int
    """Failures in a row, this one included."""
    seconds: float
    """Planned pause before the next attempt."""
    error: BaseException


@attrs.frozen(kw_only=True)
class PollFailed:
    """A poll failed. It is one event however many waits share the poll."""

    job_id: str
    error: BaseException
    held: float
    """Seconds for which the rate gate lets no poll out; 0 if it is open."""


@attrs.frozen(kw_only=True)
class Throttled:
    """The service refused a request because of its rate, and requests are held back."""

    seconds: float
    """No request goes out for this time."""
    rate: float
    """Requests per second from then on; ``inf`` while no limit is known."""
    pages: bool
    """Whether a list page was refused; polls of single jobs then go on."""


@attrs.frozen(kw_only=True)
class StatusChanged:
    """A job that is waited for has another status, or was seen for the first time."""

    job: FineTuneJob
    before: FineTuneJob | None
    """The last snapshot with the old status; `None` for the first one."""
    unseen: float | None
    """Seconds since the last look. The change happened within them, so for a job that has ended they are
    the most by which its end was noticed late."""
    age: float
    """Seconds since the job's oldest wait began."""
    polls: int
    """Polls of that wait, this one included."""


@attrs.frozen(kw_only=True)
class UnknownStatus:
    """A job has a status that this version does not know."""

    job: FineTuneJob


@attrs.frozen(kw_only=True)
class ModelNameMissing:
    """A wait ends with a job that SUCCEEDED but names no model (`finetuned_output`)."""

    job: FineTuneJob


@attrs.frozen(kw_only=True)
class RowsSkipped:
    """Rows of a list page could not be read as jobs. They are in ``JobPage.extra["jobs"]``."""

    skipped: int
    total: int


@attrs.frozen(kw_only=True)
class ListChanged:
    """What the client may conclude from list pages has changed, or the list cannot be used for a time."""

    state: str
    """``unproven``, ``consistent``, ``proven``, ``given up`` or ``unavailable``, as in `ClientStats`."""
    reason: str | None
    """Why, if it changed for the worse. It names both sides of a disagreement, and never the key."""


@attrs.frozen(kw_only=True)
class StillWaiting:
    """A sign of life while nothing changes, at growing intervals."""

    statuses: Mapping[str, int]
    """Number of jobs that are waited for, by status word; ``not seen yet`` for those without a snapshot."""


@attrs.frozen(kw_only=True)
class WaitStarted:
    """A wait for one job began; `wait_many` begins one for each job."""

    wait: int
    """Its number, unique in this process."""
    job_id: str


@attrs.frozen(kw_only=True)
class WaitEnded:
    """A wait is over. If it has neither job nor error, its caller cancelled it."""

    wait: int
    job_id: str
    seconds: float
    polls: int
    job: Any
    """The terminal snapshot: a `FineTuneJob`, or of an export the `Checkpoint`."""
    error: BaseException | None
    """What the wait raised."""


Event: TypeAlias = (
    CallStarted
    | CallEnded
    | RequestFinished
    | Retrying
    | PollFailed
    | Throttled
    | StatusChanged
    | UnknownStatus
    | ModelNameMissing
    | RowsSkipped
    | ListChanged
    | StillWaiting
    | WaitStarted
    | WaitEnded
)
Hook: TypeAlias = Callable[[Event], object]
