"""The gate: how many requests may be under way, how fast they may follow, and not before when."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import RetryCallState, wait_fixed

from dashscope_ft_async import RetryPolicy
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    EndpointNotFoundError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from dashscope_ft_async.policy import Contact

WIDTH = 8
GOOD = object()
BACKOFF = RetryPolicy(wait=wait_fixed(5))


def throttled(retry_after: float | None = None, status: int = 429) -> RateLimitError:
    return RateLimitError("slow down", status=status, code="Throttling", retry_after=retry_after)


def no_connection() -> APIConnectionError:
    return APIConnectionError("no such host", never_connected=True)


def gate(*, good: int = 0, retry: RetryPolicy = BACKOFF) -> Gate:
    """A gate after so many good answers, the last at second `good`."""
    made = Gate(retry, WIDTH)
    for second in range(1, good + 1):
        report(made, GOOD, second)
    return made


def report(it: Gate, outcome: object, now: float, *, began: float | None = None, u: float = 0.5) -> None:
    it.report(outcome, began=now - 0.1 if began is None else began, now=now, u=u)


# --- slow start ---------------------------------------------------------------------------------------


def test_a_new_gate_is_open_for_one_request() -> None:
    assert (gate().window, gate().next_at, gate().rate) == (1, -inf, inf)


def test_each_good_answer_lets_one_more_out_up_to_the_width() -> None:
    assert [gate(good=answers).window for answers in range(10)] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]


@pytest.mark.parametrize(
    "error",
    [
        InternalServerError(status=500),
        InternalServerError(status=500, retry_after=60.0),
        NotFoundError(status=404),
        AuthenticationError(status=401),
        PermissionDeniedError(status=429, code="PostpaidBillOverdue"),
        throttled(status=400),
        APIResponseValidationError("HTML"),
        APIConnectionError("reset"),
        RuntimeError("a bug"),
    ],
    ids=lambda error: repr(error)[:40],
)
def test_other_failures_neither_open_nor_close_the_gate(error: Exception) -> None:
    it = gate(good=3)

    report(it, error, 10.0)

    assert (it.window, it.next_at, it.rate) == (4, -inf, inf)


# --- refusals -----------------------------------------------------------------------------------------


def test_a_refusal_closes_the_gate_for_the_back_off_and_then_one_request_probes() -> None:
    it = gate(good=3)

    report(it, throttled(), 10.0)

    assert (it.window, it.opens_at) == (1, 15.0)


@pytest.mark.parametrize(
    ("retry_after", "u", "held"),
    [(20.0, 0.0, 20.0), (20.0, 1.0, 22.0), (1.0, 0.5, 5.0), (1e9, 0.5, 300.0), (0.0, 0.5, 5.0)],
    ids=["floor", "jitter above it", "shorter than the back-off", "ceiling", "none"],
)
def test_retry_after_is_a_floor_up_to_a_ceiling(retry_after: float, u: float, held: float) -> None:
    it = gate(good=3)

    report(it, throttled(retry_after), 10.0, u=u)

    assert it.opens_at == pytest.approx(10.0 + held)


def test_a_refused_probe_closes_the_gate_again_for_longer() -> None:
    it = gate(retry=RetryPolicy(initial=1.0, max_delay=60.0))
    held: list[float] = []
    for now in (10.0, 100.0, 200.0, 300.0):
        report(it, throttled(), now, u=0.999)
        held.append(round(it.opens_at - now))

    assert held == [1, 2, 4, 8]
    assert it.window == 1


def test_a_burst_that_was_under_way_together_counts_once() -> None:
    it = gate(retry=RetryPolicy(initial=1.0, max_delay=60.0))
    for now in (10.0, 10.1, 10.2, 10.3):
        report(it, throttled(), now, began=9.0, u=1.0)
    burst = it.opens_at
    report(it, throttled(), 20.0, u=1.0)

    assert burst == pytest.approx(11.3)
    assert it.opens_at == pytest.approx(22.0)


def test_a_burst_sets_one_rate() -> None:
    it, once = gate(good=3), gate(good=3)
    report(once, throttled(), 10.0, began=9.0)
    for now in (10.0, 10.1, 10.2):
        report(it, throttled(), now, began=9.0)

    assert it.rate == once.rate


def test_a_later_refusal_never_opens_the_gate_earlier() -> None:
    it = gate()
    report(it, throttled(200.0), 10.0, began=9.0)
    report(it, throttled(), 11.0, began=9.0)

    assert it.opens_at == pytest.approx(220.0)


def test_a_good_answer_sent_before_the_refusal_proves_nothing() -> None:
    it = gate(good=3)
    report(it, throttled(), 10.0)
    report(it, GOOD, 11.0, began=9.5)

    assert it.window == 1


def test_a_good_answer_to_the_probe_resets_the_count_and_opens_slowly() -> None:
    it = gate(retry=RetryPolicy(initial=1.0, max_delay=60.0))
    for now in (10.0, 100.0, 200.0):
        report(it, throttled(), now, u=1.0)
    report(it, GOOD, 300.0)
    after_probe = it.window
    report(it, throttled(), 400.0, u=1.0)

    assert after_probe == 2
    assert it.opens_at == pytest.approx(401.0)


def test_a_late_answer_of_an_old_burst_asks_the_strategy_for_a_first_attempt() -> None:
    asked: list[int] = []

    def strategy(state: RetryCallState) -> float:
        asked.append(state.attempt_number)
        return 1.0

    it = gate(retry=RetryPolicy(wait=strategy))
    report(it, throttled(), 10.0, began=9.0)
    report(it, GOOD, 12.0, began=11.0)
    report(it, throttled(), 13.0, began=9.0)

    assert asked == [1, 1]


# --- the rate -----------------------------------------------------------------------------------------


def sent_each(it: Gate, seconds: float, until: float) -> None:
    moment = until - 1.0
    while moment < until:
        it.sent(moment)
        moment += seconds


def test_without_a_refusal_there_is_no_rate() -> None:
    it = gate()
    for _ in range(5000):
        it.sent(1.0)

    assert (it.rate, it.next_at) == (inf, -inf)


def test_a_refusal_sets_seven_tenths_of_what_was_sent_in_the_last_second() -> None:
    it = gate()
    sent_each(it, 0.5, until=5.0)
    sent_each(it, 0.0625, until=10.0)

    report(it, throttled(), 10.0)

    assert it.rate == pytest.approx(0.7 * 16)


def test_the_rate_never_falls_below_one_a_second() -> None:
    it = gate()
    for now in range(10, 100):
        report(it, throttled(), float(now))

    assert it.rate == 1.0


def test_the_rate_spaces_the_requests() -> None:
    it = Gate(BACKOFF, WIDTH, max_rate=4.0)
    turns: list[float] = []
    for _ in range(4):
        it.sent(10.0)
        turns.append(it.next_at)

    assert turns == [10.25, 10.5, 10.75, 11.0]


def test_unused_turns_are_not_saved_up() -> None:
    it = Gate(BACKOFF, WIDTH, max_rate=4.0)
    it.sent(10.0)
    it.sent(100.0)

    assert it.next_at == 100.25


def test_good_answers_raise_the_rate_by_one_for_each_second() -> None:
    it = gate()
    report(it, throttled(), 10.0)
    low = it.rate
    for now in (11.0, 11.5, 14.0):
        report(it, GOOD, now)

    assert it.rate == pytest.approx(low + 4.0)


def test_a_long_silence_does_not_raise_the_rate_without_bound() -> None:
    it = gate()
    report(it, throttled(), 10.0)
    report(it, GOOD, 100_000.0)

    assert it.rate == pytest.approx(1.0 + 30.0)


def test_the_rate_never_exceeds_the_callers_bound() -> None:
    it = Gate(BACKOFF, WIDTH, max_rate=2.0)
    report(it, throttled(), 10.0)
    for now in range(11, 100):
        report(it, GOOD, float(now))

    assert it.rate == 2.0


def test_a_rate_that_has_risen_far_enough_is_no_rate() -> None:
    it = gate()
    report(it, throttled(), 10.0)
    for now in range(40, 2000, 30):
        report(it, GOOD, float(now))

    assert it.rate == inf


# --- a service that was never reached -----------------------------------------------------------------


def html(status: int) -> NotFoundError:
    return NotFoundError(status=status, json_body=False)


@pytest.mark.parametrize(
    "failure",
    [
        no_connection(),
        html(404),
        EndpointNotFoundError(status=405, json_body=False),
        APIStatusError(status=302, json_body=False),
    ],
    ids=["no connection", "404", "405", "302"],
)
def test_failures_to_reach_the_service_are_counted_and_each_closes_the_gate(failure: Exception) -> None:
    it = gate()
    seen: list[tuple[int, float]] = []
    for now in (10.0, 20.0, 30.0, 40.0):
        report(it, failure, now)
        seen.append((it.contact.misses, it.opens_at))

    assert seen == [(1, 15.0), (2, 25.0), (3, 35.0), (4, 45.0)]
    assert not it.contact.reached


@pytest.mark.parametrize(
    ("answer", "answered"),
    [
        (GOOD, True),
        (InternalServerError(status=500), False),
        (AuthenticationError(status=401), False),
        (throttled(), False),
    ],
    ids=["good", "500", "401", "429"],
)
def test_after_an_answer_of_the_service_a_failure_to_connect_counts_no_more(
    answer: object, answered: bool
) -> None:
    it = gate()
    report(it, no_connection(), 10.0)
    report(it, answer, 20.0)
    before = it.opens_at
    for now in (30.0, 40.0, 50.0, 60.0, 70.0):
        report(it, no_connection(), now)

    assert it.contact == Contact(answered=answered, reached=True, misses=0)
    assert it.opens_at == before


def test_a_timeout_does_not_prove_that_the_service_can_be_reached() -> None:
    it = gate()
    slow = APITimeoutError("no complete answer")
    for now, outcome in enumerate([no_connection(), slow, *[no_connection()] * 3]):
        report(it, outcome, now)

    assert it.contact == Contact(misses=4)


def test_the_count_of_failures_can_start_anew() -> None:
    it = gate()
    for now in (10.0, 20.0, 30.0, 40.0):
        report(it, no_connection(), now)
    it.forget_misses()

    assert it.contact == Contact()


# --- any life -----------------------------------------------------------------------------------------

events = st.tuples(
    st.sampled_from(
        [GOOD, "sent", RuntimeError("x"), InternalServerError(status=500), throttled(), throttled(40.0)]
    )
    | st.builds(no_connection),
    st.floats(0.0, 100.0),
    st.floats(0.0, 60.0),
    st.floats(0.0, 0.999),
)


@given(life=st.lists(events, max_size=40), most=st.none() | st.floats(0.1, 100.0))
def test_any_life_keeps_the_gate_within_its_bounds(
    life: list[tuple[object, float, float, float]], most: float | None
) -> None:
    it, now = Gate(RetryPolicy(), WIDTH, max_rate=most), 0.0
    for event, later, latency, u in life:
        now += later
        before = it.opens_at
        it.sent(now) if event == "sent" else it.report(event, began=now - latency, now=now, u=u)

        assert 1 <= it.window <= WIDTH
        assert 0 < it.rate <= (inf if most is None else max(1.0, most))
        assert before <= it.opens_at <= max(before, now + 300.0)
        assert it.next_at >= it.opens_at
