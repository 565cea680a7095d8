"""The time limit of requests, kept with one timer for all requests of a session.

All have the same limit, so the one that began first ends first. aiohttp would make a timer for each.
"""

from __future__ import annotations

import asyncio

from dashscope_ft_async.models.limits import TIMER_SLACK


class Deadlines:
    """Requests in flight, in the order in which they began."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._limits: dict[TimeLimit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limit: TimeLimit) -> None:
        """Let `limit` expire after `seconds`."""
        loop = asyncio.get_running_loop()
        limit.ends_at = loop.time() + self.seconds
        self._limits[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(limit.ends_at, self._expire_due, loop)

    def remove(self, limit: TimeLimit) -> None:
        """Forget a request that is over."""
        self._limits.pop(limit, None)

    def _expire_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for limit in tuple(self._limits):
            if limit.ends_at > loop.time() + TIMER_SLACK:
                self._timer = loop.call_at(limit.ends_at, self._expire_due, loop)
                return
            self.remove(limit)
            limit.expire()

    def close(self) -> None:
        """Let the limits of all requests in flight expire now."""
        if self._timer is not None:
            self._timer.cancel()
        while self._limits:
            self._limits.popitem()[0].expire()


class TimeLimit:
    """A context for one request: cancels it at its deadline, and raises `TimeoutError` in the place of that
    cancellation. A cancellation of the user's at the same moment is passed on."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task", "ends_at")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._expired = False
        self.ends_at = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request must be awaited in a task")
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines.add(self)

    def expire(self) -> None:
        """Cancel the request."""
        self._expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._deadlines.remove(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError
