"""`next_step`: the documented table row by row, and properties for any input."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import RetryCallState, wait_chain, wait_exponential, wait_fixed, wait_incrementing

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    FineTuneJob,
    InternalServerError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    WaitError,
    WaitTimeoutError,
    WatchState,
)
from dashscope_ft_async._api.wire import Response, decode_job
from dashscope_ft_async.policy import (
    ANSWERED,
    Contact,
    Done,
    Fail,
    Outcome,
    Sleep,
    Step,
    Trouble,
    WaitPolicy,
    WaitState,
    is_transient,
    may_retry,
    next_step,
)
from tests.support.paths import ROOT
from tests.support.scheduler_world import job

PAGE = ROOT / "docs/explanation/polling.md"
NOW = 1000.0
POLICY = WaitPolicy(PollPolicy(), RetryPolicy(), 30.0)
SAVED = WatchState(
    job_id="ft-1", base_url="https://example.org/api/v1", started=datetime.now(UTC), last_status="RUNNING"
)


def rows() -> list[tuple[str, str, str]]:
    lines = (
        PAGE.read_text(encoding="utf-8")
        .partition("## The decision table")[2]
        .partition("*Without JSON*")[0]
        .splitlines()
    )
    table = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    return [(brought.strip(), so_far.strip(), then.strip()) for brought, so_far, then in table[2:]]


def answered(status: int, code: str | None, retry_after: str | None) -> APIError:
    body = b"<html></html>" if code is None else b'{"code": "%b"}' % code.encode()
    headers = {} if retry_after is None else {"retry-after": retry_after}
    try:
        decode_job(Response(status, headers, body), "ft-1")
    except APIError as error:
        return error
    raise AssertionError(f"HTTP {status} is no error")


def outcome_of(brought: str) -> Outcome:
    named: dict[str, Outcome] = {
        "no answer by the deadline": None,
        "a job with an unknown status": job("ft-1", JobStatus.UNRECOGNIZED, raw_status="PAUSED"),
        "a job with an unknown status and an end time": job(
            "ft-1",
            JobStatus.UNRECOGNIZED,
            raw_status="PAUSED",
            end_time=datetime.fromisoformat("2026-01-05 10:52:40"),
        ),
        "a broken connection": APIConnectionError("reset"),
        "a timeout": APITimeoutError("slow"),
        "a job that is SUCCEEDED and names no model": job(
            "ft-1", JobStatus.SUCCEEDED, finetuned_output=None
        ),
        "no connection": APIConnectionError("refused", never_connected=True),
        "the client was closed": ClientClosedError("the client is closed."),
        "an unexpected exception": KeyError("boom"),
    }
    if brought in named:
        return named[brought]
    if match := re.fullmatch(r"a job that is (\w+)", brought):
        return job("ft-1", JobStatus(match[1]))
    match = re.fullmatch(r"(\d{3}) (?:without JSON|([\w.]+)(?:, Retry-After (\d+))?)", brought)
    if match is None:
        assert brought.isdigit(), f"what is {brought!r}?"
        return answered(int(brought), "Whatever", None)
    return answered(int(match[1]), match[2], match[3])


NAMELESS = job("ft-1", JobStatus.SUCCEEDED, finetuned_output=None)
NEW = Contact()
SO_FAR: dict[str, tuple[WaitState, Contact]] = {
    "nothing": (WaitState(NOW - 100, None), NEW),
    "the job was seen": (WaitState(NOW - 100, None, 3, job("ft-1")), ANSWERED),
    "three failures in a row": (
        WaitState(NOW - 100, None, 3, None, None, Trouble(attempts=3, faults=3, since=NOW - 8)),
        ANSWERED,
    ),
    "an outage longer than tolerated": (
        WaitState(NOW - 2000, None, 40, None, None, Trouble(40, 40, 899.0, NOW - 30, 30.0)),
        ANSWERED,
    ),
    "the deadline has passed": (WaitState(NOW - 100, NOW - 1, 9, job("ft-1")), ANSWERED),
    "the client had a good answer before": (WaitState(NOW - 100, None), ANSWERED),
    "never reached, attempts left": (WaitState(NOW - 100, None), Contact(misses=3)),
    "never reached, no attempts left": (WaitState(NOW - 100, None), Contact(misses=4)),
    "never reached, no attempts left, within the grace for a cold start": (
        WaitState(NOW - 5, None, 3, None, None, Trouble(attempts=3, faults=3, since=NOW - 1)),
        Contact(misses=4),
    ),
    "within the grace of a new job": (WaitState(NOW - 5, None), NEW),
    "the job was seen, and was missing last time": (
        WaitState(
            NOW - 100, None, 3, job("ft-1"), None, Trouble(attempts=1, since=NOW - 1, second_look=True)
        ),
        ANSWERED,
    ),
    "a good answer before, and refused last time": (
        WaitState(NOW - 100, None, 3, None, None, Trouble(attempts=1, since=NOW - 1, second_look=True)),
        ANSWERED,
    ),
    "resumed from a state with a status": (WaitState(NOW - 100, None, origin=SAVED), ANSWERED),
    "seen SUCCEEDED without a name": (
        WaitState(NOW - 100, None, 3, NAMELESS, without_name=1),
        ANSWERED,
    ),
    "seen twice without a name": (WaitState(NOW - 100, None, 3, NAMELESS, without_name=2), ANSWERED),
}


def policy_of(so_far: str) -> WaitPolicy:
    new_job = 10.0 if so_far == "within the grace of a new job" else 0.0
    cold_start = 10.0 if "cold start" in so_far else 0.0
    poll = PollPolicy(not_found_grace=new_job, unreachable_grace=cold_start)
    return WaitPolicy(poll, RetryPolicy(), 30.0)


@pytest.mark.parametrize(("brought", "so_far", "then"), rows())
@pytest.mark.parametrize("u", [0.0, 0.5, 0.999])
def test_the_documented_table(brought: str, so_far: str, then: str, u: float) -> None:
    state, contact = SO_FAR[so_far]
    policy = policy_of(so_far)
    outcome = outcome_of(brought)

    step = next_step(policy, state, outcome, now=NOW, u=u, contact=contact)

    interval = policy.poll.interval(NOW - state.started, u)
    attempts = 1 + (state.trouble.attempts if state.trouble else 0)
    backoff = min(8.0, 0.5 * 2 ** (attempts - 1)) * u
    slept = step.seconds if isinstance(step, Sleep) else None
    expected: dict[str, bool] = {
        "sleep for the interval": slept == interval,
        "sleep for the back-off": slept == backoff,
        "sleep for the interval, or the back-off if longer": slept == max(interval, backoff),
        "sleep for 20 seconds and a little more": slept is not None and 20 <= slept <= 22,
        "sleep for 300 seconds": slept == 300,
        "sleep for 2 seconds": slept == 2,
        "done with the job seen before": isinstance(step, Done) and step.snapshot is NAMELESS,
        "done": isinstance(step, Done) and step.snapshot is outcome,
    }
    if match := re.fullmatch(r"fail with (\w+)", then):
        assert isinstance(step, Fail)
        assert type(step.error).__name__ == match[1]
    else:
        assert expected[then], step


def test_the_table_names_every_kind_of_outcome_and_every_history() -> None:
    table = rows()
    kinds = {type(outcome_of(brought)).__name__ for brought, _, _ in table}

    assert kinds >= {"FineTuneJob", "NoneType", "KeyError", "APITimeoutError", "APIConnectionError"}
    assert kinds >= {"APIStatusError", "BadRequestError", "AuthenticationError", "PermissionDeniedError"}
    assert kinds >= {"NotFoundError", "ConflictError", "RateLimitError", "InternalServerError"}
    assert kinds >= {"ServiceUnavailableError", "APIResponseValidationError", "ClientClosedError"}
    assert {so_far for _, so_far, _ in table} == SO_FAR.keys()
    shown = {brought.removeprefix("a job that is ") for brought, _, _ in table}
    assert shown >= {status.value for status in JobStatus if status is not JobStatus.UNRECOGNIZED}


# --- policies ---------------------------------------------------------------------------------------

NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, "2", None, -1]


@pytest.mark.parametrize("field", ["initial", "multiplier", "max_interval", "jitter", "not_found_grace"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_poll_policy_refuses_what_is_no_time(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"PollPolicy.{field}"):
        PollPolicy(**{field: value})


@pytest.mark.parametrize(
    "bad",
    [
        {"initial": 0}, {"multiplier": 0.99}, {"max_interval": 0}, {"jitter": 1}, {"initial": 31},
        {"initial": 5, "max_interval": 4}, {"outage_tolerance": -1}, {"outage_tolerance": math.nan},
    ],
    ids=repr,
)  # fmt: skip
def test_a_poll_policy_refuses_values_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PollPolicy(**bad)


def test_no_outage_tolerance_is_for_ever() -> None:
    policy = WaitPolicy(PollPolicy(outage_tolerance=None), RetryPolicy(), 30.0)
    state = WaitState(0, None, 40, None, None, Trouble(4000, 4000, 1e6, NOW - 30, 30.0))

    assert isinstance(next_step(policy, state, InternalServerError(status=500), now=NOW, u=0.5), Sleep)


@pytest.mark.parametrize(
    "bad",
    [
        {"attempts": 0}, {"attempts": 1.5}, {"attempts": True}, {"initial": 0}, {"initial": math.nan},
        {"max_delay": math.inf}, {"initial": 9}, {"wait": 3},
    ],
    ids=repr,
)  # fmt: skip
def test_a_retry_policy_refuses_values_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="RetryPolicy"):
        RetryPolicy(**bad)


@pytest.mark.parametrize(("age", "interval"), [(0, 2), (2, 3), (10, 7), (56, 30), (1e9, 30)])
def test_the_interval_depends_on_the_age_alone(age: float, interval: float) -> None:
    policy = PollPolicy()

    assert policy.interval(age, 0.5) == interval
    assert policy.interval(age, 0.0) == pytest.approx(interval * 0.8)


def tenfold(state: RetryCallState) -> float:
    return state.attempt_number * 10.0


STRATEGIES: list[tuple[Any, list[float]]] = [
    (wait_fixed(7), [7, 7, 7]),
    (wait_incrementing(start=1, increment=2), [1, 3, 5]),
    (wait_exponential(multiplier=3), [3, 6, 12]),
    (wait_chain(wait_fixed(1), wait_fixed(5)), [1, 5, 5]),
    (tenfold, [10, 20, 30]),
]


@pytest.mark.parametrize(
    ("strategy", "delays"), STRATEGIES, ids=["fixed", "incrementing", "exponential", "chain", "callable"]
)
def test_any_tenacity_strategy_gives_the_delays(strategy: Any, delays: list[float]) -> None:
    retry = RetryPolicy(wait=strategy)

    assert [retry.delay(n, APIError(), 0.3) for n in (1, 2, 3)] == delays


@pytest.mark.parametrize("answer", [-1, math.nan, math.inf, "soon"], ids=repr)
def test_a_strategy_that_answers_no_time_is_a_configuration_error(answer: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RetryPolicy\.wait"):
        RetryPolicy(wait=lambda state: answer).delay(1, APIError(), 0.5)


def test_a_strategy_that_raises_is_a_configuration_error_inside_a_wait_too() -> None:
    def broken(state: object) -> float:
        raise ZeroDivisionError

    policy = WaitPolicy(PollPolicy(), RetryPolicy(wait=broken), 30.0)

    step = next_step(policy, WaitState(0, None), InternalServerError(status=500), now=1, u=0.5)

    assert isinstance(step, Fail)
    assert isinstance(step.error, ConfigurationError)


@pytest.mark.parametrize(("asked", "again"), [(None, True), (0, True), (60, True), (61, False)])
def test_a_single_call_does_not_sit_out_more_than_a_minute(asked: float | None, again: bool) -> None:
    assert may_retry(RateLimitError(status=429, retry_after=asked)) is again


# --- whatever comes ---------------------------------------------------------------------------------

errors = st.one_of(
    st.builds(
        answered,
        st.integers(100, 599).filter(lambda status: not 200 <= status <= 299),
        st.one_of(
            st.none(), st.sampled_from(["Throttling", "InternalError", "NotFound", "Arrearage", "X"])
        ),
        st.one_of(st.none(), st.integers(0, 10**7).map(str), st.just("soon")),
    ),
    st.builds(APIConnectionError, st.text(), never_connected=st.booleans()),
    st.just(APIResponseValidationError("HTML")),
    st.just(KeyError("boom")),
)
jobs = st.sampled_from(JobStatus).map(lambda status: job("ft-1", status))
times = st.floats(0, 1e6)
troubles = st.builds(
    Trouble, st.integers(0, 99), st.integers(0, 99), times, st.floats(0, 1e6), times, st.booleans()
)
states = st.builds(
    WaitState, times, st.one_of(st.none(), times), st.integers(0, 999), st.one_of(st.none(), jobs),
    st.none(), st.one_of(st.none(), troubles),
)  # fmt: skip


@given(state=states, outcome=st.one_of(errors, jobs, st.none()), later=times, u=st.floats(0, 0.999))
def test_any_outcome_in_any_state_gives_a_step_with_a_bounded_sleep(
    state: WaitState, outcome: Any, later: float, u: float
) -> None:
    now = state.started + later
    step = next_step(POLICY, state, outcome, now=now, u=u)

    match step:
        case Sleep(seconds, after):
            asked = outcome.retry_after if isinstance(outcome, APIError) else None
            assert 0 <= seconds <= max(36.0, min(300.0, 1.1 * (asked or 0.0)))
            assert state.deadline is None or now + seconds <= state.deadline + 1e-6
            assert after.polls == state.polls + 1
        case Done(ended):
            assert ended is outcome or state.without_name
            assert ended is not None
        case Fail(error):
            assert error is not outcome
            assert not (isinstance(outcome, FineTuneJob) and outcome.is_terminal)
    again = next_step(POLICY, state, outcome, now=now, u=u)
    assert type(again) is type(step)
    assert getattr(again, "seconds", None) == getattr(step, "seconds", None)


@given(retry_after=st.one_of(st.none(), st.floats(0, 1e6)), polls=st.integers(1, 60), u=st.floats(0, 0.999))
def test_throttling_alone_is_never_an_outage(retry_after: float | None, polls: int, u: float) -> None:
    state, now = WaitState(0.0, None), 0.0
    for _ in range(polls):
        step = next_step(POLICY, state, RateLimitError(status=429, retry_after=retry_after), now=now, u=u)
        assert isinstance(step, Sleep)
        state, now = step.state, now + step.seconds + 30


@given(u=st.floats(0, 0.999), latency=st.floats(0, 30))
def test_an_outage_is_told_after_its_time_and_not_before(u: float, latency: float) -> None:
    state, now = WaitState(0.0, None), latency
    first = now
    while isinstance(
        step := next_step(POLICY, state, InternalServerError(status=500), now=now, u=u), Sleep
    ):
        assert now - first < 900
        state, now = step.state, now + step.seconds + latency

    assert isinstance(step, Fail)
    assert isinstance(step.error, OutageError)
    assert 900 <= now - first <= 900 + 36 + 30


def test_a_suspended_laptop_is_no_outage() -> None:
    state = WaitState(0.0, None, 9, job("ft-1"), None, Trouble(3, 3, 10.0, 100.0, 8.0))

    step = next_step(POLICY, state, APIConnectionError("down"), now=100_000.0, u=0.5)

    assert isinstance(step, Sleep)
    assert step.state.trouble is not None
    assert step.state.trouble.outage == 10 + 8 + 30


@pytest.mark.parametrize("early", [0.0, 0.0005, 0.001])
def test_a_deadline_that_a_timer_met_a_little_early_has_passed(early: float) -> None:
    state = WaitState(0.0, 60.0)

    step = next_step(POLICY, state, job("ft-1"), now=60.0 - early, u=0.5)

    assert isinstance(step, Fail)
    assert isinstance(step.error, WaitTimeoutError)


# --- what a step hands on -----------------------------------------------------------------------------

BEGAN = 500.0
STEADY = WaitPolicy(PollPolicy(jitter=0.0), RetryPolicy(initial=4.0, max_delay=4.0), 30.0)
FAULT = APITimeoutError("nothing came")
GONE = NotFoundError("no such job", status=404)


def after(*outcomes: Outcome, policy: WaitPolicy = STEADY, every: float = 10.0) -> Step:
    """The last of the steps of a wait that gets these outcomes, one at a time."""
    step: Step = Sleep(0.0, WaitState(BEGAN, None))
    for number, outcome in enumerate(outcomes):
        assert isinstance(step, Sleep)
        step = next_step(policy, step.state, outcome, now=BEGAN + number * every, u=0.5)
    return step


def test_a_good_answer_forgets_trouble_and_keeps_the_facts() -> None:
    step = after(FAULT, job("ft-1"))

    assert step == Sleep(7.0, WaitState(BEGAN, None, 2, job("ft-1"), FAULT, None))


def test_a_failure_keeps_the_facts_and_counts() -> None:
    step = after(job("ft-1"), FAULT, FAULT)

    trouble = Trouble(attempts=2, faults=2, outage=10.0, since=BEGAN + 20, planned=2.0)
    assert step == Sleep(2.0, WaitState(BEGAN, None, 3, job("ft-1"), FAULT, trouble))


def test_throttling_and_a_first_404_are_tried_again_and_count_to_no_outage() -> None:
    limited = RateLimitError("slow", status=429)

    step = after(job("ft-1"), limited, GONE, limited)

    assert isinstance(step, Sleep)
    assert step.state.trouble == Trouble(attempts=3, since=BEGAN + 30, second_look=True)


def test_an_error_tells_all_that_its_wait_knew() -> None:
    first = after(job("ft-1"), FAULT, GONE, FAULT, GONE)

    assert isinstance(first, Fail)
    assert isinstance(first.error, JobVanishedError)
    assert vars(first.error) == {"last_job": job("ft-1"), "elapsed": 40.0, "polls": 5, "last_error": GONE}
    assert first.error.args == ("the job vanished",)


@pytest.mark.parametrize("outcome", [None, FAULT, job("ft-1")], ids=["no answer", "a failure", "an answer"])
def test_a_wait_times_out_in_the_same_words(outcome: Outcome) -> None:
    step = next_step(STEADY, WaitState(BEGAN, BEGAN + 9), outcome, now=BEGAN + 9, u=0.5)

    assert isinstance(step, Fail)
    assert isinstance(step.error, WaitTimeoutError)
    assert step.error.args == ("the wait timed out",)


def test_a_deadline_clips_a_sleep() -> None:
    step = next_step(STEADY, WaitState(BEGAN, BEGAN + 9.5), job("ft-1"), now=BEGAN + 9, u=0.5)

    assert isinstance(step, Sleep)
    assert step.seconds == 0.5


def test_a_wait_that_was_ended_elsewhere_ends_in_the_same_class_and_words() -> None:
    step = after(job("ft-1"), ClientClosedError("the client is closed."))

    assert isinstance(step, Fail)
    assert type(step.error) is ClientClosedError
    assert step.error.args == ("the client is closed.",)
    assert step.error.last_job == job("ft-1")


def test_what_nobody_expected_is_chained() -> None:
    bug = ZeroDivisionError("oh")

    step = after(bug)

    assert isinstance(step, Fail)
    assert type(step.error) is WaitError
    assert step.error.__cause__ is bug
    assert "ZeroDivisionError('oh')" in str(step.error)


@pytest.mark.parametrize(("age", "kind"), [(29.9, Sleep), (30.0, Fail)])
def test_the_grace_for_a_job_not_visible_yet_ends_with_its_time(age: float, kind: type[Step]) -> None:
    policy = WaitPolicy(PollPolicy(not_found_grace=30), RetryPolicy(), 30.0)

    assert isinstance(next_step(policy, WaitState(BEGAN, None), GONE, now=BEGAN + age, u=0.5), kind)


@pytest.mark.parametrize(("faults", "tolerance", "kind"), [(4, 30, Fail), (3, 20, Sleep), (4, 30.1, Sleep)])
def test_an_outage_takes_four_failures_and_the_whole_tolerance(
    faults: int, tolerance: float, kind: type[Step]
) -> None:
    policy = WaitPolicy(PollPolicy(outage_tolerance=tolerance), RetryPolicy(), 30.0)

    assert isinstance(after(*[FAULT] * faults, policy=policy), kind)


@pytest.mark.parametrize(("status", "again"), [(299, True), (300, False), (200, True), (199, False)])
def test_a_success_with_an_unknown_code_may_pass(status: int, again: bool) -> None:
    assert may_retry(APIStatusError(status=status)) is again


def test_what_is_no_error_of_the_api_is_not_tried_again() -> None:
    assert not may_retry(ZeroDivisionError())
    assert not is_transient(ConfigurationError())
    assert RetryPolicy(initial=1.0).delay(1, ZeroDivisionError(), 0.5) == 0.5


def test_the_edges_of_the_policies_are_allowed() -> None:
    PollPolicy(initial=5.0, max_interval=5.0, multiplier=1.0, jitter=0.0)
    edge = RetryPolicy(attempts=1, initial=5.0, max_delay=5.0)
    assert [RetryPolicy(wait=wait_fixed(d)).delay(1, FAULT, 0.5) for d in (0.0, 0.5)] == [0.0, 0.5]
    assert edge.delay(9, FAULT, 1.0) == 5.0


def test_a_strategy_is_told_the_attempt_and_the_failure() -> None:
    told: list[RetryCallState] = []

    def noting(state: RetryCallState) -> float:
        told.append(state)
        return 1.0

    assert RetryPolicy(wait=noting).delay(7, FAULT, 0.5) == 1.0
    (state,) = told
    assert state.attempt_number == 7
    assert state.outcome is not None
    assert state.outcome.exception() is FAULT
    assert (state.args, state.kwargs) == ((), {})


def test_a_strategy_that_raises_names_what_it_raised() -> None:
    def broken(_: RetryCallState) -> float:
        raise ZeroDivisionError("oh")

    with pytest.raises(ConfigurationError, match=r"RetryPolicy\.wait raised ZeroDivisionError: oh"):
        RetryPolicy(wait=broken).delay(1, FAULT, 0.5)
