"""How the connection to the service does, as hooks tell it: pure, the clock is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from math import ceil

from dashscope_ft_async.cli.tracker import printable, short_error
from dashscope_ft_async.errors import APIResponseValidationError, DashScopeFTError, RateLimitError
from dashscope_ft_async.hooks import Event, RequestFinished, Retrying, Throttled

_PASSING = (408, 425)
_THROTTLED = 429


class State(Enum):
    """How it does."""

    UNKNOWN = "no answer yet"
    OK = "ok"
    THROTTLED = "throttled"
    OUTAGE = "outage"


class Health:
    """A hook. An outage begins with the first failure after a good answer, and the next one ends it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.requests = 0
        """Exchanges with the service, good or not."""
        self.failed = 0
        """Those that brought no good answer, throttled ones included."""
        self._answered = False
        self._failing_since: float | None = None
        self._failing_before: float | None = None
        """As it was before the newest answer, which may turn out to be unreadable."""
        self._reason = ""
        self._closed_until: float | None = None

    def __call__(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case RequestFinished(error="CancelledError"):
                self.requests += 1  # given up by us, which says nothing about the service
            case RequestFinished(status=status, error=error):
                self.requests += 1
                if status is None or status in _PASSING or status >= 500:
                    self._failed(self._failing_since, error or f"HTTP {status}")
                elif status == _THROTTLED:
                    self.failed += 1
                else:
                    self._good()
            case Retrying(error=APIResponseValidationError() as unreadable):
                before, now = self._failing_before, self._failing_since
                self._failed(before if now is None else now, short_error(unreadable))
            case Retrying(error=DashScopeFTError() as met) if not isinstance(met, RateLimitError):
                self._reason = short_error(met)
            case Throttled(seconds=seconds, pages=False):
                self._closed_until = self._clock() + seconds
            case _:
                pass

    def _failed(self, since: float | None, reason: str) -> None:
        self.failed += 1
        self._tried()
        self._failing_since = self._clock() if since is None else since
        self._reason = printable(reason)

    def _good(self) -> None:
        self._answered = True
        self._failing_before, self._failing_since = self._failing_since, None
        self._tried()

    def _tried(self) -> None:
        """Whatever comes of a request once the gate is open again, it was no further refusal."""
        # What was asked before the refusal may end while the gate is closed.
        if self._closed_until is not None and self._clock() >= self._closed_until:
            self._closed_until = None

    @property
    def state(self) -> State:
        """How it does now."""
        if self._closed_until is not None:
            return State.THROTTLED
        if self._failing_since is not None:
            return State.OUTAGE
        return State.OK if self._answered else State.UNKNOWN

    @property
    def word(self) -> str:
        """How it does now, and for how long."""
        now = self._clock()
        if self._closed_until is not None:
            left = ceil(self._closed_until - now)
            return f"throttled, {left} s left" if left > 0 else "throttled, trying again"
        if self._failing_since is not None:
            return f"outage for {timedelta(seconds=int(now - self._failing_since))}"
        return self.state.value

    @property
    def facts(self) -> list[str]:
        """What else there is to say, the most important first."""
        requests = f"{self.requests} request{'' if self.requests == 1 else 's'}"
        facts = [f"{requests}, {self.failed} failed" if self.failed else requests]
        return [*facts, self._reason] if self.state is State.OUTAGE else facts
