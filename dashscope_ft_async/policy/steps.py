"""`next_step`: the only place that decides when a wait polls again, what it tolerates and when it ends.

It serves jobs, exports, logs and everything else that is polled. It has no clock, no I/O and no randomness
of its own: the time and a random number come in, a decision comes out. Its decision table is in
docs/explanation/polling.md, and the tests execute it from there.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeAlias

import attrs

from dashscope_ft_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DashScopeFTError,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import FineTuneJob, JobStatus, WatchState
from dashscope_ft_async.models.limits import (
    LEAST_OUTAGE_FAILURES,
    LOOKS_WITHOUT_NAME,
    SECOND_LOOK_WITHOUT_NAME,
    TIMER_SLACK,
)
from dashscope_ft_async.policy.failures import is_transient, is_wrong_address
from dashscope_ft_async.policy.policies import PollPolicy, RetryPolicy


class Snapshot(Protocol):
    """What a poll brings when it succeeds."""

    @property
    def is_terminal(self) -> bool:
        """Whether it ends the wait."""
        ...


@attrs.frozen
class WaitPolicy:
    """The policies of one wait."""

    poll: PollPolicy
    retry: RetryPolicy
    request_timeout: float
    """Seconds one request may take: an outage counts at most this for each."""


@attrs.frozen
class Contact:
    """What a client knows about the service from all its requests together."""

    answered: bool = False
    """Whether any request had a good answer."""
    reached: bool = False
    """Whether the service ever answered with its own JSON, be it an error."""
    misses: int = 0
    """Failures in a row, before that, which suggest a wrong address (`is_wrong_address`)."""


ANSWERED = Contact(answered=True, reached=True)


@attrs.frozen
class Trouble:
    """An unbroken run of failed polls."""

    attempts: int = 0
    """Failures of any kind; the back-off counts them."""
    faults: int = 0
    """Failures that an outage consists of; throttling is not one."""
    outage: float = 0.0
    """Seconds of outage so far."""
    since: float = 0.0
    """When the last failure came."""
    planned: float = 0.0
    """Seconds of delay planned then: the most that an outage may count of it."""
    second_look: bool = False
    """Whether a refusal that a wait looks at twice (a 404 of a job seen before, a 401 or 403) came in
    this run."""


@attrs.frozen
class WaitState:
    """What `next_step` remembers of a wait. Times are seconds on the caller's one clock."""

    started: float
    deadline: float | None
    """When to give up, or `None` for never."""
    polls: int = 0
    last: Snapshot | None = None
    """The newest snapshot."""
    last_error: BaseException | None = None
    trouble: Trouble | None = None
    """`None` while answers are good."""
    origin: WatchState | None = None
    """The state that the wait was resumed from."""
    without_name: int = 0
    """How often the job was seen SUCCEEDED without `finetuned_output`."""


@attrs.frozen
class Sleep:
    """Poll again after `seconds`."""

    seconds: float
    state: WaitState


@attrs.frozen
class Done:
    """The wait ends with this snapshot."""

    snapshot: Any


@attrs.frozen
class Fail:
    """The wait gives up. The error belongs to this wait alone: an exception that is raised in many tasks
    would collect the tracebacks of all."""

    error: BaseException


Step: TypeAlias = Sleep | Done | Fail
Outcome: TypeAlias = Snapshot | BaseException | None
"""What a poll brought; `None` means that there was no answer by the deadline."""


def next_step(
    policy: WaitPolicy,
    state: WaitState,
    outcome: Outcome,
    *,
    now: float,
    u: float,
    contact: Contact = ANSWERED,
) -> Step:
    """Decide what a wait does next. `u` is a random number in [0, 1)."""
    if state.without_name and (outcome is None or isinstance(outcome, BaseException)):
        return Done(state.last)  # the job has SUCCEEDED; only its model's name was looked for
    if outcome is None:
        return Fail(gave_up(WaitTimeoutError, "the wait timed out", state, now))
    if isinstance(outcome, BaseException):
        state = attrs.evolve(state, polls=state.polls + 1, last_error=outcome)
        return _after_failure(policy, state, outcome, now, u, contact)
    without_name = 0
    if outcome.is_terminal:
        if not _is_nameless_success(outcome) or state.without_name >= LOOKS_WITHOUT_NAME:
            return Done(outcome)
        without_name = state.without_name + 1
    healthy = WaitState(
        state.started,
        state.deadline,
        state.polls + 1,
        outcome,
        state.last_error,
        origin=state.origin,
        without_name=without_name,
    )
    if without_name:
        if state.deadline is not None and now + SECOND_LOOK_WITHOUT_NAME >= state.deadline:
            return Done(outcome)
        return Sleep(SECOND_LOOK_WITHOUT_NAME, healthy)
    return _sleep_or_time_out(healthy, policy.poll.interval(now - state.started, u), now)


def _is_nameless_success(snapshot: Snapshot) -> bool:
    if not isinstance(snapshot, FineTuneJob) or snapshot.finetuned_output is not None:
        return False
    return snapshot.status is JobStatus.SUCCEEDED


def _after_failure(
    policy: WaitPolicy, state: WaitState, error: BaseException, now: float, u: float, contact: Contact
) -> Step:
    second_look = _gets_second_look(state, error, contact)
    repeated = state.trouble is not None and state.trouble.second_look
    if not second_look or repeated:
        final = _final_error(policy, state, error, now, contact)
        if final is not None:
            return Fail(final)
    trouble = state.trouble or Trouble(since=now)
    counts = not second_look and not _is_not_visible_yet(error) and not isinstance(error, RateLimitError)
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
    if attempts >= policy.retry.attempts or (second_look and not isinstance(error, NotFoundError)):
        delay = max(delay, policy.poll.interval(now - state.started, u))
    trouble = Trouble(
        attempts, faults, outage, now, delay if counts else 0.0, trouble.second_look or second_look
    )
    return _sleep_or_time_out(attrs.evolve(state, trouble=trouble), delay, now)


def _gets_second_look(state: WaitState, error: BaseException, contact: Contact) -> bool:
    """Whether a refusal is looked at once more before it ends the wait."""
    match error:
        case NotFoundError(json_body=True):
            return _was_seen(state)
        case (
            AuthenticationError(status=401, json_body=True)
            | PermissionDeniedError(status=403, json_body=True)
        ):
            return contact.answered
        case _:
            return False


def _was_seen(state: WaitState) -> bool:
    return state.last is not None or (state.origin is not None and state.origin.last_status is not None)


def _is_not_visible_yet(error: BaseException) -> bool:
    return isinstance(error, NotFoundError) and error.json_body


def _final_error(
    policy: WaitPolicy, state: WaitState, error: BaseException, now: float, contact: Contact
) -> BaseException | None:
    """The error that ends the wait because of `error`; `None` if the wait goes on."""
    age = now - state.started
    match error:
        case NotFoundError(json_body=True) if _was_seen(state):
            return gave_up(JobVanishedError, "the job vanished", state, now)
        case NotFoundError(json_body=True) if age < policy.poll.not_found_grace:
            return None
        case WaitError():
            return gave_up(type(error), str(error.args[0]), state, now)
        case DashScopeFTError() if not contact.reached and is_wrong_address(error):
            out_of_attempts = contact.misses >= policy.retry.attempts
            return copy.copy(error) if out_of_attempts and age >= policy.poll.unreachable_grace else None
        case DashScopeFTError():
            return None if is_transient(error, answered=contact.answered) else copy.copy(error)
        case _:
            wrapped = gave_up(WaitError, f"a poll failed unexpectedly: {error!r}", state, now)
            wrapped.__cause__ = error
            return wrapped


def _sleep_or_time_out(state: WaitState, delay: float, now: float) -> Step:
    deadline = state.deadline
    if deadline is None or now + delay < deadline:
        return Sleep(delay, state)
    if deadline <= now + TIMER_SLACK:
        return Fail(gave_up(WaitTimeoutError, "the wait timed out", state, now))
    return Sleep(deadline - now, state)


def gave_up(kind: type[WaitError], message: str, state: WaitState, now: float) -> WaitError:
    """The error of a wait that ends at `now`, with everything known about it."""
    return kind(
        message,
        last_job=state.last if isinstance(state.last, FineTuneJob) else None,
        elapsed=now - state.started,
        polls=state.polls,
        last_error=state.last_error,
    )
