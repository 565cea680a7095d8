"""List pages in place of single GETs: when they are requested, and what they may not do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    FineTuneJob,
    InternalServerError,
    JobStatus,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    WaitTimeoutError,
)
from dashscope_ft_async._api.wire import ScannedPage
from dashscope_ft_async._engine.scheduler import Coalesce
from dashscope_ft_async.policy import WaitState
from tests.support.scheduler_world import (
    Answer,
    FakeRow,
    World,
    changes,
    ends_at,
    job,
    outcomes,
    page_of,
    truthful,
)

pytestmark = pytest.mark.looptime(start=1000)

EVERY_2_S = PollPolicy(initial=2, max_interval=2, multiplier=1)
IDS = [f"ft-{n}" for n in range(50)]
running = ends_at(float("inf"))


def tasks_besides_mine() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def lasting(world: World, seconds: float, ids: list[str] = IDS) -> None:
    """`ids` are waited for during so many seconds."""
    waits = [world.enter(job_id) for job_id in ids]
    await asyncio.sleep(seconds)
    world.leave(*waits)


# --- cost -------------------------------------------------------------------------------------------


async def test_five_hundred_waits_cost_a_tenth_of_the_requests_they_did() -> None:
    ids = [f"ft-{n}" for n in range(500)]
    dice = random.Random(1)
    ends = {job_id: dice.uniform(8, 18) for job_id in ids}

    def script(job_id: str, number: int, now: float) -> Answer:
        return job(job_id, JobStatus.SUCCEEDED if now >= ends[job_id] else JobStatus.RUNNING)

    world = World(
        script,
        poll=EVERY_2_S,
        u=dice.random,
        listing=truthful(ids, script),
        latency=0.01,
        page_latency=0.02,
    )
    ended: dict[str, float] = {}

    async def one(job_id: str) -> None:
        assert (await world.wait(job_id)).succeeded
        ended[job_id] = world.now

    await asyncio.gather(*map(one, ids))

    assert len(world.asked) + len(world.pages) <= 100
    assert max(ended[job_id] - ends[job_id] for job_id in ids) <= 2.5


async def test_many_waits_read_pages_before_single_gets() -> None:
    ids = [f"ft-{n}" for n in range(2000)]
    world = World(running, listing=truthful(ids, running), page_latency=0.02)

    await lasting(world, 1.5, ids)

    assert len(world.pages) == 20
    assert world.asked == []


@pytest.mark.parametrize("number", [1, 2])
async def test_one_or_two_jobs_are_polled_by_single_gets(number: int) -> None:
    world = World(running, listing=truthful(IDS, running))

    await lasting(world, 60, IDS[:number])

    assert world.pages == []


async def test_five_jobs_at_the_head_of_a_list_of_three_hundred_cost_one_small_page_a_look() -> None:
    ids = [f"ft-{n}" for n in range(300)]
    world = World(running, u=random.Random(5).random, listing=truthful(ids, running))

    await lasting(world, 600, ids[:5])

    stats = world.scheduler.stats()
    assert stats.requests / stats.observations <= 0.35
    assert set(world.page_sizes[1:]) == {10}  # the first one finds out where they are


async def test_a_new_job_moves_the_others_down_and_they_are_found_again() -> None:
    def listing(number: int, now: float, size: int) -> ScannedPage:
        new = [f"new-{n}" for n in range(int(now / 60))]
        return page_of([job(job_id) for job_id in [*new, *IDS]], number, size)

    world = World(running, u=random.Random(5).random, listing=listing)

    await lasting(world, 1200, IDS[:5])

    stats = world.scheduler.stats()
    assert stats.requests / stats.observations <= 0.5


async def test_five_hundred_old_waits_send_forty_requests_a_minute() -> None:
    ids = [f"ft-{n}" for n in range(500)]
    world = World(running, poll=PollPolicy(), u=random.Random(6).random, listing=truthful(ids, running))
    six_hours_ago = world.loop.time() - 6 * 3600
    waits = [world.scheduler.add(job_id, world.policy, WaitState(six_hours_ago, None)) for job_id in ids]
    await asyncio.sleep(600)
    before = len(world.asked) + len(world.pages)

    await asyncio.sleep(1200)

    assert (len(world.asked) + len(world.pages) - before) / 20 <= 40
    world.leave(*waits)


async def test_jobs_scattered_over_a_long_list_are_polled_by_single_gets() -> None:
    others = [f"other-{n}" for n in range(2000)]
    everything = [
        job_id
        for n, job_id in enumerate(others)
        for job_id in ([job_id, IDS[n // 50]] if n % 50 == 0 else [job_id])
    ]
    world = World(running, listing=truthful(everything, running))

    await lasting(world, 120, IDS[:40])

    assert len(world.pages) == 1  # to learn how long the list is


async def test_only_the_pages_that_show_watched_jobs_are_requested_again() -> None:
    others = [f"other-{n}" for n in range(900)]
    world = World(running, poll=EVERY_2_S, listing=truthful([*others[:100], *IDS, *others[100:]], running))
    await lasting(world, 100)  # the first pages do not pay, and single polls know no rank
    shown_first = World(running, poll=EVERY_2_S, listing=truthful([*IDS, *others], running))
    await lasting(shown_first, 100)

    assert {number for _, number in shown_first.pages} == {1}
    assert len(shown_first.pages) >= 49
    assert len(shown_first.asked) <= len(IDS)


async def test_an_unchanged_page_structures_nothing() -> None:
    structured: list[str] = []

    def listing(number: int, now: float) -> ScannedPage:
        def read(raw: Mapping[str, object]) -> object:
            structured.append(str(raw))
            return job(str(raw["job_id"]))

        rows = tuple(FakeRow({"job_id": job_id, "status": "RUNNING"}, read) for job_id in IDS)
        return ScannedPage(100, len(IDS), rows)

    world = World(running, poll=EVERY_2_S, listing=listing)

    await lasting(world, 40)

    assert len(world.pages) >= 19
    assert len(structured) == len(IDS)


async def test_jitter_does_not_keep_jobs_from_sharing_a_page() -> None:
    dice = random.Random(2)
    world = World(running, poll=PollPolicy(), u=dice.random, listing=truthful(IDS, running))

    await lasting(world, 250)

    assert len(world.asked) <= 10 + len(IDS)
    assert 10 <= len(world.pages) <= 30


# --- absence, order, staleness ----------------------------------------------------------------------


async def test_absence_from_the_list_is_no_verdict() -> None:
    hidden = IDS[7]
    world = World(ends_at(20), listing=truthful([each for each in IDS if each != hidden], ends_at(20)))
    waits = {job_id: world.enter(job_id) for job_id in IDS}

    await outcomes([wait.ended for wait in waits.values()])

    assert waits[hidden].ended.result().succeeded
    assert len(world.times(hidden)) > 2


async def test_a_wrong_workspace_does_not_cost_pages_in_each_cycle() -> None:
    world = World(running, poll=EVERY_2_S, listing=lambda number, now: page_of([], number, 100))

    await lasting(world, 600)

    assert len(world.pages) <= 6


async def test_the_echoed_page_size_is_trusted() -> None:
    everything = truthful(IDS, running)
    world = World(running, poll=EVERY_2_S, listing=lambda number, now: everything(number, now, 20))

    await lasting(world, 9)

    assert {number for _, number in world.pages} == {1, 2, 3}


async def test_a_row_that_cannot_be_read_gets_a_poll_of_its_own() -> None:
    def listing(number: int, now: float) -> ScannedPage:
        good = page_of([job(job_id) for job_id in IDS[1:]], 1, 100).rows

        def unreadable(raw: object) -> object:
            raise APIResponseValidationError("required field missing @ $.output.status")

        return ScannedPage(100, 50, (FakeRow({"job_id": IDS[0]}, unreadable), *good))

    world = World(ends_at(9), poll=EVERY_2_S, listing=listing)

    await lasting(world, 7)

    assert len(world.times(IDS[0])) >= 2
    assert world.times(IDS[1]) == []


async def test_a_list_never_moves_a_job_backwards() -> None:
    stale = [job(job_id, JobStatus.PENDING) for job_id in IDS]
    fresh = [job(job_id) for job_id in IDS]
    world = World(
        ends_at(30),
        poll=EVERY_2_S,
        listing=lambda number, now: page_of(fresh if now < 5 else stale, number, 100),
    )
    told: list[str] = []

    async def follow(job_id: str) -> None:
        with world.entered(job_id) as wait:
            async for snapshot in changes(wait):
                told.append(snapshot.raw_status)

    await asyncio.gather(*map(follow, IDS))

    assert set(told) == {"RUNNING", "SUCCEEDED"}


async def test_a_stale_list_hides_no_end_for_longer_than_five_minutes() -> None:
    forever_running = [job(job_id) for job_id in IDS]
    world = World(
        ends_at(100),
        u=random.Random(3).random,
        listing=lambda number, now: page_of(forever_running, number, 100),
    )
    ended: list[float] = []

    async def one(job_id: str) -> None:
        await world.wait(job_id)
        ended.append(world.now)

    await asyncio.gather(*map(one, IDS))

    assert max(ended) <= 100 + 300 + 36


async def test_a_list_that_shows_an_ended_job_as_running_is_given_up_at_the_second_time() -> None:
    forever_running = [job(job_id) for job_id in IDS]

    def script(job_id: str, number: int, now: float) -> Answer:
        ended = job_id in IDS[:2] or now > 2000
        return job(job_id, JobStatus.SUCCEEDED if ended else JobStatus.RUNNING)

    world = World(script, poll=EVERY_2_S, listing=lambda number, now: page_of(forever_running, number, 100))
    for job_id in IDS[:2]:
        await world.wait(job_id, timeout=0)
    await asyncio.sleep(1)

    await lasting(world, 600, IDS[2:])

    assert len(world.pages) == 1
    assert world.scheduler.stats().list_state == "given up"
    assert "SUCCEEDED" not in str(world.scheduler.stats().list_reason)
    assert IDS[1] in str(world.scheduler.stats().list_reason)


# --- ends -------------------------------------------------------------------------------------------


async def test_an_end_shown_by_a_page_is_confirmed_by_one_get_whose_answer_is_delivered() -> None:
    world = World(
        lambda job_id, number, now: job(job_id, JobStatus.SUCCEEDED, usage=7),
        listing=lambda number, now: page_of(
            [job(job_id, JobStatus.SUCCEEDED) for job_id in IDS], number, 100
        ),
    )
    waits = [world.enter(job_id) for job_id in IDS]

    ended = await outcomes([wait.ended for wait in waits])

    assert {getattr(each, "usage", None) for each in ended} == {7}
    assert sorted(asked for _, asked in world.asked) == sorted(IDS)


def all_failed(number: int, now: float) -> ScannedPage:
    return page_of([job(job_id, JobStatus.FAILED) for job_id in IDS], number, 100)


async def test_while_throttled_an_unproven_list_is_not_believed() -> None:
    """60 of 60 waits ended FAILED while their jobs were running."""
    throttled = RateLimitError(status=429, retry_after=50)
    world = World(
        lambda job_id, number, now: throttled if now < 40 else job(job_id, JobStatus.SUCCEEDED),
        listing=all_failed,
    )

    ended = await outcomes([world.enter(job_id).ended for job_id in IDS])

    assert {getattr(each, "status", None) for each in ended} == {JobStatus.SUCCEEDED}


async def test_where_the_gets_hang_an_unproven_list_ends_no_wait() -> None:
    world = World(ends_at(0), latency=3600, listing=all_failed)

    ended = await outcomes([world.enter(job_id, timeout=10).ended for job_id in IDS])

    assert {type(each) for each in ended} == {WaitTimeoutError}


async def test_jobs_that_their_gets_call_running_are_waited_for_and_the_list_is_given_up() -> None:
    world = World(ends_at(60), listing=all_failed)

    ended = await outcomes([world.enter(job_id).ended for job_id in IDS])

    assert {getattr(each, "status", None) for each in ended} == {JobStatus.SUCCEEDED}
    assert len(world.pages) == 1
    assert world.scheduler.stats().list_state == "given up"


async def test_ends_that_await_their_confirmation_are_answered_once_the_list_is_proven() -> None:
    ended = [job(job_id, JobStatus.SUCCEEDED) for job_id in IDS]
    world = World(ends_at(0), latency=0.5, listing=lambda number, now: page_of(ended, number, 100))

    found = await outcomes([world.enter(job_id).ended for job_id in IDS])

    assert {getattr(each, "status", None) for each in found} == {JobStatus.SUCCEEDED}
    assert len(world.asked) < 20


async def proven(world: World, job_ids: list[str]) -> None:
    """Let these jobs, which a page shows as ended, prove the list."""
    await outcomes([world.enter(job_id).ended for job_id in job_ids])
    assert world.scheduler.stats().list_state == "proven"
    world.asked.clear()


@pytest.mark.parametrize(("coalesce", "gets"), [(True, 2), ("confirm", 40)], ids=["proven", "confirm"])
async def test_once_proven_a_row_is_the_answer_and_one_in_twenty_is_sampled(
    coalesce: Coalesce, gets: int
) -> None:
    def script(job_id: str, number: int, now: float) -> Answer:
        return job(job_id, JobStatus.SUCCEEDED if job_id in IDS[:10] or now > 30 else JobStatus.RUNNING)

    world = World(script, poll=EVERY_2_S, listing=truthful(IDS, script), coalesce=coalesce)
    if coalesce is True:
        await proven(world, IDS[:10])

    await outcomes([world.enter(job_id).ended for job_id in IDS[10:]])

    assert len(world.asked) == gets
    assert world.now < 34


async def test_an_incomplete_row_of_a_proven_list_is_confirmed() -> None:
    def script(job_id: str, number: int, now: float) -> Answer:
        return job(job_id, JobStatus.SUCCEEDED, usage=7)

    def listing(number: int, now: float, size: int) -> ScannedPage:
        jobs = [job(job_id, JobStatus.SUCCEEDED, usage=7 if job_id in IDS[:10] else None) for job_id in IDS]
        return page_of(jobs, number, size)

    world = World(script, poll=EVERY_2_S, listing=listing)
    await proven(world, IDS[:10])

    ended = await outcomes([world.enter(job_id).ended for job_id in IDS[10:]])

    assert {getattr(each, "usage", None) for each in ended} == {7}
    assert sorted(asked for _, asked in world.asked) == sorted(IDS[10:])


async def test_where_the_sample_fails_the_row_of_a_proven_list_is_believed() -> None:
    down = False

    def script(job_id: str, number: int, now: float) -> Answer:
        return InternalServerError(status=500) if down else job(job_id, JobStatus.SUCCEEDED)

    ended = [job(job_id, JobStatus.SUCCEEDED) for job_id in IDS]
    world = World(script, listing=lambda number, now: page_of(ended, number, 100))
    await proven(world, IDS[:10])
    down = True

    found = await outcomes([world.enter(job_id).ended for job_id in IDS[10:]])

    assert {getattr(each, "status", None) for each in found} == {JobStatus.SUCCEEDED}


async def test_pages_are_not_requested_while_the_gate_is_closed() -> None:
    """138 pages went out during a Retry-After of 3 s that a GET had received."""
    ids = [f"ft-{n}" for n in range(3000)]
    throttled = RateLimitError(status=429, retry_after=30)
    world = World(lambda job_id, number, now: throttled, listing=truthful(ids, running), page_latency=0.05)
    waits = [world.enter(job_id) for job_id in ids]
    lone = world.enter("unlisted")
    await asyncio.sleep(0.2)
    world.gate.report(throttled, began=world.loop.time(), now=world.loop.time(), u=0)
    before = len(world.pages)

    await asyncio.sleep(29)

    assert len(world.pages) <= before + 4  # those in flight
    world.leave(lone, *waits)


async def test_confirmations_go_before_polls() -> None:
    ids = [f"ft-{n}" for n in range(30)]
    ended_ids = ids[20:]

    def listing(number: int, now: float) -> ScannedPage:
        statuses = [JobStatus.SUCCEEDED if job_id in ended_ids else JobStatus.RUNNING for job_id in ids]
        return page_of([job(*each) for each in zip(ids, statuses, strict=True)], number, 100)

    world = World(ends_at(0), latency=0.1, width=1, listing=listing, coalesce="confirm")
    unlisted = [world.enter(f"unlisted-{n}") for n in range(5)]
    waits = [world.enter(job_id) for job_id in ids]

    await outcomes([wait.ended for wait in (*unlisted, *waits[20:])])

    assert {job_id for _, job_id in world.asked[:10]} == set(ended_ids)
    world.leave(*waits)


# --- failures of the list ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        AuthenticationError(status=401),
        PermissionDeniedError(status=403),
        NotFoundError(status=404),
        APIStatusError(status=405),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_refused_list_is_given_up_and_tried_again_rarely(
    refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dashscope_ft_async")
    world = World(running, listing=lambda number, now: refusal)

    await lasting(world, 3500)

    assert len(world.pages) == 1
    assert len(world.asked) > 50 * 110
    assert sum("the list of jobs is unavailable" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "trouble",
    [InternalServerError(status=500), APIConnectionError("reset"), APIResponseValidationError("HTML")],
    ids=lambda error: type(error).__name__,
)
async def test_a_failed_list_fails_no_wait(trouble: Exception) -> None:
    world = World(ends_at(40), poll=EVERY_2_S, listing=lambda number, now: trouble)
    waits = [world.enter(job_id) for job_id in IDS]

    ended = await outcomes([wait.ended for wait in waits])

    assert {getattr(each, "status", None) for each in ended} == {JobStatus.SUCCEEDED}
    assert world.now < 43
    assert 2 <= len(world.pages) <= 3


async def test_a_throttled_list_closes_its_own_gate_only() -> None:
    world = World(
        running, poll=EVERY_2_S, listing=lambda number, now: RateLimitError(status=429, retry_after=60)
    )

    await lasting(world, 59)

    assert len(world.pages) == 1
    assert len(world.asked) > 50 * 20


async def test_a_slow_list_delays_no_wait_for_long() -> None:
    world = World(ends_at(3), poll=EVERY_2_S, listing=truthful(IDS, ends_at(3)), page_latency=3600)
    waits = [world.enter(job_id) for job_id in IDS]

    await outcomes([wait.ended for wait in waits])

    assert world.now < 8


async def test_a_deadline_holds_during_a_sweep() -> None:
    world = World(running, listing=truthful(IDS, running), page_latency=4)
    with world.entered(IDS[0], timeout=1) as hasty:
        others = [world.enter(job_id) for job_id in IDS[1:]]
        with pytest.raises(WaitTimeoutError) as caught:
            await hasty.ended

    assert world.now <= 1.01
    assert caught.value.last_job == job(IDS[0])  # the last poll was a GET of its own
    world.leave(*others)


async def test_closing_during_a_sweep_leaves_nothing() -> None:
    world = World(running, listing=truthful(IDS, running), page_latency=4)
    waits = [world.enter(job_id) for job_id in IDS]
    await asyncio.sleep(1)
    assert world.scheduler.stats().in_flight == 1

    await world.scheduler.close()

    await outcomes([wait.ended for wait in waits])
    assert tasks_besides_mine() == []


async def test_giving_up_all_waits_ends_the_sweep() -> None:
    world = World(running, listing=truthful(IDS, running), page_latency=4)

    await lasting(world, 1)
    await asyncio.sleep(0.01)

    assert tasks_besides_mine() == []


# --- the rate ---------------------------------------------------------------------------------------


async def test_max_rate_is_kept() -> None:
    world = World(ends_at(0), max_rate=10)

    await asyncio.gather(*(world.wait(f"ft-{n}") for n in range(100)))

    assert world.now == pytest.approx(9.9, abs=0.2)


async def test_max_rate_counts_pages_too() -> None:
    world = World(running, poll=EVERY_2_S, max_rate=1, listing=truthful(IDS, running))

    await lasting(world, 60)

    assert len(world.pages) + len(world.asked) <= 62


async def test_a_limit_of_the_account_is_learned_and_nothing_is_lost() -> None:
    tokens, at = 50.0, 0.0

    def limited(job_id: str, number: int, now: float) -> Answer:
        nonlocal tokens, at
        tokens, at = min(50.0, tokens + (now - at) * 50), now
        if tokens < 1:
            return RateLimitError(status=429, code="Throttling")
        tokens -= 1
        return job(job_id, JobStatus.SUCCEEDED if now > 15 else JobStatus.RUNNING)

    world = World(limited, poll=EVERY_2_S, latency=0.01, u=random.Random(4).random)
    ended = await asyncio.gather(*(world.wait(f"ft-{n}") for n in range(300)))

    assert all(each.succeeded for each in ended)
    assert world.now < 30
    refused = len(world.asked) - sum(1 for _ in ended)
    assert refused < len(world.asked)
    assert world.scheduler.stats().rate is not None


async def test_an_ended_job_is_read_on_the_pages_once_and_still_held_against_them() -> None:
    read: list[str] = []

    def listing(number: int, now: float) -> ScannedPage:
        word = "RUNNING" if now > 50 else "SUCCEEDED"

        def structured(raw: Mapping[str, object]) -> FineTuneJob:
            read.append(str(raw["job_id"]))
            return job(str(raw["job_id"]), JobStatus(str(raw["status"])))

        rows = [FakeRow({"job_id": IDS[0], "status": word}, structured)]
        rows += [FakeRow({"job_id": job_id, "status": "RUNNING"}, structured) for job_id in IDS[1:]]
        return ScannedPage(100, len(IDS), tuple(rows))

    def script(job_id: str, number: int, now: float) -> Answer:
        return job(job_id, JobStatus.SUCCEEDED if job_id == IDS[0] else JobStatus.RUNNING)

    world = World(script, poll=EVERY_2_S, listing=listing)
    await world.wait(IDS[0])
    await asyncio.sleep(1)

    await lasting(world, 40, IDS[1:])
    assert len(world.pages) >= 19
    assert read.count(IDS[0]) == 1

    await lasting(world, 40, IDS[1:])
    assert world.scheduler.stats().list_state == "given up"
    assert IDS[0] in str(world.scheduler.stats().list_reason)
