"""Pure: how many requests may be in flight, how fast they may follow each other, and not before when.

One gate per client, because the limit belongs to the account: a throttled GET slows down every poll. The
window starts at one request and grows by one with each good answer, so that a thousand waits that start
together do not send a thousand requests together. The rate is unlimited until a 429 comes; then it is cut
below what was being sent, and rises by a fixed amount per second while answers are good. This additive
increase and multiplicative decrease lets several processes that share one limit find equal shares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, isfinite

import attrs

from dashscope_ft_async.errors import APIStatusError, RateLimitError
from dashscope_ft_async.models.limits import LONGEST_RISE, LOWEST_RATE, RATE_CUT, RATE_MEMORY, RATE_RISE
from dashscope_ft_async.policy import Contact, RetryPolicy, is_transient, is_wrong_address


class Gate:
    """The rate limiter of one client. Times are seconds on the caller's one clock.

    `on_throttled` is called for each 429, with the seconds until the gate opens and the rate.
    """

    def __init__(
        self,
        retry: RetryPolicy,
        width: int,
        max_rate: float | None = None,
        on_throttled: Callable[[float, float], None] | None = None,
    ) -> None:
        self._retry = retry
        self._width = width
        self._on_throttled = on_throttled
        self._max_rate = inf if max_rate is None else max_rate
        self._refusals = 0
        self._refused_at = -inf
        self._raised_at = -inf
        self._sent: deque[float] = deque(maxlen=RATE_MEMORY)
        self.contact = Contact()
        """What is known about the service."""
        self.window = 1
        """Requests that may be in flight at once."""
        self.rate = self._max_rate
        """Requests per second; `inf` is unlimited."""
        self.opens_at = -inf
        """The gate is closed before this time."""
        self.next_at = -inf
        """No request before this time: the gate is closed, or the rate allows none yet."""

    def sent(self, now: float) -> None:
        """Record that a request is sent."""
        self._sent.append(now)
        if isfinite(self.rate):
            self.next_at = max(now, self.next_at) + 1 / self.rate

    def report(self, outcome: object, *, began: float, now: float, u: float) -> None:
        """Record the outcome of a request that was sent at `began` and answered at `now`.

        Raises:
            ConfigurationError: `RetryPolicy.wait` raised, or returned something else than seconds.
        """
        if not isinstance(outcome, BaseException):
            self._record_success(began, now)
            return
        contact = self.contact
        if isinstance(outcome, APIStatusError) and outcome.json_body:
            if not contact.reached:
                self.contact = attrs.evolve(contact, reached=True, misses=0)
        elif is_wrong_address(outcome) and not contact.reached:
            self.contact = attrs.evolve(contact, misses=contact.misses + 1)
            self._close(now + self._retry.delay(self.contact.misses, outcome, u))
        if isinstance(outcome, RateLimitError) and is_transient(outcome):
            self._record_refusal(outcome, began, now, u)

    def _record_success(self, began: float, now: float) -> None:
        if not self.contact.answered:
            self.contact = Contact(answered=True, reached=True)
        if began >= self._refused_at:  # else it says nothing about the time after the refusal
            self._refusals = 0
            self.window = min(self._width, self.window + 1)
            self._raise_rate(now)

    def _record_refusal(self, error: RateLimitError, began: float, now: float, u: float) -> None:
        if began >= self._refused_at:  # 429s for requests already in flight count once
            self._refusals += 1
            self._refused_at = now
            self._cut_rate(now)
        # The count is 0 if a good answer came between the refusal and a late answer to the same burst.
        self._close(now + self._retry.delay(max(1, self._refusals), error, u))
        if self._on_throttled is not None:
            self._on_throttled(self.opens_at - now, self.rate)

    def forget_misses(self) -> None:
        """Start the count of failures to reach the service anew, for waits that begin later."""
        if self.contact.misses:
            self.contact = attrs.evolve(self.contact, misses=0)

    def _cut_rate(self, now: float) -> None:
        """Cut the rate below what was sent in the last second, or below itself, whichever is less."""
        while self._sent and self._sent[0] < now - 1.0:
            self._sent.popleft()
        self.rate = max(LOWEST_RATE, RATE_CUT * min(self.rate, float(max(1, len(self._sent)))))
        self._raised_at = now

    def _raise_rate(self, now: float) -> None:
        if self.rate < self._max_rate:
            self.rate = min(
                self._max_rate, self.rate + RATE_RISE * min(LONGEST_RISE, now - self._raised_at)
            )
            self._raised_at = now
            if self.rate > RATE_MEMORY:  # faster than the memory of sent requests can tell from unlimited
                self.rate = self._max_rate

    def _close(self, until: float) -> None:
        self.window = 1
        self.opens_at = max(self.opens_at, until)
        self.next_at = max(self.next_at, self.opens_at)
