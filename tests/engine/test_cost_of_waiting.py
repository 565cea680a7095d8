"""What many waits cost beside their requests: wake-ups for nothing, plans over all watches."""

from __future__ import annotations

import asyncio
import random

import pytest

from dashscope_ft_async import PollPolicy
from dashscope_ft_async._engine.list_planner import NOT_FOUND, ListPlanner, Plan, best_plan
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async._engine.watch import Watch, WatchTable
from dashscope_ft_async.errors import APIConnectionError, NotFoundError
from tests.support.scheduler_world import World, ends_at, truthful

EVERY_2_S = PollPolicy(initial=2, max_interval=2, multiplier=1)
running = ends_at(float("inf"))
SIZES = (10, 20, 50, 100)


@pytest.mark.looptime(start=1000)
async def test_a_job_shown_by_a_page_is_not_woken_at_the_time_set_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each page left the earlier wake-ups of its jobs alive: as many empty wake-ups as observations."""
    ticks = 0
    wake = WatchTable.wake

    def counted(table: WatchTable, now: float) -> list[tuple[Watch, list[Wait]]]:
        nonlocal ticks
        ticks += 1
        return wake(table, now)

    monkeypatch.setattr(WatchTable, "wake", counted)
    ids = [f"ft-{n}" for n in range(300)]
    world = World(running, poll=EVERY_2_S, u=random.Random(2).random, listing=truthful(ids, running))

    waits = [world.enter(job_id) for job_id in ids]
    await asyncio.sleep(60)
    world.leave(*waits)

    assert len(world.pages) >= 75
    assert ticks <= 2 * len(world.pages)


@pytest.mark.parametrize(
    ("ranks", "total", "plan"),
    [
        ([0, 1, 2, 3, 4], 300, Plan(10, (1,))),
        ([0, 1, 2, 3, 4, 12], 300, Plan(20, (1,))),
        ([8, 9, 10, 11, 12], 300, Plan(20, (1,))),
        ([0, 1], 300, Plan(100)),
        ([0, 250], 300, Plan(100)),
        ([0, 1, 2, 250, 251, 252], 300, Plan(10, (1, 26))),
        ([0, 40, 80], 300, Plan(100, (1,))),
        ([0, 150, 299], 300, Plan(100)),
        (list(range(300)), 300, Plan(100, (1, 2, 3))),
        ([None] * 500, 500, Plan(100, (1, 2, 3, 4, 5))),
        ([None, None, None], None, Plan(100, (1,))),
        ([None, None], None, Plan(100)),
        ([NOT_FOUND] * 5, 300, Plan(100)),
    ],
)
def test_the_cheapest_pages_are_planned(ranks: list[int | None], total: int | None, plan: Plan) -> None:
    assert best_plan(ranks, total, SIZES) == plan


def test_a_sweep_that_failed_half_way_is_followed_by_one_that_begins_where_it_stopped() -> None:
    planner = ListPlanner()
    planner.plan([None] * 400)
    planner.record_page(1, 100, 100, 400, now=1.0)
    planner.record_page(2, 100, 100, 400, now=2.0)

    assert planner.plan(list(range(400))).pages == (3, 4, 1, 2)


@pytest.mark.parametrize(
    ("page_no", "rows", "echoed", "total", "size"),
    [
        (1, 100, 100, 300, 100),
        (1, 50, 50, 120, 50),  # clamped, and it says so
        (1, 50, 100, 120, 50),  # clamped, and it does not say so
        (1, 20, 100, 40, 20),
        (1, 150, 100, 300, 150),  # ignored
        (3, 20, 100, 220, 100),  # the last page
        (1, 0, 100, 0, 100),
    ],
)
def test_the_real_size_of_a_page_is_found_out(
    page_no: int, rows: int, echoed: int, total: int, size: int
) -> None:
    planner = ListPlanner()

    assert planner.record_page(page_no, rows, echoed, total, now=0.0) == size


def test_a_refused_list_rests_longer_than_one_in_trouble() -> None:
    planner = ListPlanner()
    planner.record_failure(APIConnectionError("reset"), 0.0)
    assert planner.off_until == 30
    planner.record_failure(APIConnectionError("reset"), 30.0)
    assert planner.off_until == 90
    planner.record_failure(NotFoundError(status=404), 90.0)
    assert planner.off_until == 3690
    assert "NotFoundError" in str(planner.reason)
