"""What waits that join know, deadlines at the gate, upkeep of the heap, the log."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest

from dashscope_ft_async import (
    ClientClosedError,
    JobStatus,
    NotFoundError,
    PollPolicy,
    RateLimitError,
    WaitTimeoutError,
)
from dashscope_ft_async.policy import Trouble, WaitState
from tests.support.scheduler_world import World, answers, changes, ends_at, job, outcomes

pytestmark = pytest.mark.looptime(start=1000)


async def test_a_wait_that_joins_knows_what_the_others_saw() -> None:
    world = World(ends_at(1000))
    world.enter("ft-1")
    await asyncio.sleep(65)  # the poll before came at 64.344
    world.latency = 3600

    with pytest.raises(WaitTimeoutError) as caught:
        await world.wait("ft-1", timeout=1)

    assert caught.value.last_job == job("ft-1")
    await world.scheduler.close()


async def test_a_wait_that_joins_long_after_a_poll_gets_no_old_snapshot() -> None:
    world = World(lambda job_id, number, now: job(job_id, usage=number))
    first = world.enter("ft-1")
    await asyncio.sleep(80)
    before = len(world.asked)

    with world.entered("ft-1") as late:
        received = await anext(changes(late))

    assert received.usage == before
    world.leave(first)


async def test_a_wait_that_goes_on_from_elsewhere_knows_what_it_saw_there() -> None:
    world = World(ends_at(1000), latency=3600)
    began = world.loop.time()

    wait = world.scheduler.add("ft-1", world.policy, WaitState(began, began + 1, last=job("ft-1")))
    (error,) = await outcomes([wait.ended])

    assert isinstance(error, WaitTimeoutError)
    assert error.last_job == job("ft-1")


async def test_trouble_from_elsewhere_is_over_where_the_job_was_just_seen() -> None:
    world = World(answers(None, NotFoundError(status=404, code="NotFound"), None))
    first = world.enter("ft-1")
    await asyncio.sleep(1)
    begin = WaitState(world.loop.time(), None, last=job("ft-1"), trouble=Trouble(second_look=True))

    second = world.scheduler.add("ft-1", world.policy, begin)
    ended = await outcomes([first.ended, second.ended])

    assert [getattr(each, "status", each) for each in ended] == [JobStatus.SUCCEEDED] * 2


async def test_a_deadline_ends_a_wait_that_is_queued_behind_a_closed_gate() -> None:
    world = World(answers(RateLimitError(status=429, retry_after=100)))
    held = world.enter("ft-0")

    with pytest.raises(WaitTimeoutError):
        await world.wait("ft-1", timeout=50)

    assert world.now == 50
    world.leave(held)


async def test_a_deadline_at_the_opening_of_the_gate_has_its_last_poll() -> None:
    world = World(answers(RateLimitError(status=429, retry_after=10)), u=0.0)

    ended = await world.wait("ft-1", timeout=10)

    assert ended.succeeded
    assert world.times("ft-1") == [0, 10]


async def test_waits_that_come_and_go_leave_nothing_behind() -> None:
    world = World(ends_at(9000), poll=PollPolicy(initial=30, max_interval=30, jitter=0))
    with world.entered("ft-long"):
        for n in range(1000):
            with world.entered(f"ft-{n}"):
                await asyncio.sleep(0.1)
        await asyncio.sleep(180)

    gaps = [later - earlier for earlier, later in pairwise(world.times("ft-long"))]
    assert gaps == pytest.approx([30] * len(gaps))
    assert len(gaps) >= 9


async def test_the_log_names_the_job_and_its_trouble_and_keeps_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "dashscope_ft_async")
    world = World(answers(None, RateLimitError(status=429, retry_after=5), None), u=0.0)

    await world.wait("ft-1")

    first, failed, ended = [record.getMessage() for record in caplog.records]
    assert first == "job ft-1: first seen -> RUNNING after 0 s, 1 polls"
    assert failed.startswith("poll of job ft-1 failed (1 since 0 s): RateLimitError: ")
    assert failed.endswith("; polls are held for 5.0 s")
    assert re.fullmatch(r"job ft-1: RUNNING -> SUCCEEDED after \d+ s, 4 polls", ended)


async def test_the_log_gives_a_sign_of_life_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dashscope_ft_async")
    world = World(ends_at(9000))

    with world.entered("ft-1"):
        await asyncio.sleep(1000)

    assert sum("still waiting" in record.message for record in caplog.records) == 4


async def test_closing_names_its_reason_to_current_and_later_waits() -> None:
    world = World(ends_at(1000))
    wait = world.enter("ft-1")
    await asyncio.sleep(1)

    await world.scheduler.close()
    (error,) = await outcomes([wait.ended])

    assert "the client was closed" in str(error)
    with pytest.raises(ClientClosedError, match=r"the client is closed\.") as caught:
        world.enter("ft-2")
    assert caught.value.job_id == "ft-2"
