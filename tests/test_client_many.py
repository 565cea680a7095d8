"""Many waits at once over the simulator, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from dashscope_ft_async import (
    ConfigurationError,
    DashScopeFTError,
    FineTuneClient,
    FineTuneJob,
    NotFoundError,
    WaitTimeoutError,
)
from dashscope_ft_async.testing import Fault, Simulator

pytestmark = pytest.mark.looptime


def ending(service: Simulator, *seconds: float) -> list[str]:
    return [service.add_job([(0, "RUNNING"), (at, "SUCCEEDED")]) for at in seconds]


async def test_three_hundred_waiters_of_one_job_cost_the_polls_of_one(
    service: Simulator, client: FineTuneClient
) -> None:
    (job_id,) = ending(service, 100)

    jobs = await asyncio.gather(*(client.wait_for_terminal(job_id) for _ in range(300)))

    assert all(job.succeeded for job in jobs)
    assert service.polls(job_id) <= 12


async def test_two_hundred_jobs_cost_a_get_each_and_a_few_pages(
    service: Simulator, client: FineTuneClient
) -> None:
    ids = ending(service, *(60 + n for n in range(200)))

    results = await client.wait_many(ids)

    assert list(results) == ids
    gets = sum(service.polls(job_id) for job_id in ids)
    assert gets <= 1.5 * len(ids)
    assert len(service.requests) - gets <= 60


async def test_without_coalescing_no_page_is_asked_for(service: Simulator) -> None:
    ids = ending(service, *range(30))
    async with service.client(coalesce=False) as client:
        await client.wait_many(ids)

    assert len(service.requests) == sum(service.polls(job_id) for job_id in ids)


async def test_a_stormy_crowd_loses_nobody(service: Simulator, client: FineTuneClient) -> None:
    ids = ending(service, *(20 + n for n in range(100)))
    loop = asyncio.get_running_loop()
    loop.call_later(30, service.throttle, 20)
    loop.call_later(
        70, service.fail_next, *[Fault.reset(), Fault.html(502), Fault.cut(), Fault.error(500)] * 10
    )

    results = await client.wait_many(ids)

    assert all(job.succeeded for job in results.values())


async def test_ends_come_in_their_order_and_each_job_once(
    service: Simulator, client: FineTuneClient
) -> None:
    late, soon, middle = ending(service, 300, 10, 100)

    ended = [(await end).job_id async for end in client.as_completed([late, soon, middle, soon])]

    assert ended == [soon, middle, late]


async def test_a_bad_id_raises_at_its_own_await_and_stops_nothing(
    service: Simulator, client: FineTuneClient
) -> None:
    good = ending(service, 5, 10)
    ended: list[object] = []

    async for end in client.as_completed([good[0], "not/an/id", "ft-not-there", good[1]]):
        try:
            ended.append((await end).job_id)
        except DashScopeFTError as error:
            ended.append(type(error))

    assert sorted(map(str, ended)) == sorted(map(str, [ConfigurationError, NotFoundError, *good]))


async def test_a_limit_takes_ids_as_room_comes(service: Simulator, client: FineTuneClient) -> None:
    taken: list[str] = []

    def endless() -> Iterator[str]:
        while True:
            taken.extend(ending(service, 10))
            yield taken[-1]

    ends = client.as_completed(endless(), limit=5)
    for _ in range(20):
        await (await anext(ends))
    await ends.aclose()

    assert len(taken) <= 26
    assert "watches=0" in repr(client)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
async def test_a_limit_that_is_none_is_refused(client: FineTuneClient, limit: float) -> None:
    with pytest.raises(ConfigurationError):
        client.as_completed(["ft-1"], limit=limit)  # type: ignore[arg-type]


async def test_updates_of_many_run_beside_each_other(service: Simulator, client: FineTuneClient) -> None:
    ids = ending(service, 50, 60)
    told: list[tuple[str, str]] = []

    async def tell(job: FineTuneJob) -> None:
        await asyncio.sleep(5)
        told.append((job.job_id, job.raw_status))

    await client.wait_many(ids, on_update=tell)

    assert sorted(told) == sorted((job_id, word) for job_id in ids for word in ("RUNNING", "SUCCEEDED"))


async def test_the_first_error_stops_our_other_waits_and_carries_the_results(
    service: Simulator, client: FineTuneClient
) -> None:
    quick, never = ending(service, 5, 10_000)
    gone = service.add_job([(0, "RUNNING")])
    asyncio.get_running_loop().call_later(30, service.remove_job, gone)

    with pytest.raises(DashScopeFTError) as caught:
        await client.wait_many([quick, never, gone])

    assert caught.value.job_id == gone
    assert list(caught.value.results) == [quick]
    assert "watches=0" in repr(client)


async def test_errors_may_stand_in_the_place_of_their_jobs(
    service: Simulator, client: FineTuneClient
) -> None:
    quick, never = ending(service, 5, 10_000)

    results = await client.wait_many([never, quick, "ft-no"], timeout=60, return_exceptions=True)

    assert [type(result) for result in results.values()] == [WaitTimeoutError, FineTuneJob, NotFoundError]
