"""Many waits at once over the simulator, in virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    ClientClosedError,
    ConfigurationError,
    DashScopeFTError,
    FineTuneClient,
    FineTuneJob,
    NotFoundError,
    PollPolicy,
    WaitTimeoutError,
)
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import refused_port

pytestmark = pytest.mark.looptime


def ending(service: Simulator, *seconds: float) -> list[str]:
    return [service.add_job([(0, "RUNNING"), (at, "SUCCEEDED")]) for at in seconds]


async def test_three_hundred_waits_of_one_job_cost_the_polls_of_one(
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


async def test_without_coalescing_no_page_is_requested(service: Simulator) -> None:
    ids = ending(service, *range(30))
    async with service.client(coalesce=False) as client:
        await client.wait_many(ids)

    assert len(service.requests) == sum(service.polls(job_id) for job_id in ids)


async def test_many_waits_under_faults_all_end(service: Simulator, client: FineTuneClient) -> None:
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
            ended.append((type(error), error.job_id))

    refused = [(ConfigurationError, "not/an/id"), (NotFoundError, "ft-not-there")]
    assert sorted(map(str, ended)) == sorted(map(str, [*refused, *good]))


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
    assert client.stats().waits == 0


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
async def test_a_limit_that_is_none_is_refused(client: FineTuneClient, limit: float) -> None:
    with pytest.raises(ConfigurationError):
        client.as_completed(["ft-1"], limit=limit)  # type: ignore[arg-type]


async def test_updates_of_many_run_beside_each_other(service: Simulator, client: FineTuneClient) -> None:
    ids = ending(service, 50, 60)
    received: list[tuple[str, str]] = []

    async def tell(job: FineTuneJob) -> None:
        await asyncio.sleep(5)
        received.append((job.job_id, job.raw_status))

    await client.wait_many(ids, on_update=tell)

    assert sorted(received) == sorted((job_id, word) for job_id in ids for word in ("RUNNING", "SUCCEEDED"))


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
    assert client.stats().waits == 0


async def test_errors_may_stand_in_the_place_of_their_jobs(
    service: Simulator, client: FineTuneClient
) -> None:
    quick, never = ending(service, 5, 10_000)

    results = await client.wait_many([never, quick, "ft-no"], timeout=60, return_exceptions=True)

    assert [type(result) for result in results.values()] == [WaitTimeoutError, FineTuneJob, NotFoundError]


# --- one of many --------------------------------------------------------------------------------------


def ours() -> list[str]:
    return [str(task) for task in asyncio.all_tasks() if "/dashscope_ft_async/" in str(task)]


@pytest.mark.parametrize("same", [True, False], ids=["one job", "a job each"])
async def test_cancelling_one_of_many_touches_no_other(
    same: bool, service: Simulator, client: FineTuneClient
) -> None:
    ids = ending(service, 100) * 20 if same else ending(service, *[100] * 20)
    waits = [asyncio.create_task(client.wait_for_terminal(job_id)) for job_id in ids]
    await asyncio.sleep(30)

    waits[7].cancel()
    results = await asyncio.gather(*waits, return_exceptions=True)

    assert [type(result) for result in results].count(FineTuneJob) == 19
    assert isinstance(results[7], asyncio.CancelledError)


async def test_cancelling_the_wait_whose_poll_is_in_flight_leaves_it_to_the_others(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], latency=5)
    first, second = (asyncio.create_task(client.wait_for_terminal(job_id)) for _ in range(2))
    await asyncio.sleep(2)

    first.cancel()

    assert (await second).succeeded
    assert service.polls(job_id) == 1


async def test_policies_and_deadlines_of_one_job_belong_to_each_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    (job_id,) = ending(service, 1_000)
    slow = PollPolicy(initial=100, multiplier=1, max_interval=100, jitter=0)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def ended(timeout: float, poll: PollPolicy | None) -> tuple[object, float]:
        try:
            return (
                await client.wait_for_terminal(job_id, timeout=timeout, poll=poll)
            ).raw_status, loop.time()
        except WaitTimeoutError as error:
            return error, loop.time()

    results = await asyncio.gather(ended(50, None), ended(50, slow), ended(5_000, slow))

    assert [type(result) for result, _ in results] == [WaitTimeoutError, WaitTimeoutError, str]
    assert results[0][0] is not results[1][0]
    assert [round(at - began) for _, at in results[:2]] == [50, 50]
    assert 1_000 <= results[2][1] - began <= 1_101


async def test_each_wait_of_a_failed_job_has_an_exception_of_its_own(
    service: Simulator, client: FineTuneClient
) -> None:
    errors = await asyncio.gather(
        *(client.wait_for_terminal("ft-none") for _ in range(9)), return_exceptions=True
    )

    assert {type(error) for error in errors} == {NotFoundError}
    assert len({id(error) for error in errors}) == 9
    assert service.polls("ft-none") == 1


@pytest.mark.parametrize("coalesce", [True, False])
async def test_closing_ends_every_wait_and_leaves_nothing(coalesce: bool, service: Simulator) -> None:
    client = service.client(coalesce=coalesce)
    ids = ending(service, *[10_000] * 200)
    waits = [asyncio.create_task(client.wait_for_terminal(job_id)) for job_id in ids]
    many = asyncio.create_task(client.wait_many(ids, on_update=lambda _: None))
    await asyncio.sleep(60)

    await client.close()
    errors: list[object] = [*await asyncio.gather(*waits, return_exceptions=True)]
    errors += await asyncio.gather(many, return_exceptions=True)

    assert {type(error) for error in errors} == {ClientClosedError}
    seen = len(service.requests)
    await asyncio.sleep(1_000)
    assert (len(service.requests), ours()) == (seen, [])


@pytest.mark.parametrize("count", [1, 2_000])
async def test_a_wrong_host_fails_in_seconds_however_many_wait(count: int) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with FineTuneClient(KEY, base_url=f"http://127.0.0.1:{refused_port()}") as client:
        errors = await asyncio.gather(
            *(client.wait_for_terminal(f"ft-{n}") for n in range(count)), return_exceptions=True
        )

    assert {type(error) for error in errors} == {APIConnectionError}
    assert len({id(error) for error in errors}) == count
    assert loop.time() - began < 10


# --- crowds -------------------------------------------------------------------------------------------


async def test_wait_many_takes_each_id_once_in_the_order_given(
    service: Simulator, client: FineTuneClient
) -> None:
    late, soon = ending(service, 50, 5)
    snapshot = await client.get(late)

    given: list[str | FineTuneJob] = [late, soon, late, snapshot]
    results = await client.wait_many(iter(given))

    assert list(results) == [late, soon]
    assert await client.wait_many([]) == {}


async def test_many_waits_share_one_deadline(service: Simulator, client: FineTuneClient) -> None:
    ids = ending(service, *[40] * 3)
    loop = asyncio.get_running_loop()
    began = loop.time()

    results = await client.wait_many(ids, timeout=60, limit=1, return_exceptions=True)

    assert [type(result) for result in results.values()] == [FineTuneJob] * 3
    never = ending(service, *[10_000] * 3)
    began = loop.time()
    results = await client.wait_many(never, timeout=60, limit=1, return_exceptions=True)
    assert [type(result) for result in results.values()] == [WaitTimeoutError] * 3
    assert loop.time() - began < 70


async def test_a_limit_bounds_the_waits_at_once(service: Simulator, client: FineTuneClient) -> None:
    ids = ending(service, *range(0, 200, 10))
    most = 0

    def note(_: FineTuneJob) -> None:
        nonlocal most
        most = max(most, client.stats().jobs)

    results = await client.wait_many(ids, limit=3, on_update=note)

    assert (len(results), most) == (20, 3)


async def test_what_a_callback_raises_ends_wait_many(service: Simulator, client: FineTuneClient) -> None:
    def tell(_: FineTuneJob) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.wait_many(ending(service, 10, 20), on_update=tell)

    assert client.stats().waits == 0


async def test_cancelling_wait_many_gives_up_all_its_waits(
    service: Simulator, client: FineTuneClient
) -> None:
    together = asyncio.create_task(
        client.wait_many(ending(service, *[10_000] * 5), on_update=lambda _: None)
    )
    await asyncio.sleep(20)

    together.cancel()
    with pytest.raises(asyncio.CancelledError):
        await together

    assert client.stats().waits == 0
    assert ours() == []


async def test_leaving_as_completed_early_gives_up_the_rest(
    service: Simulator, client: FineTuneClient
) -> None:
    ids = ending(service, 5, *[10_000] * 5)
    async for ended in client.as_completed(ids):
        assert (await ended).job_id == ids[0]
        break
    gc.collect()
    await asyncio.sleep(0.01)
    seen = len(service.requests)

    await asyncio.sleep(1_000)

    assert (len(service.requests), ours()) == (seen, [])


async def test_an_error_that_nobody_awaits_is_no_trouble(
    service: Simulator, client: FineTuneClient
) -> None:
    count = 0
    async for _ in client.as_completed(["ft-none", "a/b", *ending(service, 5)]):
        count += 1
    gc.collect()

    assert count == 3


async def test_an_ended_wait_may_be_awaited_again(service: Simulator, client: FineTuneClient) -> None:
    ends = [end async for end in client.as_completed(["ft-none", *ending(service, 5)])]

    for _ in range(2):
        with pytest.raises(NotFoundError):
            await ends[0]
        assert (await ends[1]).succeeded


async def test_an_iterable_that_raises_ends_all_waits(service: Simulator, client: FineTuneClient) -> None:
    def broken() -> Iterator[str]:
        yield from ending(service, 100)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await anext(client.as_completed(broken()))

    assert client.stats().waits == 0
    assert ours() == []


async def test_each_of_many_waits_ends_in_its_way(service: Simulator, client: FineTuneClient) -> None:
    done = service.add_job([(0, "RUNNING"), (9, "SUCCEEDED")])
    failed = service.add_job([(0, "RUNNING"), (5, "FAILED")])
    refused = service.add_job([(0, "RUNNING")], faults=[Fault.error(403, "AccessDenied")] * 2)

    results = await client.wait_many([done, failed, refused, "ft-none"], return_exceptions=True)

    kinds = [
        result.raw_status if isinstance(result, FineTuneJob) else type(result).__name__
        for result in results.values()
    ]
    assert kinds == ["SUCCEEDED", "FAILED", "PermissionDeniedError", "NotFoundError"]


@pytest.mark.parametrize("jobs", ["ft-1", None, 3])
async def test_one_id_where_many_belong_is_not_taken_for_its_letters(
    service: Simulator, client: FineTuneClient, jobs: Any
) -> None:
    with pytest.raises(ConfigurationError, match="for one"):
        await client.wait_many(jobs)
    with pytest.raises(ConfigurationError, match="for one"):
        client.as_completed(jobs)
    with pytest.raises(ConfigurationError, match="for one"):
        client.as_completed(await client.get(service.add_job()))  # type: ignore[arg-type] # pyright: ignore
    assert [seen.path.rpartition("/")[2][:3] for seen in service.requests] == ["ft-"]
