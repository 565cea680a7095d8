"""What a crowd costs beside its requests: pages left out, wakes for nothing, looks at everyone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest

from dashscope_ft_async import PollPolicy, RetryPolicy
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.journal import Journal
from dashscope_ft_async._api.wire import ScannedPage
from dashscope_ft_async._engine.lister import Lister
from dashscope_ft_async._engine.scheduler import Hub
from tests.support.scheduler_world import World, ends_at, truthful

pytestmark = pytest.mark.looptime(start=1000)

EVERY_2_S = PollPolicy(initial=2, max_interval=2, multiplier=1)
running = ends_at(float("inf"))


async def lasting(world: World, ids: list[str], seconds: float) -> None:
    waits = [world.enter(job_id) for job_id in ids]
    await asyncio.sleep(seconds)
    for wait in waits:
        wait.leave()


async def test_the_last_page_of_a_new_crowd_is_asked_for_too() -> None:
    """It was left out, since those never seen were expected on pages that had come already."""
    ids = [f"ft-{n}" for n in range(2_000)]
    world = World(running, poll=EVERY_2_S, u=random.Random(1).random, listing=truthful(ids, running))

    await lasting(world, ids, 1)

    assert sorted(number for _, number in world.pages) == list(range(1, 21))
    assert world.asked == []


async def test_who_was_told_by_a_page_is_not_woken_at_the_time_set_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each page left its jobs' earlier wake-ups alive: as many empty wakes as observations."""
    ticks = 0
    tick = Hub._tick  # pyright: ignore[reportPrivateUsage] - a wake shows nowhere else

    def counted(hub: Hub) -> None:
        nonlocal ticks
        ticks += 1
        tick(hub)

    monkeypatch.setattr(Hub, "_tick", counted)
    ids = [f"ft-{n}" for n in range(300)]
    world = World(running, poll=EVERY_2_S, u=random.Random(2).random, listing=truthful(ids, running))

    await lasting(world, ids, 60)

    assert len(world.pages) > 90
    assert ticks <= len(world.pages)


async def test_a_walk_over_many_pages_does_not_look_at_all_jobs_after_each_few() -> None:
    """A thousand pages, four at once, were 250 looks at a hundred thousand jobs."""
    unseen = dict.fromkeys(range(1, 1_001))
    looks = 0

    async def fetch(number: int) -> ScannedPage:
        del unseen[number]
        return ScannedPage(100, 100_000, ())

    def ranks() -> Iterable[int]:
        nonlocal looks
        looks += 1
        return [100 * (number - 1) for number in unseen for _ in range(10)]

    gate = Gate(RetryPolicy(), 32)
    async for _ in Lister(fetch, gate, gate, Journal(), random.random).walk(ranks):
        pass

    assert not unseen
    assert looks <= 50
