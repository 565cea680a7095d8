"""The one timer of a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """Calls `callback` at a time of the event loop's clock, which may be changed until then."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0  # uvloop's handle of a timer that is due now does not know its time

    def set(self, when: float | None) -> None:
        """Set the time; `None` is never. What is due now is called in the next iteration of the loop."""
        if self._handle is not None:
            if self._when == when:
                return
            self._handle.cancel()
            self._handle = None
        if when is not None:
            self._handle = self._loop.call_at(when, self._fire)
            self._when = when

    def _fire(self) -> None:
        self._handle = None
        self._callback()
