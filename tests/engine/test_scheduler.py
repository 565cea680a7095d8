"""The scheduler, under virtual time and with a fake service: order, sharing, ends, closing."""

from __future__ import annotations

import asyncio
import pickle
from itertools import pairwise

import pytest
from tenacity import wait_fixed

from dashscope_ft_async import (
    APIConnectionError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    WaitError,
    WaitTimeoutError,
)
from tests.support.scheduler_world import World, answers, changes, ends_at, job, outcomes

pytestmark = pytest.mark.looptime(start=1000)


def tasks_besides_mine() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def refused() -> APIConnectionError:
    return APIConnectionError("refused", never_connected=True)


# --- pace -------------------------------------------------------------------------------------------


async def test_polls_come_at_the_documented_intervals() -> None:
    world = World(ends_at(60))

    ended = await world.wait("ft-1")

    assert ended.status is JobStatus.SUCCEEDED
    assert world.times("ft-1") == [0, 2, 5, 9.5, 16.25, 26.375, 41.562, 64.344]


async def test_an_hour_of_queuing_is_polled_every_thirty_seconds() -> None:
    world = World(ends_at(3600))

    await world.wait("ft-1")

    gaps = [later - earlier for earlier, later in pairwise(world.times("ft-1"))]
    assert max(gaps) == pytest.approx(30)
    assert len(gaps) < 130


@pytest.mark.parametrize(("u", "second"), [(0.0, 1.6), (0.5, 2.0), (1.0, 2.4)])
async def test_every_poll_is_jittered(u: float, second: float) -> None:
    world = World(ends_at(3), poll=PollPolicy(), u=u)

    await world.wait("ft-1")

    assert world.times("ft-1")[1] == pytest.approx(second)


async def test_many_waits_that_start_together_start_slowly() -> None:
    world = World(ends_at(0), latency=0.1)

    await asyncio.gather(*(world.wait(f"ft-{n}") for n in range(100)))

    first_second = [sum(at == at_ for at_, _ in world.asked) for at in (0, 0.1, 0.2, 0.3)]
    assert first_second == [1, 2, 4, 8]
    assert world.most_in_flight == 32


async def test_the_oldest_due_goes_first() -> None:
    world = World(ends_at(0), latency=1.0, width=1)
    waits = [world.enter(f"ft-{n}") for n in range(5)]

    await outcomes([wait.ended for wait in waits])

    assert [job_id for _, job_id in world.asked] == [f"ft-{n}" for n in range(5)]


# --- sharing ----------------------------------------------------------------------------------------


async def test_many_waits_of_one_job_cost_the_polls_of_one() -> None:
    alone = World(ends_at(120))
    await alone.wait("ft-1")
    world = World(ends_at(120))

    ended = await asyncio.gather(*(world.wait("ft-1") for _ in range(300)))

    assert {each.status for each in ended} == {JobStatus.SUCCEEDED}
    assert world.times("ft-1") == alone.times("ft-1")


async def test_a_wait_that_joins_soon_after_a_poll_makes_none_of_its_own() -> None:
    world = World(ends_at(100))
    async with asyncio.TaskGroup() as group:
        group.create_task(world.wait("ft-1"))
        await asyncio.sleep(65)  # the poll before came at 64.344
        before = len(world.asked)
        with world.entered("ft-1") as late:
            first = await anext(changes(late))
            assert (first.status, len(world.asked)) == (JobStatus.RUNNING, before)
            assert (await late.ended).status is JobStatus.SUCCEEDED
    assert world.times("ft-1")[before] == pytest.approx(66.344)


async def test_a_wait_that_joins_long_after_a_poll_looks_at_once() -> None:
    world = World(ends_at(200))
    async with asyncio.TaskGroup() as group:
        group.create_task(world.wait("ft-1"))
        await asyncio.sleep(80)
        group.create_task(world.wait("ft-1"))
    assert 80 in world.times("ft-1")


async def test_each_wait_keeps_its_own_deadline_and_policy() -> None:
    world = World(ends_at(1000))
    patient = world.enter("ft-1", poll=PollPolicy(initial=50, max_interval=50, jitter=0))
    hasty = world.enter("ft-1", timeout=10)

    with pytest.raises(WaitTimeoutError) as caught:
        await hasty.ended

    assert world.now == 10
    assert caught.value.elapsed == 10
    await patient.ended
    assert world.times("ft-1")[-3:] == [910, 960, 1010]


async def test_each_wait_gets_an_exception_of_its_own() -> None:
    world = World(answers(AuthenticationError("no", status=401, code="InvalidApiKey")))
    waits = [world.enter("ft-1") for _ in range(3)]

    errors = await outcomes([wait.ended for wait in waits])

    assert len({id(error) for error in errors}) == 3
    assert {type(error) for error in errors} == {AuthenticationError}
    assert {getattr(error, "job_id", None) for error in errors} == {"ft-1"}


async def test_cancelling_one_wait_of_many_touches_no_other() -> None:
    world = World(ends_at(30), latency=0.5)
    tasks = [asyncio.create_task(world.wait("ft-1")) for _ in range(5)]
    await asyncio.sleep(0.2)

    tasks[0].cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(ended[0], asyncio.CancelledError)
    assert [each.status for each in ended[1:] if not isinstance(each, BaseException)] == ["SUCCEEDED"] * 4


async def test_with_the_last_wait_goes_the_poll_in_flight() -> None:
    world = World(ends_at(30), latency=20)
    task = asyncio.create_task(world.wait("ft-1"))
    await asyncio.sleep(1)
    assert world.in_flight == 1

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.01)

    assert world.in_flight == 0
    assert tasks_besides_mine() == []
    stats = world.scheduler.stats()
    assert (stats.waits, stats.jobs, stats.queued, stats.in_flight) == (0, 0, 0, 0)


async def test_a_wait_given_up_in_the_queue_is_never_polled() -> None:
    world = World(ends_at(0), latency=1, width=1)
    first, second, third = (world.enter(f"ft-{n}") for n in range(3))
    await asyncio.sleep(0.5)

    world.leave(second)
    await outcomes([first.ended, third.ended])

    assert [job_id for _, job_id in world.asked] == ["ft-0", "ft-2"]


# --- deadlines --------------------------------------------------------------------------------------


async def test_a_deadline_cuts_a_request_in_flight() -> None:
    world = World(ends_at(0), latency=3600)

    with pytest.raises(WaitTimeoutError) as caught:
        await world.wait("ft-1", timeout=1)

    assert world.now == pytest.approx(1, abs=0.01)
    assert (caught.value.polls, caught.value.last_job) == (0, None)


async def test_where_a_deadline_clips_a_sleep_one_last_poll_is_made() -> None:
    world = World(ends_at(7))

    ended = await world.wait("ft-1", timeout=7.5)

    assert ended.status is JobStatus.SUCCEEDED
    assert world.times("ft-1") == [0, 2, 5, 7.5]


async def test_the_last_poll_takes_two_seconds_at_most() -> None:
    world = World(lambda job_id, number, now: job(job_id), latency=0)
    with world.entered("ft-1", timeout=7.5) as wait:
        await asyncio.sleep(6)
        world.latency = 3600
        with pytest.raises(WaitTimeoutError) as caught:
            await wait.ended

    assert world.now == pytest.approx(9.5, abs=0.01)
    assert caught.value.last_job == job("ft-1")


async def test_a_timeout_of_nothing_is_one_poll() -> None:
    world = World(ends_at(1000), latency=0.5)

    with pytest.raises(WaitTimeoutError) as caught:
        await world.wait("ft-1", timeout=0)

    assert (world.times("ft-1"), caught.value.polls) == ([0], 1)


async def test_a_timeout_of_nothing_joins_a_poll_in_flight() -> None:
    world = World(ends_at(0), latency=0.5)
    first = world.enter("ft-1")
    await asyncio.sleep(0.2)

    assert (await world.wait("ft-1", timeout=0)).succeeded
    assert (await first.ended).succeeded
    assert world.times("ft-1") == [0]


async def test_while_the_gate_is_closed_a_deadline_makes_no_last_poll() -> None:
    world = World(answers(RateLimitError(status=429, retry_after=100)))

    with pytest.raises(WaitTimeoutError) as caught:
        await world.wait("ft-1", timeout=50)

    assert (world.times("ft-1"), world.now) == ([0], 50)
    assert isinstance(caught.value.last_error, RateLimitError)


async def test_a_deadline_holds_in_the_queue_too() -> None:
    world = World(ends_at(0), latency=60, width=1)
    busy = world.enter("ft-0")

    with pytest.raises(WaitTimeoutError):
        await world.wait("ft-1", timeout=5)

    assert world.now == pytest.approx(7, abs=0.01)  # the last poll was granted, and found no room
    world.leave(busy)


# --- trouble ----------------------------------------------------------------------------------------


async def test_one_refusal_slows_every_job_of_the_client() -> None:
    refusal = RateLimitError(status=429, retry_after=20)
    world = World(lambda job_id, number, now: refusal if now < 1 and job_id == "ft-0" else job(job_id))
    waits = [world.enter(f"ft-{n}") for n in range(10)]
    await asyncio.sleep(19.9)

    assert world.asked == [(0, "ft-0")]
    await asyncio.sleep(3)
    again = [at for at, _ in world.asked[1:]]
    assert again[0] == 21.0
    assert len(again) == 10
    assert again[-1] < 23.0
    for wait in waits:
        world.leave(wait)


async def test_after_a_refusal_one_poll_probes_before_the_others_follow() -> None:
    world = World(lambda job_id, number, now: job(job_id), latency=0.1)
    waits = [world.enter(f"ft-{n}") for n in range(40)]
    await asyncio.sleep(1)
    world.gate.report(
        RateLimitError(status=429, retry_after=10), began=world.loop.time(), now=world.loop.time(), u=0
    )
    world.asked.clear()
    await asyncio.sleep(10.15)

    assert [at for at, _ in world.asked] == pytest.approx([11.0, 11.1, 11.1], abs=0.05)
    for wait in waits:
        world.leave(wait)


async def test_a_strategy_of_the_users_drives_the_delays_of_a_throttled_wait() -> None:
    refusals = [RateLimitError(status=429)] * 3
    world = World(answers(*refusals), retry=RetryPolicy(wait=wait_fixed(7), attempts=10))

    await world.wait("ft-1")

    assert world.times("ft-1") == [0, 7, 14, 21]


async def test_failures_back_off_and_never_poll_faster_than_health() -> None:
    world = World(answers(*[InternalServerError(status=500)] * 8), u=0.5)

    await world.wait("ft-1")

    times = world.times("ft-1")
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert gaps[:3] == [0.25, 0.5, 1.0]
    assert gaps[3:] == pytest.approx([2 + 0.5 * at for at in times[3:-1]], abs=0.002)


async def test_an_outage_is_tolerated_for_its_time_and_then_raised() -> None:
    world = World(lambda job_id, number, now: InternalServerError(status=502))

    with pytest.raises(OutageError) as caught:
        await world.wait("ft-1")

    assert 900 <= world.now <= 935
    assert isinstance(caught.value.last_error, InternalServerError)


async def test_an_outage_shorter_than_tolerated_is_survived() -> None:
    world = World(
        lambda job_id, number, now: (
            InternalServerError(status=502)
            if 10 < now < 800
            else job(job_id, JobStatus.SUCCEEDED if now > 800 else JobStatus.RUNNING)
        )
    )

    assert (await world.wait("ft-1")).succeeded


async def test_a_long_throttling_is_no_outage() -> None:
    world = World(
        lambda job_id, number, now: (
            RateLimitError(status=429, retry_after=250) if now < 7200 else job(job_id, JobStatus.SUCCEEDED)
        )
    )

    assert (await world.wait("ft-1")).succeeded


async def test_a_job_that_vanishes_is_looked_for_once_more() -> None:
    missing = NotFoundError(status=404, code="NotFound")
    world = World(answers(None, missing, missing))

    with pytest.raises(JobVanishedError) as caught:
        await world.wait("ft-1")

    assert (len(world.asked), caught.value.last_job) == (3, job("ft-1"))


async def test_a_job_that_only_blinked_is_waited_for() -> None:
    missing = NotFoundError(status=404, code="NotFound")
    world = World(answers(None, missing, None, missing, None))

    assert (await world.wait("ft-1")).succeeded


async def test_a_host_never_reached_ends_all_waits_after_the_shared_attempts() -> None:
    world = World(lambda job_id, number, now: refused())
    waits = [world.enter(f"ft-{n}") for n in range(2000)]

    errors = await outcomes([wait.ended for wait in waits])

    assert {type(error) for error in errors} == {APIConnectionError}
    assert len(world.asked) == 4
    assert world.now < 10


async def test_a_later_wait_has_its_own_attempts_to_reach_the_host() -> None:
    world = World(lambda job_id, number, now: refused())
    await outcomes([world.enter("ft-1").ended])

    await outcomes([world.enter("ft-2").ended])

    assert len(world.times("ft-2")) == 4


async def test_once_reached_a_refused_connection_is_an_outage_like_any_other() -> None:
    world = World(answers(None, *[refused()] * 6))

    assert (await world.wait("ft-1")).succeeded


async def test_an_unexpected_exception_belongs_to_its_wait_alone() -> None:
    world = World(
        lambda job_id, number, now: KeyError("boom") if job_id == "ft-0" else job(job_id, JobStatus.FAILED)
    )
    waits = [world.enter(f"ft-{n}") for n in range(3)]

    first, *others = await outcomes([wait.ended for wait in waits])

    assert type(first) is WaitError
    assert isinstance(first.__cause__, KeyError)
    assert [isinstance(other, BaseException) for other in others] == [False, False]


@pytest.mark.parametrize("error", [RateLimitError(status=429), InternalServerError(status=500)])
async def test_a_broken_strategy_ends_the_wait_and_says_so(error: Exception) -> None:
    world = World(answers(error), retry=RetryPolicy(wait=lambda state: -1.0))

    with pytest.raises(ConfigurationError, match=r"RetryPolicy.wait returned -1\.0"):
        await world.wait("ft-1")


# --- changes ----------------------------------------------------------------------------------------


async def test_changes_are_delivered_once_and_the_newest_wins() -> None:
    steps = [job("ft-1"), job("ft-1", usage=1), job("ft-1", usage=1), job("ft-1", usage=2)]
    world = World(answers(*steps))
    received: list[int | None] = []

    with world.entered("ft-1") as wait:
        async for snapshot in changes(wait):
            received.append(snapshot.usage)
            await asyncio.sleep(4 if snapshot.usage is None else 0)  # the look at usage=1 falls in here

    assert received == [None, 1, 2, None]


async def test_changes_raise_what_ends_the_wait() -> None:
    world = World(answers(None, *[AuthenticationError(status=401)] * 2))
    received: list[str] = []

    with world.entered("ft-1") as wait, pytest.raises(AuthenticationError):
        async for snapshot in changes(wait):
            received.append(snapshot.raw_status)

    assert received == ["RUNNING"]


# --- closing ----------------------------------------------------------------------------------------


async def test_closing_ends_every_wait_and_leaves_nothing() -> None:
    world = World(ends_at(1000), latency=0.5)
    sleeping = [world.enter(f"ft-{n}", timeout=500) for n in range(50)]
    await asyncio.sleep(5)
    polling = [world.enter(f"ft-new-{n}") for n in range(50)]
    await asyncio.sleep(0.1)

    await world.scheduler.close()
    errors = await outcomes([wait.ended for wait in (*sleeping, *polling)])

    assert {type(error) for error in errors} == {ClientClosedError}
    assert world.in_flight == 0
    assert tasks_besides_mine() == []
    assert isinstance(errors[0], ClientClosedError)
    assert errors[0].last_job == job("ft-0")
    assert isinstance(pickle.loads(pickle.dumps(errors[0])), ClientClosedError)


async def test_a_closed_scheduler_takes_no_wait() -> None:
    world = World(ends_at(0))
    await world.scheduler.close()

    with pytest.raises(ClientClosedError):
        world.enter("ft-1")


async def test_a_wait_left_after_closing_is_no_trouble() -> None:
    world = World(ends_at(1000))
    with world.entered("ft-1"):
        await asyncio.sleep(1)
        await world.scheduler.close()
