"""Pure: how a wait is paced, what is transient, and when to give up.

`next_step` is the only place that decides these things. It has no clock, no I/O and no randomness of its
own: the time and a random number come in, a decision comes out. The table of its decisions is
docs/explanation/polling.md, and the tests read it from there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

import attrs
from tenacity import AsyncRetrying, RetryCallState, wait_exponential

from dashscope_ft_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DashScopeFTError,
    InternalServerError,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.checks import is_number

__all__ = ["PollPolicy", "RetryPolicy"]

WaitStrategy: TypeAlias = Callable[[RetryCallState], float]

RETRY_AFTER_CEILING = 300.0
"""Seconds: a longer Retry-After is cut to this inside a wait, and then one poll probes."""
SINGLE_CALL_PATIENCE = 60.0
"""Seconds: a single call does not sit out a longer Retry-After, it raises."""
LEAST_OUTAGE_FAILURES = 4
TIMER_SLACK = 0.001
"""Seconds: timers fire a little early, and what is due within this is due."""


def _seconds(
    least: float, *, open_at_least: bool = False, forever: bool = False
) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def validate(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is None and forever:
            return
        if not is_number(value) or value < least or (open_at_least and value == least):
            relation = "greater than" if open_at_least else "at least"
            never = ", or None" if forever else ""
            raise ConfigurationError(
                f"{type(owner).__name__}.{field.name} must be {relation} {least:g}{never}, not {value!r}."
            )

    return validate


@attrs.frozen(kw_only=True)
class PollPolicy:
    """How often a wait asks, and how long it puts up with failure.

    The interval depends on the age of the wait alone,
    ``min(max_interval, initial + (multiplier - 1) * age)``, times ``1 ± jitter``: geometric polling
    without a counter, so that a shared poll or an early look keeps everybody's place.

    Raises:
        ConfigurationError: a value out of its range, NaN included.
    """

    initial: float = attrs.field(default=2.0, validator=_seconds(0, open_at_least=True))
    """Seconds between the first poll and the second; greater than 0."""
    multiplier: float = attrs.field(default=1.5, validator=_seconds(1))
    """Growth of the interval from poll to poll; at least 1 (1 is a fixed interval)."""
    max_interval: float = attrs.field(default=30.0, validator=_seconds(0, open_at_least=True))
    """Longest interval in seconds; at least `initial`."""
    jitter: float = attrs.field(default=0.2, validator=_seconds(0))
    """Each interval is stretched or shrunk by up to this part of it; from 0 to below 1."""
    outage_tolerance: float | None = attrs.field(default=900.0, validator=_seconds(0, forever=True))
    """Seconds of unbroken failure before a wait ends in `OutageError`; `None` is for ever. Throttling
    is never an outage, and time in which nothing was tried does not count."""
    not_found_grace: float = attrs.field(default=0.0, validator=_seconds(0))
    """Seconds from the start of a wait in which a 404 is believed to be a job not visible yet. For
    callers who have just created the job."""

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.initial:
            raise ConfigurationError(
                f"PollPolicy.max_interval is {self.max_interval:g}, less than initial, {self.initial:g}."
            )
        if self.jitter >= 1:
            raise ConfigurationError(f"PollPolicy.jitter must be less than 1, not {self.jitter!r}.")

    def interval(self, age: float, u: float) -> float:
        """Seconds to the next poll of a wait that is `age` seconds old; `u` in [0, 1) is the jitter."""
        steady = min(self.max_interval, self.initial + (self.multiplier - 1) * max(0.0, age))
        return steady * (1 + self.jitter * (2 * u - 1))


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How a failed request is tried again.

    Raises:
        ConfigurationError: a value out of its range, NaN included, or a `wait` that is not callable.
    """

    attempts: int = 4
    """Tries of a single call, the first included; at least 1. Inside a wait it does not end the wait:
    after so many failures the delay is never shorter than the poll interval."""
    initial: float = attrs.field(default=0.5, validator=_seconds(0, open_at_least=True))
    """Upper bound in seconds of the first delay; doubles with each failure."""
    max_delay: float = attrs.field(default=8.0, validator=_seconds(0, open_at_least=True))
    """Upper bound in seconds of any delay, Retry-After apart."""
    wait: WaitStrategy | None = None
    """A tenacity wait strategy that takes the place of the default (exponential from `initial` to
    `max_delay`, full jitter). Used as it is, without jitter of ours; must answer in seconds ≥ 0."""

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
        """Seconds to wait after failure number `attempt`, which was `error`; `u` in [0, 1) is the jitter.

        A Retry-After on the error is a floor with a little jitter above it, up to
        `RETRY_AFTER_CEILING`.
        """
        # Strategies read the attempt and the outcome from a call state; the one call it describes is us.
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(error), error, None))
        if self.wait is None:
            delay = u * float(wait_exponential(multiplier=self.initial, max=self.max_delay)(state))
        else:
            delay = self._asked_strategy(self.wait, state)
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is None:
            return delay
        return max(delay, min(RETRY_AFTER_CEILING, asked * (1 + 0.1 * u)))

    @staticmethod
    def _asked_strategy(strategy: WaitStrategy, state: RetryCallState) -> float:
        try:
            delay = float(strategy(state))
        except Exception as error:
            raise ConfigurationError(f"RetryPolicy.wait raised {type(error).__name__}: {error}") from error
        if not isfinite(delay) or delay < 0:
            raise ConfigurationError(f"RetryPolicy.wait answered {delay!r}, which is no time to wait.")
        return delay


_NEVER_CLEARS = (BadRequestError, AuthenticationError, PermissionDeniedError, ConflictError)
_CLEARS = (RateLimitError, InternalServerError, ServiceUnavailableError)
_CLEARING_STATUS = frozenset({408, 425, 429})


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed later."""
    match error:
        case APIConnectionError() | APIResponseValidationError():
            return True
        case RateLimitError(status=400):
            return False  # a cap on how much the account stores, not a rate
        case NotFoundError():
            return error.status == 404 and not error.json_body  # a gateway's page in the middle of a deploy
        case APIStatusError() if isinstance(error, _NEVER_CLEARS):
            return False
        case APIStatusError() if isinstance(error, _CLEARS):
            return True
        case APIStatusError():
            return error.status in _CLEARING_STATUS or 200 <= error.status <= 299
        case _:
            return False


def may_try_again(error: BaseException) -> bool:
    """Whether a single call tries again after `error`: transient, and not asked to stay away for long."""
    asked = error.retry_after if isinstance(error, APIError) else None
    return is_transient(error) and (asked or 0.0) <= SINGLE_CALL_PATIENCE


def was_refused(error: BaseException) -> bool:
    """Whether a request that met `error` certainly did nothing, and may be sent again.

    For requests that must not be carried out twice: no connection was made, or the service turned it
    away for its rate. A cap on the number of jobs has the same code, but no waiting lifts it.
    """
    match error:
        case APIConnectionError():
            return error.never_connected
        case RateLimitError(status=429):
            return may_try_again(error) and "fine-tune job" not in (error.message or "").lower()
        case _:
            return False


def maybe_done(error: BaseException) -> bool:
    """Whether a request that met `error` may have been carried out all the same."""
    match error:
        case APIConnectionError():
            return not error.never_connected
        case APIResponseValidationError() | ClientClosedError():
            return True
        case RateLimitError() | NotFoundError():
            return False
        case APIStatusError():
            return is_transient(error) and error.status != 425
        case _:
            return False


# --- the brain of a wait ----------------------------------------------------------------------------


@attrs.frozen
class WaitPolicy:
    """What one wait goes by."""

    poll: PollPolicy
    retry: RetryPolicy
    request_timeout: float
    """Seconds one request may take: an outage counts at most this for each."""


@attrs.frozen
class Trouble:
    """An unbroken run of failed polls."""

    attempts: int = 0
    """Failures of any kind: what back-off counts."""
    faults: int = 0
    """Failures that an outage is made of; throttling is none."""
    outage: float = 0.0
    """Seconds of outage so far."""
    since: float = 0.0
    """When the last failure came."""
    planned: float = 0.0
    """Seconds of delay planned then; the most that an outage may count of it."""
    missing: bool = False
    """A 404 about a job seen before came in this run."""


@attrs.frozen
class WaitState:
    """What `next_step` remembers of a wait. Times are seconds on the caller's one clock."""

    started: float
    deadline: float | None
    """When to give up, or `None` for never."""
    polls: int = 0
    last_job: FineTuneJob | None = None
    last_error: BaseException | None = None
    trouble: Trouble | None = None
    """`None` while answers are good."""
    origin: WatchState | None = None
    """What the wait was resumed from."""


@attrs.frozen
class Sleep:
    """Poll again after `seconds`."""

    seconds: float
    state: WaitState


@attrs.frozen
class Done:
    """The job has ended."""

    job: FineTuneJob


@attrs.frozen
class Fail:
    """Give up. The error is this wait's own: one raised in many tasks would gather their tracebacks."""

    error: BaseException


Step: TypeAlias = Sleep | Done | Fail
Outcome: TypeAlias = FineTuneJob | BaseException | None
"""What a poll brought; `None` is no answer by the deadline."""


def next_step(
    policy: WaitPolicy,
    state: WaitState,
    outcome: Outcome,
    *,
    now: float,
    u: float,
    unreached: int = 0,
) -> Step:
    """What a wait does next.

    `u` is a random number in [0, 1). `unreached` counts the failed attempts of a client, all its waits
    together, to make its very first connection; 0 once one was made.
    """
    if isinstance(outcome, FineTuneJob):
        if outcome.is_terminal:
            return Done(outcome)
        healthy = WaitState(
            state.started,
            state.deadline,
            state.polls + 1,
            outcome,
            state.last_error,
            origin=state.origin,
        )
        return _sleep_or_time_out(healthy, policy.poll.interval(now - state.started, u), now)
    if outcome is None:
        return Fail(gave_up(WaitTimeoutError, "the wait timed out", state, now))
    state = attrs.evolve(state, polls=state.polls + 1, last_error=outcome)
    fatal = _fatal(policy, state, outcome, now, unreached)
    return _after_failure(policy, state, outcome, now, u) if fatal is None else Fail(fatal)


def _fatal(
    policy: WaitPolicy, state: WaitState, error: BaseException, now: float, unreached: int
) -> BaseException | None:
    """What the wait ends with because of `error`; `None` where it goes on."""
    match error:
        case NotFoundError(json_body=True) if state.last_job is not None:
            asked_twice = state.trouble is not None and state.trouble.missing
            return gave_up(JobVanishedError, "the job vanished", state, now) if asked_twice else None
        case NotFoundError(json_body=True):
            not_visible_yet = now - state.started < policy.poll.not_found_grace
            return None if not_visible_yet else copy.copy(error)
        case WaitError():
            return gave_up(type(error), str(error.args[0]), state, now)
        case DashScopeFTError():
            never_reached = unreached >= policy.retry.attempts
            return None if is_transient(error) and not never_reached else copy.copy(error)
        case _:
            wrapped = gave_up(WaitError, f"a poll failed unexpectedly: {error!r}", state, now)
            wrapped.__cause__ = error
            return wrapped


def _after_failure(
    policy: WaitPolicy, state: WaitState, error: BaseException, now: float, u: float
) -> Step:
    trouble = state.trouble or Trouble(since=now)
    missing = isinstance(error, NotFoundError) and error.json_body
    counts = not missing and not isinstance(error, RateLimitError)
    gap = min(now - trouble.since, trouble.planned + policy.request_timeout)
    outage = trouble.outage + (gap if counts else 0.0)
    faults = trouble.faults + counts
    tolerance = policy.poll.outage_tolerance
    if counts and tolerance is not None and outage >= tolerance and faults >= LEAST_OUTAGE_FAILURES:
        return Fail(gave_up(OutageError, f"no good answer for {outage:.0f} s", state, now))
    attempts = trouble.attempts + 1
    try:
        delay = policy.retry.delay(attempts, error, u)
    except ConfigurationError as broken_strategy:
        return Fail(broken_strategy)
    if attempts >= policy.retry.attempts:
        delay = max(delay, policy.poll.interval(now - state.started, u))
    trouble = Trouble(attempts, faults, outage, now, delay if counts else 0.0, trouble.missing or missing)
    return _sleep_or_time_out(attrs.evolve(state, trouble=trouble), delay, now)


def _sleep_or_time_out(state: WaitState, delay: float, now: float) -> Step:
    if state.deadline is None:
        return Sleep(delay, state)
    if state.deadline <= now + TIMER_SLACK:
        return Fail(gave_up(WaitTimeoutError, "the wait timed out", state, now))
    return Sleep(min(delay, state.deadline - now), state)


def gave_up(kind: type[WaitError], message: str, state: WaitState, now: float) -> WaitError:
    """The error of a wait that ends at `now`, with all it knows."""
    return kind(
        message,
        last_job=state.last_job,
        elapsed=now - state.started,
        polls=state.polls,
        last_error=state.last_error,
    )
