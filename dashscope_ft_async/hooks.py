"""What a client tells of its work, for metrics, traces and logs of your own. Pure: values, no clock.

    FineTuneClient(hooks=[print])

A hook is any callable that takes one event. It is called at once, in the event loop, so it must be
short and must not block; what it raises is logged once and harms nobody. Events never hold the key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from dashscope_ft_async.models import FineTuneJob

__all__ = [
    "CallEnded",
    "CallStarted",
    "Event",
    "Hook",
    "RequestFinished",
    "Retrying",
    "StatusChanged",
    "Throttled",
    "WaitEnded",
    "WaitStarted",
]


@attrs.frozen(kw_only=True)
class CallStarted:
    """A single call, such as `get` or `list`, began."""

    call: int
    """Its number, which no other call of this process has."""
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
    """Its pauses between attempts included."""
    error: BaseException | None
    """What it raised."""


@attrs.frozen(kw_only=True)
class RequestFinished:
    """One exchange with the service is over, well or not. Polls are requests too."""

    call: int | None
    """The call that made it; `None` for what waits ask."""
    method: str
    template: str
    """The path below ``/api/v1`` with names for ids: ``/fine-tunes/{job_id}``. There are few of them."""
    job_id: str | None
    host: str
    port: int
    seconds: float
    status: int | None
    """HTTP status of the answer; `None` where no whole answer came."""
    error: str | None
    """Name of the error where no whole answer came: ``APITimeoutError``, ``CancelledError``, …"""


@attrs.frozen(kw_only=True)
class Retrying:
    """An attempt failed, and another one follows."""

    call: int | None
    """The call it belongs to, or `None`: …"""
    wait: int | None
    """… the wait it belongs to."""
    job_id: str | None
    attempt: int
    """Failures in a row, this one included."""
    seconds: float
    """Planned pause before the next attempt."""
    error: BaseException


@attrs.frozen(kw_only=True)
class Throttled:
    """The service refused a request because of its rate, and polls are held back."""

    seconds: float
    """No poll goes out for so long."""
    rate: float
    """Requests per second from then on; ``inf`` while none was learned."""
    pages: bool
    """Whether a page of the list was refused; single polls then go on."""


@attrs.frozen(kw_only=True)
class StatusChanged:
    """A job that is waited for was seen in another status, or for the first time."""

    job: FineTuneJob
    before: FineTuneJob | None
    """The last snapshot in the old status; `None` for the first one."""
    unseen: float | None
    """Seconds since the last look. The change came within them, so for a job that has ended they are
    the most by which its end was noticed late."""


@attrs.frozen(kw_only=True)
class WaitStarted:
    """A wait for one job began; `wait_many` begins one for each job."""

    wait: int
    """Its number, which no other wait of this process has."""
    job_id: str


@attrs.frozen(kw_only=True)
class WaitEnded:
    """A wait is over. Where there is neither job nor error, its caller gave it up."""

    wait: int
    job_id: str
    seconds: float
    polls: int
    job: FineTuneJob | None
    """The terminal job."""
    error: BaseException | None
    """What the wait raised."""


Event: TypeAlias = (
    CallStarted
    | CallEnded
    | RequestFinished
    | Retrying
    | Throttled
    | StatusChanged
    | WaitStarted
    | WaitEnded
)
Hook: TypeAlias = Callable[[Event], object]
