"""Tasks that run their first step when they are made (`asyncio.eager_task_factory`, from Python 3.12).

``EAGER_TASKS=1 pytest`` runs every test so.
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from dashscope_ft_async import APIConnectionError, JobStatus
from tests.support.scheduler_world import World, answers, ends_at, truthful

pytestmark = [
    pytest.mark.looptime(start=1000),
    pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are never eager before 3.12"),
]

IDS = [f"ft-{n}" for n in range(20)]


@pytest.fixture
async def eager() -> None:
    asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])


@pytest.mark.skipif(not os.environ.get("EAGER_TASKS"), reason="tasks of this run are not eager")
async def test_all_tasks_of_the_run_are_eager() -> None:
    async def nothing() -> None:
        pass

    assert asyncio.create_task(nothing()).done()


@pytest.mark.usefixtures("eager")
async def test_a_poll_that_fails_without_suspending_is_followed_by_others() -> None:
    """It was recorded as under way for ever, and the job was never polled again."""
    world = World(answers(None, APIConnectionError("no route"), APIConnectionError("no route")))

    assert (await world.wait("ft-1")).succeeded
    await asyncio.sleep(0)
    assert len(world.asked) == 4
    assert world.scheduler.stats().in_flight == 0


@pytest.mark.usefixtures("eager")
async def test_a_host_without_a_route_ends_a_wait_after_the_attempts() -> None:
    refused = [APIConnectionError("no route", never_connected=True)] * 20
    world = World(answers(*refused))

    with pytest.raises(APIConnectionError):
        await world.wait("ft-1", timeout=100)

    assert world.now < 30


@pytest.mark.usefixtures("eager")
async def test_pages_that_come_without_suspending_end_all_waits() -> None:
    script = ends_at(60)
    world = World(script, listing=truthful(IDS, script))

    ended = await asyncio.gather(*map(world.wait, IDS))

    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    await asyncio.sleep(0)
    assert world.pages
    assert world.scheduler.stats().in_flight == 0
