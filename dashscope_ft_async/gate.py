"""Floor 2, pure: how many polls may be under way at once, and not before when.

One gate per client, because the account's limit is one: a throttled GET slows every poll. Like a
transport that finds its rate, it lets out one poll, then as many as answers come back good, and one
again after a refusal; so a crowd of waits starts slowly and no herd follows a reopening.
"""

from __future__ import annotations

from dashscope_ft_async.errors import APIConnectionError, RateLimitError
from dashscope_ft_async.policy import RetryPolicy, is_transient


class Gate:
    """The state of the way to the service. Times are seconds on the caller's one clock."""

    def __init__(self, retry: RetryPolicy, width: int) -> None:
        self._retry = retry
        self._width = width
        self._refusals = 0
        self._refused_at = float("-inf")
        self._connected = False
        self.window = 1
        """Polls that may be under way at once."""
        self.opens_at = float("-inf")
        """No poll before this time."""
        self.unreached = 0
        """Failed attempts in a row to make the very first connection."""

    def __repr__(self) -> str:
        return f"<Gate window={self.window}/{self._width} opens_at={self.opens_at:.3f}>"

    def saw(self, outcome: object, *, began: float, now: float, u: float) -> None:
        """Take note of what a request, sent at `began` and answered at `now`, brought."""
        if isinstance(outcome, APIConnectionError) and outcome.never_connected:
            if not self._connected:
                self.unreached += 1
                self._close(now + self._retry.delay(self.unreached, outcome, u))
            return
        self._connected = True
        self.unreached = 0
        if isinstance(outcome, RateLimitError) and is_transient(outcome):
            # Requests sent before the last refusal was known are the same volley: one lesson, not many.
            if began >= self._refused_at:
                self._refusals += 1
                self._refused_at = now
            # A straggler of an old volley, after a good answer, finds the count at 0; attempts start at 1.
            self._close(now + self._retry.delay(max(1, self._refusals), outcome, u))
        elif not isinstance(outcome, BaseException) and began >= self._refused_at:
            self._refusals = 0
            self.window = min(self._width, self.window + 1)

    @property
    def hopeless(self) -> bool:
        """Whether the client has tried often enough to make its very first connection."""
        return self.unreached >= self._retry.attempts

    def forget_unreached(self) -> None:
        """Start the count of failed first connections anew: those who made it have been told."""
        self.unreached = 0

    def _close(self, until: float) -> None:
        self.window = 1
        self.opens_at = max(self.opens_at, until)
