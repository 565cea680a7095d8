"""Pure: how many requests may be under way at once, how fast they may follow, and not before when.

One gate per client, because the account's limit is one: a throttled GET slows every poll. Like a
transport that finds its rate, it lets out one request, then as many as answers come back good, and one
again after a refusal; so a crowd of waits starts slowly and no herd follows a reopening. The rate is
unlimited until a refusal teaches one: then it is cut below what was being sent, and rises by one request
per second with each second of good answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, isfinite

from dashscope_ft_async.errors import APIConnectionError, APITimeoutError, RateLimitError
from dashscope_ft_async.policy import RetryPolicy, is_transient

_REMEMBERED = 1000
_CUT = 0.7
_LEAST_RATE = 1.0
_RAISE = 1.0
_LONGEST_RAISE = 30.0


class Gate:
    """The state of the way to the service. Times are seconds on the caller's one clock.

    `throttled` is told of each refusal: seconds until the gate opens, and the rate.
    """

    def __init__(
        self,
        retry: RetryPolicy,
        width: int,
        max_rate: float | None = None,
        throttled: Callable[[float, float], None] | None = None,
    ) -> None:
        self._retry = retry
        self._width = width
        self._throttled = throttled
        self._most = inf if max_rate is None else max_rate
        self._refusals = 0
        self._refused_at = -inf
        self._raised_at = -inf
        self._turn = -inf
        self._sent: deque[float] = deque(maxlen=_REMEMBERED)
        self._connected = False
        self.window = 1
        """Requests that may be under way at once."""
        self.rate = self._most
        """Requests per second."""
        self.opens_at = -inf
        """No request before this time."""
        self.unreached = 0
        """Failed attempts in a row to make the very first connection."""

    def __repr__(self) -> str:
        return (
            f"<Gate window={self.window}/{self._width} rate={self.rate:.3g}/s opens_at={self.opens_at:.3f}>"
        )

    @property
    def next_at(self) -> float:
        """No request before this time, for any reason: closed, or not its turn."""
        return max(self.opens_at, self._turn)

    def sent(self, now: float) -> None:
        """Take note that a request goes out."""
        self._sent.append(now)
        if isfinite(self.rate):
            self._turn = max(now, self._turn) + 1 / self.rate

    def saw(self, outcome: object, *, began: float, now: float, u: float) -> None:
        """Take note of what a request, sent at `began` and answered at `now`, brought."""
        if isinstance(outcome, APIConnectionError) and outcome.never_connected:
            if not self._connected:
                self.unreached += 1
                self._close(now + self._retry.delay(self.unreached, outcome, u))
            return
        if isinstance(outcome, APITimeoutError):
            return  # no proof of a connection: the time may have been up before it was made
        self._connected = True
        self.unreached = 0
        if isinstance(outcome, RateLimitError) and is_transient(outcome):
            # Requests sent before the last refusal was known are the same volley: one lesson, not many.
            if began >= self._refused_at:
                self._refusals += 1
                self._refused_at = now
                self._cut(now)
            # A straggler of an old volley, after a good answer, finds the count at 0; attempts start at 1.
            self._close(now + self._retry.delay(max(1, self._refusals), outcome, u))
            if self._throttled is not None:
                self._throttled(self.opens_at - now, self.rate)
        elif not isinstance(outcome, BaseException) and began >= self._refused_at:
            self._refusals = 0
            self.window = min(self._width, self.window + 1)
            self._raise(now)

    @property
    def hopeless(self) -> bool:
        """Whether the client has tried often enough to make its very first connection."""
        return self.unreached >= self._retry.attempts

    def forget_unreached(self) -> None:
        """Start the count of failed first connections anew: those who made it have been told."""
        self.unreached = 0

    def _cut(self, now: float) -> None:
        """Below what was sent in the last second, or below the rate, whichever is less."""
        while self._sent and self._sent[0] < now - 1.0:
            self._sent.popleft()
        self.rate = max(_LEAST_RATE, _CUT * min(self.rate, float(max(1, len(self._sent)))))
        self._raised_at = now

    def _raise(self, now: float) -> None:
        if self.rate < self._most:
            self.rate = min(self._most, self.rate + _RAISE * min(_LONGEST_RAISE, now - self._raised_at))
            self._raised_at = now
            if self.rate > _REMEMBERED:  # faster than can be told from unlimited
                self.rate = self._most

    def _close(self, until: float) -> None:
        self.window = 1
        self.opens_at = max(self.opens_at, until)
