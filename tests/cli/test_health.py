"""The line about the connection."""

from __future__ import annotations

from math import inf

import pytest

from dashscope_ft_async import APIResponseValidationError, InternalServerError, RateLimitError
from dashscope_ft_async.cli.live.health import Health, State
from dashscope_ft_async.hooks import RequestFinished, Retrying, Throttled, WaitStarted


class World:
    """A health, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.health = Health(lambda: self.now)

    def answer(self, status: int | None, error: str | None = None) -> None:
        self.health(
            RequestFinished(
                call=None,
                method="GET",
                template="/fine-tunes/{job_id}",
                job_id="ft-1",
                host="h",
                port=443,
                seconds=0.1,
                status=status,
                error=error,
            )
        )

    def retrying(self, error: BaseException) -> None:
        self.health(Retrying(call=None, wait=1, job_id="ft-1", attempt=1, seconds=1, error=error))


@pytest.fixture
def world() -> World:
    return World()


def test_before_the_first_answer_nothing_is_claimed(world: World) -> None:
    assert (world.health.text, world.health.details) == ("no answer yet", ["0 requests"])


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_an_answer_is_a_connection(status: int, world: World) -> None:
    world.answer(status)
    assert (world.health.text, world.health.details) == ("ok", ["1 request"])


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (500, None, "HTTP 500"),
        (408, None, "HTTP 408"),
        (None, "APITimeoutError", "APITimeoutError"),
        (None, "Odd\x1b[2J", "Odd [2J"),
    ],
)
def test_an_outage_lasts_from_the_first_failure_to_the_next_good_answer(
    status: int | None, error: str | None, reason: str, world: World
) -> None:
    world.answer(200)
    world.now = 200.0
    world.answer(status, error)
    world.now = 265.0
    world.answer(status, error)
    assert world.health.text == "outage for 0:01:05"
    assert world.health.details == ["3 requests, 2 failed", reason]
    world.answer(200)
    assert (world.health.text, world.health.details) == ("ok", ["4 requests, 2 failed"])


def test_the_reason_is_told_as_the_service_says_it(world: World) -> None:
    world.answer(500)
    world.retrying(InternalServerError("try\nlater", status=500, code="InternalError"))
    assert world.health.details[-1] == "InternalError: try later"


def test_answers_that_cannot_be_read_are_an_outage_without_a_break(world: World) -> None:
    world.answer(200)
    for _ in range(3):
        world.now += 30
        world.answer(200)
        world.retrying(APIResponseValidationError("not the documented JSON", status=200))
    assert world.health.text == "outage for 0:01:00"
    assert world.health.failed == 3


def test_what_we_gave_up_ourselves_says_nothing_about_the_service(world: World) -> None:
    world.answer(200)
    world.answer(None, "CancelledError")
    assert (world.health.text, world.health.details) == ("ok", ["2 requests"])


def test_throttling_is_no_outage_and_counts_down(world: World) -> None:
    world.answer(200)
    world.answer(429)
    world.retrying(RateLimitError("slow down", status=429))
    world.health(Throttled(seconds=12.2, rate=inf, pages=False))
    assert (world.health.text, world.health.details) == ("throttled, 13 s left", ["2 requests, 1 failed"])
    world.answer(200)  # what was under way
    assert world.health.state is State.THROTTLED
    world.now += 12.2
    assert world.health.text == "throttled, trying again"
    world.answer(200)
    assert world.health.text == "ok"


def test_an_outage_after_a_refusal_is_told_as_an_outage(world: World) -> None:
    world.answer(200)
    world.answer(429)
    world.health(Throttled(seconds=5, rate=inf, pages=False))
    world.answer(None, "APIConnectionError")  # what was under way
    assert world.health.text == "throttled, 5 s left"
    for _ in range(20):
        world.now += 30
        world.answer(None, "APIConnectionError")
    assert world.health.state is State.OUTAGE
    assert world.health.text == "outage for 0:10:00"
    assert world.health.details[-1] == "APIConnectionError"
    world.answer(429)
    world.health(Throttled(seconds=5, rate=inf, pages=False))
    assert world.health.text == "throttled, 5 s left"


def test_a_list_that_is_throttled_holds_no_poll_back(world: World) -> None:
    world.answer(200)
    world.answer(429)
    world.health(Throttled(seconds=12.2, rate=inf, pages=True))
    world.health(WaitStarted(wait=1, job_id="ft-1"))
    assert (world.health.text, world.health.details) == ("ok", ["2 requests, 1 failed"])
