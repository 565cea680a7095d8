"""The state of the connection to the service, derived from the events of the client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from math import ceil

from dashscope_ft_async.cli.messages import printable, short_error
from dashscope_ft_async.errors import APIResponseValidationError, DashScopeFTError, RateLimitError
from dashscope_ft_async.hooks import Event, RequestFinished, Retrying, Throttled

_TRANSIENT = (408, 425)
_THROTTLED = 429


class State(Enum):
    """States of the connection."""

    UNKNOWN = "no answer yet"
    OK = "ok"
    THROTTLED = "throttled"
    OUTAGE = "outage"


class Health:
    """A hook. An outage begins with the first failure after a good answer and ends with the next one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.requests = 0
        """All requests."""
        self.failed = 0
        """Requests without a good answer, throttled ones included."""
        self._answered = False
        self._failing_since: float | None = None
        self._failing_before: float | None = None
        """The value before the newest answer, which may turn out to be unreadable."""
        self._reason = ""
        self._closed_until: float | None = None

    def __call__(self, event: Event) -> None:
        """Record an event."""
        match event:
            case RequestFinished(error="CancelledError"):
                self.requests += 1  # cancelled by this client, which says nothing about the service
            case RequestFinished(status=status, error=error):
                self.requests += 1
                if status is None or status in _TRANSIENT or status >= 500:
                    self._failed(self._failing_since, error or f"HTTP {status}")
                elif status == _THROTTLED:
                    self.failed += 1
                else:
                    self._good()
            case Retrying(error=APIResponseValidationError() as unreadable):
                before, now = self._failing_before, self._failing_since
                self._failed(before if now is None else now, short_error(unreadable))
            case Retrying(error=DashScopeFTError() as error) if not isinstance(error, RateLimitError):
                self._reason = short_error(error)
            case Throttled(seconds=seconds, pages=False):
                self._closed_until = self._clock() + seconds
            case _:
                pass

    def _failed(self, since: float | None, reason: str) -> None:
        self.failed += 1
        self._end_throttling()
        self._failing_since = self._clock() if since is None else since
        self._reason = printable(reason)

    def _good(self) -> None:
        self._answered = True
        self._failing_before, self._failing_since = self._failing_since, None
        self._end_throttling()

    def _end_throttling(self) -> None:
        """End the throttled state when a request ends after the pause and was not throttled again."""
        # Requests sent before the refusal may end during the pause.
        if self._closed_until is not None and self._clock() >= self._closed_until:
            self._closed_until = None

    @property
    def state(self) -> State:
        """The state now."""
        if self._closed_until is not None:
            return State.THROTTLED
        if self._failing_since is not None:
            return State.OUTAGE
        return State.OK if self._answered else State.UNKNOWN

    @property
    def text(self) -> str:
        """The state now, and for how long."""
        now = self._clock()
        if self._closed_until is not None:
            left = ceil(self._closed_until - now)
            return f"throttled, {left} s left" if left > 0 else "throttled, trying again"
        if self._failing_since is not None:
            return f"outage for {timedelta(seconds=int(now - self._failing_since))}"
        return self.state.value

    @property
    def details(self) -> list[str]:
        """The number of requests, and during an outage its reason."""
        requests = f"{self.requests} request{'' if self.requests == 1 else 's'}"
        details = [f"{requests}, {self.failed} failed" if self.failed else requests]
        return [*details, self._reason] if self.state is State.OUTAGE else details
