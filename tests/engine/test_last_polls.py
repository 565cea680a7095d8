"""The one poll that a wait makes when its deadline cuts a sleep short, and how waits of a job share it."""

from __future__ import annotations

import asyncio

import pytest

from dashscope_ft_async import InternalServerError, JobStatus, PollPolicy, WaitTimeoutError
from dashscope_ft_async.models.limits import LAST_POLL
from tests.support.scheduler_world import Answer, World, ends_at, job, outcomes

pytestmark = pytest.mark.looptime(start=1000)

EVERY_30_S = PollPolicy(initial=30, max_interval=30, multiplier=1, jitter=0)


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.4, 1.5])
async def test_five_hundred_deadlines_within_two_seconds_share_two_last_polls(latency: float) -> None:
    """They made 39 GETs: a sleep that one wait's deadline cut short made the whole job due."""
    world = World(ends_at(1000), latency=latency, poll=EVERY_30_S)
    waits = [world.enter("ft-1", timeout=20 + n * 2 / 500) for n in range(500)]

    errors = await outcomes([wait.ended for wait in waits])
    world.leave(*waits)

    assert all(isinstance(error, WaitTimeoutError) for error in errors)
    assert world.times("ft-1")[0] == 0
    assert len(world.times("ft-1")[1:]) <= 2
    assert world.now <= 22 + LAST_POLL


async def test_last_polls_that_fail_are_shared_too() -> None:
    def script(job_id: str, number: int, now: float) -> Answer:
        return InternalServerError(status=500) if number else job(job_id)

    world = World(script, latency=0.05, poll=EVERY_30_S)
    waits = [world.enter("ft-1", timeout=20 + n / 100) for n in range(100)]

    errors = await outcomes([wait.ended for wait in waits])
    world.leave(*waits)

    assert all(isinstance(error, WaitTimeoutError) for error in errors)
    assert len(world.times("ft-1")) <= 5  # the back-off of the failures, not a poll for each deadline


async def test_a_deadline_does_not_change_when_the_other_waits_of_the_job_are_due() -> None:
    world = World(ends_at(1000), poll=EVERY_30_S)
    patient = world.enter("ft-1")
    hasty = [world.enter("ft-1", timeout=timeout) for timeout in (29.5, 31)]

    await outcomes([wait.ended for wait in hasty])
    world.leave(patient, *hasty)

    # The last poll at 29.5 s counts for the patient wait, and for the deadline 1.5 s later.
    assert world.times("ft-1") == [0, 29.5]


async def test_a_deadline_during_the_last_poll_of_another_wait_gets_its_answer() -> None:
    world = World(ends_at(10), latency=1, poll=EVERY_30_S)
    waits = [world.enter("ft-1", timeout=timeout) for timeout in (20, 20.5)]

    ended = await outcomes([wait.ended for wait in waits])
    world.leave(*waits)

    assert [getattr(each, "status", each) for each in ended] == [JobStatus.SUCCEEDED] * 2
    assert world.times("ft-1") == [0, 20]


async def test_the_next_poll_of_a_job_is_at_the_deadline_that_comes_first() -> None:
    world = World(ends_at(1000), poll=EVERY_30_S)
    with world.entered("ft-1", timeout=25):
        await asyncio.sleep(5)
        assert world.scheduler.next_poll("ft-1") == pytest.approx(20, abs=0.01)
