"""Waits that are continued from a stored state."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from tenacity import wait_incrementing

from dashscope_ft_async import (
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    FineTuneJob,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PollPolicy,
    RetryPolicy,
    WaitError,
    WaitTimeoutError,
    WatchState,
)
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY

STEADY = PollPolicy(initial=10, multiplier=1, max_interval=10, jitter=0)


def state_of(service: Simulator, job_id: str, **facts: Any) -> WatchState:
    """A wait for `job_id` that has just begun."""
    begin: dict[str, Any] = {"base_url": service.base_url, "started": datetime.now(UTC)}
    return WatchState(job_id=job_id, **(begin | facts))


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def polled_at(service: Simulator) -> list[float]:
    return [round(seen.at - service.requests[0].at, 2) for seen in service.requests]


@pytest.mark.looptime
async def test_a_wait_under_way_says_where_it_stands(service: Simulator) -> None:
    job_id = service.add_job([(0, "QUEUING"), (35, "RUNNING"), (60, "SUCCEEDED")])
    async with (
        service.client(workspace="llm-1", poll=STEADY) as client,
        client.waiting(job_id, timeout=3600) as wait,
    ):
        assert wait.last_job is None
        fresh = wait.state
        await asyncio.sleep(5)
        assert wait.last_job is not None
        queuing = wait.state

        job = await wait.terminal()

        assert wait.last_job == job
        assert (job.succeeded, wait.state.last_status) == (True, "SUCCEEDED")
    assert (fresh.job_id, fresh.base_url, fresh.workspace) == (job_id, service.base_url, "llm-1")
    assert (fresh.last_status, queuing.last_status) == (None, "QUEUING")
    assert fresh.deadline is not None
    assert (fresh.deadline - fresh.started).total_seconds() == pytest.approx(3600, abs=0.001)
    assert (fresh.failures, fresh.log_offset) == (0, 0)


@pytest.mark.looptime
async def test_a_handle_gives_changes_and_leaving_its_block_ends_the_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (3, "FAILED")])
    endless = service.add_job([(0, "RUNNING")])
    seen: list[str] = []

    def note(job: FineTuneJob) -> None:
        seen.append(job.raw_status)

    async with client.waiting(job_id, poll=STEADY) as wait:
        await wait.terminal(on_update=note)
    async with client.waiting(endless, poll=STEADY):
        await asyncio.sleep(1)
    polls = service.polls(endless)
    await asyncio.sleep(100)

    assert seen == ["RUNNING", "FAILED"]
    assert service.polls(endless) == polls == 1


@pytest.mark.looptime
async def test_every_wait_that_is_given_up_has_its_state(service: Simulator) -> None:
    running = service.add_job([(0, "RUNNING")])
    down = service.add_job([(0, "RUNNING")], faults=[Fault.error(500, "InternalError")] * 99)
    client = service.client(poll=attrs.evolve(STEADY, outage_tolerance=60))
    closing = asyncio.create_task(client.wait_for_terminal(running))

    with pytest.raises(WaitTimeoutError) as timed_out:
        await client.wait_for_terminal(running, timeout=25)
    with pytest.raises(OutageError) as outage:
        await client.wait_for_terminal(down, timeout=None)
    await client.close()
    with pytest.raises(ClientClosedError) as closed:
        await closing

    states = [pickle.loads(pickle.dumps(met.value)).state for met in (timed_out, outage, closed)]
    assert [state.job_id for state in states] == [running, down, running]
    assert [state.last_status for state in states] == ["RUNNING", None, "RUNNING"]
    assert [state.failures > 3 for state in states] == [False, True, False]
    assert states[1].deadline is None
    assert KEY not in "".join(state.to_json() for state in states)


@pytest.mark.looptime
async def test_errors_of_many_waits_have_a_state_each(service: Simulator, client: FineTuneClient) -> None:
    ids = [service.add_job([(0, "RUNNING")]) for _ in range(3)]

    results = await client.wait_many(ids, timeout=5, return_exceptions=True)

    errors = [error for error in results.values() if isinstance(error, WaitError)]
    assert [error.state and error.state.job_id for error in errors] == ids


async def test_without_a_wait_there_is_no_state(service: Simulator) -> None:
    client = service.client()
    await client.close()

    with pytest.raises(ClientClosedError) as closed:
        await client.get("ft-1")

    assert closed.value.state is None


@pytest.mark.looptime
async def test_a_deadline_beyond_the_calendar_is_none(service: Simulator, client: FineTuneClient) -> None:
    async with client.waiting(service.add_job(), timeout=1e15) as wait:
        assert wait.state.deadline is None


# --- what it keeps ------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_a_resumed_wait_keeps_its_deadline(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    state = state_of(service, job_id, started=ago(100), deadline=ago(-50), log_offset=7)
    began = asyncio.get_running_loop().time()

    with pytest.raises(WaitTimeoutError) as met:
        await client.resume(state, poll=STEADY)

    assert asyncio.get_running_loop().time() - began == pytest.approx(50, abs=0.1)
    assert met.value.elapsed == pytest.approx(150, abs=0.1)
    assert met.value.state == attrs.evolve(state, last_status="RUNNING")


@pytest.mark.looptime
@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED"])
async def test_a_deadline_that_has_passed_leaves_one_poll(
    service: Simulator, client: FineTuneClient, status: str
) -> None:
    job_id = service.add_job([(0, status)])
    state = state_of(service, job_id, started=ago(7200), deadline=ago(3600))

    if status == "SUCCEEDED":
        assert (await client.resume(state)).succeeded
    else:
        with pytest.raises(WaitTimeoutError):
            await client.resume(state)

    assert service.polls(job_id) == 1


@pytest.mark.looptime
async def test_a_passed_deadline_leaves_one_poll_beside_one_under_way(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (1, "SUCCEEDED")], latency=1.5)
    other = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(0.5)

    resumed = await client.resume(state_of(service, job_id, started=ago(99), deadline=ago(9)))

    assert resumed == await other


@pytest.mark.looptime
async def test_a_resumed_wait_keeps_its_pace(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (110, "SUCCEEDED")])
    policy = PollPolicy(jitter=0)

    await client.resume(state_of(service, job_id, started=ago(36)), poll=policy)

    # 2 + 36 / 2 = 20 s after the first poll, and then the longest interval.
    assert polled_at(service) == pytest.approx([0, 20, 50, 80, 110], abs=0.1)


@pytest.mark.looptime
async def test_a_resumed_wait_keeps_its_place_in_the_back_off(service: Simulator) -> None:
    # Steps of 1 s: failure number n is followed by n seconds.
    retry = RetryPolicy(wait=wait_incrementing(start=1, increment=1), attempts=99)
    faults = [Fault.error(500, "InternalError")] * 2
    job_id = service.add_job([(0, "RUNNING"), (9, "SUCCEEDED")], faults=faults)
    async with service.client(retry=retry, poll=STEADY) as client:
        await client.resume(state_of(service, job_id, failures=5))

    assert polled_at(service) == pytest.approx([0, 6, 13], abs=0.1)


@pytest.mark.looptime
async def test_an_outage_is_counted_anew(service: Simulator) -> None:
    faults = [Fault.error(500, "InternalError")] * 6
    job_id = service.add_job([(0, "SUCCEEDED")], faults=faults)
    patient = attrs.evolve(STEADY, outage_tolerance=60)
    async with service.client(poll=patient) as client:
        job = await client.resume(state_of(service, job_id, started=ago(9000), failures=50))

    assert job.succeeded


@pytest.mark.looptime
async def test_a_clock_that_is_behind_makes_no_wait_of_negative_age(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (1, "SUCCEEDED")])

    await client.resume(state_of(service, job_id, started=ago(-3600)), poll=PollPolicy(jitter=0))

    assert polled_at(service) == [0, 2]
    with pytest.raises(WaitTimeoutError) as met:
        await client.resume(
            state_of(service, service.add_job([(0, "RUNNING")]), started=ago(-3600), deadline=ago(0))
        )
    assert met.value.elapsed >= 0


@pytest.mark.looptime
async def test_a_resumed_wait_looks_once_more_for_a_job_that_its_state_has_seen(
    service: Simulator, client: FineTuneClient
) -> None:
    with pytest.raises(JobVanishedError) as vanished:
        await client.resume(state_of(service, "ft-gone", last_status="RUNNING"))
    with pytest.raises(NotFoundError):
        await client.resume(state_of(service, "ft-gone"))

    assert vanished.value.polls == 2


@pytest.mark.looptime
async def test_all_kinds_of_waits_take_states_among_ids(service: Simulator, client: FineTuneClient) -> None:
    quick, slow, stuck = (service.add_job([(0, "RUNNING"), (n, "SUCCEEDED")]) for n in (5, 50, 5000))
    late = state_of(service, stuck, deadline=ago(-20))

    results = await client.wait_many([quick, state_of(service, slow), late], return_exceptions=True)
    succeeded = await client.wait_for_success(state_of(service, quick))
    snapshots = [job.status async for job in client.watch(state_of(service, slow))]

    assert list(results) == [quick, slow, stuck]
    assert isinstance(results[stuck], WaitTimeoutError)
    assert results[quick] == succeeded
    assert snapshots == ["SUCCEEDED"]


async def test_a_client_has_its_place_in_the_words_of_a_state(service: Simulator) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    async with service.client(workspace="llm-1") as client:
        state = state_of(service, job_id, base_url=client.base_url, workspace=client.workspace)

        assert (await client.wait_for_terminal(state)).succeeded


@pytest.mark.parametrize("other", [{"base_url": "https://elsewhere/api/v1"}, {"workspace": "llm-2"}])
async def test_a_state_of_another_place_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient, other: dict[str, str]
) -> None:
    state = attrs.evolve(state_of(service, service.add_job()), **other)  # type: ignore[arg-type]

    with pytest.raises(ConfigurationError, match=next(iter(other))):
        await client.resume(state)
    with pytest.raises(ConfigurationError, match=next(iter(other))):
        client.waiting(state)
    with pytest.raises(ConfigurationError, match=next(iter(other))):
        await client.wait_many([state])
    async for ended in client.as_completed([state]):
        with pytest.raises(ConfigurationError, match=next(iter(other))):
            await ended

    assert service.requests == []


async def test_only_a_state_is_resumed(client: FineTuneClient) -> None:
    with pytest.raises(ConfigurationError, match="state must be a WatchState"):
        await client.resume("ft-1")  # type: ignore[arg-type]


@pytest.mark.looptime
async def test_a_wait_outlives_those_who_stop_awaiting_it_but_not_its_block(service: Simulator) -> None:
    """A second `terminal()` was cancelled like the first, and one behind the block waited for ever."""
    job_id = service.add_job([(0, "RUNNING"), (60, "SUCCEEDED")])
    async with service.client() as client:
        async with client.waiting(job_id) as waiting:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await waiting.terminal()
            assert (await waiting.terminal()).succeeded
        assert (await waiting.terminal()).succeeded
        async with client.waiting(service.add_job([(0, "RUNNING")])) as given_up:
            pass
        with pytest.raises(ConfigurationError, match="async with block"):
            await given_up.terminal()
