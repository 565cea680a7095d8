"""Pages of the list that cross with polls, with each other, and with what is known already."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from dashscope_ft_async import APIResponseValidationError, FineTuneJob, JobStatus, PollPolicy
from dashscope_ft_async._api.wire import ScannedPage
from dashscope_ft_async.models.limits import OWN_GET_UNPROVEN
from tests.support.scheduler_world import FakeRow, World, ends_at, job, page_of, truthful

pytestmark = pytest.mark.looptime(start=1000)

EVERY_2_S = PollPolicy(initial=2, max_interval=2, multiplier=1)
IDS = [f"ft-{n}" for n in range(50)]
running = ends_at(float("inf"))


async def lasting(world: World, seconds: float, ids: list[str] = IDS) -> None:
    waits = [world.enter(job_id) for job_id in ids]
    await asyncio.sleep(seconds)
    world.leave(*waits)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.FAILED])
async def test_a_page_that_comes_during_a_jobs_own_poll_does_not_change_it(status: JobStatus) -> None:
    """Shown as ended it would have been asked for twice at once; as running, its wait had timed out."""
    shown = [job(job_id, status, usage=1) for job_id in IDS]
    world = World(
        running, latency=1.8, listing=lambda number, now: page_of(shown, number, 100), page_latency=2
    )
    world.gate.window = 32
    others = [world.enter(job_id) for job_id in IDS[1:]]
    with world.entered(IDS[0], timeout=1) as hasty:  # its last poll goes out while the page is awaited
        await asyncio.sleep(2.5)
        assert (world.pages, world.times(IDS[0])) == ([(0, 1)], [1])
        assert not hasty.ended.done()
    world.leave(*others)


async def test_a_page_is_ignored_for_a_job_whose_own_answer_is_newer() -> None:
    shown = [job(job_id, usage=1) for job_id in IDS]
    world = World(
        lambda job_id, number, now: job(job_id, usage=2),
        listing=lambda number, now: page_of(shown, number, 100),
        page_latency=4,
    )
    waits = [world.enter(job_id) for job_id in IDS]
    with world.entered(IDS[0], timeout=1), world.entered(IDS[1], timeout=1):
        await asyncio.sleep(4.1)

    seen = [wait.last_job and wait.last_job.usage for wait in waits]
    assert seen == [2, 2, *[1] * 48]
    world.leave(*waits)


async def test_one_sweep_at_a_time() -> None:
    world = World(running, listing=truthful(IDS, running), page_latency=4)
    waits = [world.enter(job_id) for job_id in IDS]
    await asyncio.sleep(1)
    waits += [world.enter(f"late-{n}") for n in range(8)]
    await asyncio.sleep(2.9)

    assert world.pages == [(0, 1)]
    world.leave(*waits)


async def test_a_row_of_an_ended_job_that_cannot_be_read_is_no_contradiction() -> None:
    def unreadable(raw: Mapping[str, object]) -> FineTuneJob:
        raise APIResponseValidationError("required field missing @ $.output.status")

    def listing(number: int, now: float) -> ScannedPage:
        rows = page_of([job(job_id) for job_id in IDS[1:]], number, 100).rows
        return ScannedPage(100, len(IDS), (FakeRow({"job_id": IDS[0]}, unreadable), *rows))

    world = World(
        lambda job_id, number, now: job(
            job_id, JobStatus.SUCCEEDED if job_id == IDS[0] else JobStatus.RUNNING
        ),
        poll=EVERY_2_S,
        listing=listing,
    )
    await world.wait(IDS[0])
    await asyncio.sleep(1)

    await lasting(world, 20, IDS[1:])

    assert len(world.pages) >= 9


@pytest.mark.parametrize("u", [0.0, 0.5, 1.0])
async def test_each_job_gets_its_own_get_within_five_minutes(u: float) -> None:
    world = World(running, poll=EVERY_2_S, u=u, listing=truthful(IDS, running))

    await lasting(world, OWN_GET_UNPROVEN + 1)

    due = OWN_GET_UNPROVEN * (0.5 + 0.5 * u)
    assert all(due - 5 <= world.times(job_id)[0] <= due for job_id in IDS)


async def test_an_absence_is_forgotten_once_the_job_is_shown_again() -> None:
    """The pause before it is looked for in the list doubles with each absence in a row, from a minute."""
    hidden = IDS[7]
    present = truthful(IDS, running)
    absent = truthful([each for each in IDS if each != hidden], running)
    world = World(
        running,
        poll=EVERY_2_S,
        listing=lambda number, now: (present if 55 < now < 67 or now > 120 else absent)(number, now, 100),
    )

    await lasting(world, 148)

    by_itself = world.times(hidden)
    assert [at for at in by_itself if 64 < at < 67 or at > 134] == []
    assert sum(70 < at < 124 for at in by_itself) > 20


async def test_a_disagreement_is_logged_with_both_sides_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dashscope_ft_async")
    failed = [job(job_id, JobStatus.FAILED) for job_id in IDS]
    world = World(running, listing=lambda number, now: page_of(failed, number, 100))

    await lasting(world, 3)

    logged = [record.message for record in caplog.records if "the list of jobs is" in record.message]
    assert len(logged) == 1
    assert "given up" in logged[0]
    assert "'FAILED'" in logged[0]
    assert "'RUNNING'" in logged[0]
