"""`PollPolicy` and `RetryPolicy`: how often a wait polls, and how a failed request is retried."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

import attrs
from tenacity import AsyncRetrying, RetryCallState, wait_exponential

from dashscope_ft_async.errors import APIError, ConfigurationError
from dashscope_ft_async.models.checks import is_number
from dashscope_ft_async.models.limits import RETRY_AFTER_CEILING

WaitStrategy: TypeAlias = Callable[[RetryCallState], float]


def _seconds(
    least: float, *, exclusive: bool = False, optional: bool = False
) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def validate(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is None and optional:
            return
        if not is_number(value) or value < least or (exclusive and value == least):
            relation = "greater than" if exclusive else "at least"
            or_none = ", or None" if optional else ""
            raise ConfigurationError(
                f"{type(owner).__name__}.{field.name} must be {relation} {least:g}{or_none}, not {value!r}."
            )

    return validate


@attrs.frozen(kw_only=True)
class PollPolicy:
    """How often a wait polls, and how much failure it tolerates.

    The interval depends on the age of the wait alone:
    ``min(max_interval, initial + (multiplier - 1) * age)``, times ``1 ± jitter``. This grows like an
    exponential back-off, and needs no counter that a shared poll would disturb.

    Raises:
        ConfigurationError: a value is out of its range or NaN.
    """

    initial: float = attrs.field(default=2.0, validator=_seconds(0, exclusive=True))
    """Seconds between the first poll and the second; greater than 0."""
    multiplier: float = attrs.field(default=1.5, validator=_seconds(1))
    """Growth of the interval from poll to poll; at least 1 (1 is a fixed interval)."""
    max_interval: float = attrs.field(default=30.0, validator=_seconds(0, exclusive=True))
    """Longest interval in seconds; at least `initial`."""
    jitter: float = attrs.field(default=0.2, validator=_seconds(0))
    """Each interval is lengthened or shortened at random by up to this share; from 0 to below 1."""
    outage_tolerance: float | None = attrs.field(default=900.0, validator=_seconds(0, optional=True))
    """Seconds of unbroken failure after which a wait ends in `OutageError`; `None` is for ever. Throttling
    does not count, nor does time in which no request was made."""
    not_found_grace: float = attrs.field(default=0.0, validator=_seconds(0))
    """Seconds from the start of a wait in which a 404 is taken for a job that is not visible yet. For
    callers who have just created the job."""
    unreachable_grace: float = attrs.field(default=0.0, validator=_seconds(0))
    """Seconds from the start of a wait in which a service that this client never reached does not end the
    wait. By default a wait ends after `RetryPolicy.attempts` failures to reach it, within seconds."""

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.initial:
            raise ConfigurationError(
                f"PollPolicy.max_interval is {self.max_interval:g}, less than initial, {self.initial:g}."
            )
        if self.jitter >= 1:
            raise ConfigurationError(f"PollPolicy.jitter must be less than 1, not {self.jitter!r}.")

    def interval(self, age: float, u: float) -> float:
        """Seconds to the next poll of a wait that is `age` seconds old; `u` in [0, 1) sets the jitter."""
        steady = min(self.max_interval, self.initial + (self.multiplier - 1) * max(0.0, age))
        return steady * (1 + self.jitter * (2 * u - 1))


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How a failed request is retried.

    Raises:
        ConfigurationError: a value is out of its range or NaN, or `wait` is not callable.
    """

    attempts: int = 4
    """Tries of a single call, the first included; at least 1. They do not end a wait; but after so many
    failures in a row the delay in a wait is never shorter than its poll interval."""
    initial: float = attrs.field(default=0.5, validator=_seconds(0, exclusive=True))
    """Upper bound in seconds of the first delay; doubles with each failure."""
    max_delay: float = attrs.field(default=8.0, validator=_seconds(0, exclusive=True))
    """Upper bound in seconds of any delay, apart from a Retry-After."""
    wait: WaitStrategy | None = None
    """A tenacity wait strategy that replaces the default (exponential from `initial` to `max_delay`, full
    jitter). It is used without further jitter, and must return seconds, at least 0."""

    def __attrs_post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigurationError(
                f"RetryPolicy.attempts must be a whole number from 1, not {self.attempts!r}."
            )
        if self.max_delay < self.initial:
            raise ConfigurationError(
                f"RetryPolicy.max_delay is {self.max_delay:g}, less than initial, {self.initial:g}."
            )
        if self.wait is not None and not callable(self.wait):
            raise ConfigurationError("RetryPolicy.wait must be a tenacity wait strategy.")

    def delay(self, attempt: int, error: BaseException, u: float) -> float:
        """Seconds to wait after failure number `attempt`, which was `error`; `u` in [0, 1) sets the jitter.

        A Retry-After on the error is a lower bound, with up to 10 % of jitter above it and at most
        `RETRY_AFTER_CEILING` seconds.
        """
        # A strategy reads the attempt number and the outcome from a call state of tenacity.
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(error), error, None))
        if self.wait is None:
            delay = u * float(wait_exponential(multiplier=self.initial, max=self.max_delay)(state))
        else:
            delay = _strategy_delay(self.wait, state)
        retry_after = error.retry_after if isinstance(error, APIError) else None
        if retry_after is None:
            return delay
        return max(delay, min(RETRY_AFTER_CEILING, retry_after * (1 + 0.1 * u)))


def _strategy_delay(strategy: WaitStrategy, state: RetryCallState) -> float:
    try:
        delay = float(strategy(state))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ConfigurationError(f"RetryPolicy.wait raised {type(error).__name__}: {error}") from error
    if not isfinite(delay) or delay < 0:
        raise ConfigurationError(f"RetryPolicy.wait returned {delay!r}; it must return seconds from 0.")
    return delay
