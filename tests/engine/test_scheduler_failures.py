"""Faults inside the scheduler, and of code that it calls: a wait ends or goes on, and never hangs."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tenacity import RetryCallState

from dashscope_ft_async import ConfigurationError, JobStatus, PollPolicy, RateLimitError, RetryPolicy
from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async._engine.stepper import Stepper
from dashscope_ft_async._engine.sweep import Sweeper
from dashscope_ft_async._engine.watch import WatchTable
from tests.support.scheduler_world import World, ends_at, outcomes, truthful

pytestmark = pytest.mark.looptime(start=1000)

IDS = [f"ft-{n}" for n in range(20)]


class FailsOnce:
    """Replaces a method: its second call raises."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        original, self.calls = getattr(owner, name), 0

        def method(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError(f"a bug in {name}")
            return original(*arguments, **named)

        patch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (WatchTable, "wake"),
        (Sweeper, "begin"),
        (Sweeper, "page_arrived"),
        (Scheduler, "_poll_over"),
        (Scheduler, "_judge_again"),
        (Scheduler, "_send"),
    ],
)
async def test_a_bug_in_a_callback_of_the_loop_costs_no_wait(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    script = ends_at(60)
    world = World(script, latency=0.1, page_latency=0.1, listing=truthful(IDS, script))
    failing = FailsOnce(monkeypatch, owner, name)

    async with asyncio.timeout(300):
        ended = await asyncio.gather(*map(world.wait, IDS))
    await world.scheduler.close()

    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert failing.calls >= 2
    assert all("a bug in" in str(context["exception"]) for context in complaints)


@pytest.mark.parametrize("name", ["step", "record"])
async def test_a_bug_while_a_poll_is_used_ends_only_the_waits_of_that_job(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(ends_at(60), latency=0.1)
    FailsOnce(monkeypatch, Stepper, name)
    waits = [world.enter(job_id) for job_id in IDS]

    async with asyncio.timeout(300):
        ended = await outcomes([wait.ended for wait in waits])
    world.leave(*waits)

    assert sum(isinstance(each, RuntimeError) for each in ended) == 1
    assert sum(getattr(each, "status", None) is JobStatus.SUCCEEDED for each in ended) == len(IDS) - 1


async def test_a_poll_whose_task_is_cancelled_from_outside_is_made_again() -> None:
    world = World(ends_at(0), latency=1)
    with world.entered("ft-1") as wait:
        await asyncio.sleep(0.5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        ended = await wait.ended

    assert ended.status is JobStatus.SUCCEEDED
    assert world.times("ft-1") == [0, 0.5]


@pytest.mark.parametrize("error", [RuntimeError("oh"), asyncio.CancelledError()], ids=repr)
async def test_a_strategy_that_raises_while_pages_are_throttled_leaves_no_task_with_an_error(
    error: BaseException,
) -> None:
    """The loop complained of a task exception that was never retrieved."""

    def broken(_: RetryCallState) -> float:
        raise error

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    world = World(
        ends_at(30),
        retry=RetryPolicy(wait=broken),
        listing=lambda number, now: RateLimitError(status=429, code="Throttling"),
        u=random.Random(1).random,
    )

    ended = await asyncio.gather(*map(world.wait, IDS))
    await world.scheduler.close()

    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert world.pages
    assert complaints == []


async def test_a_strategy_that_raises_any_exception_ends_its_wait_with_a_configuration_error() -> None:
    def broken(_: RetryCallState) -> float:
        raise asyncio.CancelledError

    world = World(lambda job_id, number, now: RateLimitError(status=429), retry=RetryPolicy(wait=broken))

    async with asyncio.timeout(60):
        with pytest.raises(ConfigurationError, match="CancelledError"):
            await world.wait("ft-1")


async def test_a_failed_sweep_leaves_the_queue_in_the_order_of_due_times() -> None:
    """Its jobs came behind those that became due while it ran, each time anew."""
    world = World(
        ends_at(1000),
        poll=PollPolicy(initial=2, max_interval=2, multiplier=1, jitter=0),
        listing=lambda number, now: TimeoutError("slow"),
        page_latency=4.9,
        max_rate=4,
    )
    early = [world.enter(job_id) for job_id in IDS]
    await asyncio.sleep(4.7)
    late = [world.enter(f"late-{n}") for n in range(20)]
    await asyncio.sleep(12)

    first_polls = list(dict.fromkeys(job_id for at, job_id in world.asked if at > 4.9))
    assert first_polls[: len(IDS)] == IDS
    world.leave(*early, *late)
