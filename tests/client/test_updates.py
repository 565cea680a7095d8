"""What a wait tells on its way: `watch` and `on_update`, over the simulator in virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing

import pytest

from dashscope_ft_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    FineTuneJob,
    PollPolicy,
    WaitTimeoutError,
)
from dashscope_ft_async.testing import Fault, Simulator

pytestmark = pytest.mark.looptime

STEADY = PollPolicy(initial=1, multiplier=1, max_interval=1, jitter=0)
LIFE = [(0, "PENDING"), (10, "QUEUING"), (20, "RUNNING"), (30, "SUCCEEDED")]


@pytest.fixture(autouse=True)
async def nothing_left_running(client: FineTuneClient) -> AsyncIterator[None]:
    """Closing leaves no task of ours."""
    yield
    await client.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert ours() == []


def ours() -> list[str]:
    return [str(task) for task in asyncio.all_tasks() if "/dashscope_ft_async/" in str(task)]


def now() -> float:
    return asyncio.get_running_loop().time()


# --- watch ------------------------------------------------------------------------------------------


async def test_watch_gives_the_first_snapshot_each_change_and_the_end(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(LIFE)
    seen = [job.raw_status async for job in client.watch(job_id, poll=STEADY)]
    assert seen == ["PENDING", "QUEUING", "RUNNING", "SUCCEEDED"]
    assert service.polls(job_id) == pytest.approx(31, abs=1)


async def test_watch_gives_an_ended_job_once(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "FAILED")])
    assert [job.raw_status async for job in client.watch(job_id)] == ["FAILED"]
    assert service.polls(job_id) == 1


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("usage", 5, 3),
        ("output_cnt", 1, 3),
        ("finetuned_output", "m", 3),
        ("code", "1", 3),
        ("message", "m", 3),
        ("end_time", "2026-01-05 12:00:00", 3),
        ("usage", None, 2),
        ("message", "", 2),
        ("surprise", 1, 2),
        ("modifier", "other", 2),
    ],
)
async def test_watch_gives_a_change_of_what_matters_and_of_nothing_else(
    field: str, value: object, expected: int, service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (20, "SUCCEEDED")])

    async def watched() -> list[FineTuneJob]:
        return [job async for job in client.watch(job_id, poll=STEADY)]

    watching = asyncio.create_task(watched())
    await asyncio.sleep(5)
    service.set_status(job_id, "RUNNING", **{field: value})
    await asyncio.sleep(5)
    service.set_status(job_id, "SUCCEEDED")
    assert len(await watching) == expected


async def test_a_slow_loop_body_gets_the_newest_and_delays_no_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(LIFE)
    other = asyncio.create_task(client.wait_for_terminal(job_id, poll=STEADY))
    began = now()
    seen: list[str] = []
    async for job in client.watch(job_id, poll=STEADY):
        seen.append(job.raw_status)
        if len(seen) == 1:
            await asyncio.sleep(25)
            assert not other.done()
        if len(seen) == 2:
            await asyncio.sleep(100)
            assert other.done()
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert now() - began == pytest.approx(125, abs=2)


async def test_leaving_a_watch_early_stops_its_polls(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(LIFE)
    async for _ in client.watch(job_id, poll=STEADY):
        break
    gc.collect()
    await asyncio.sleep(0.01)
    polls = service.polls(job_id)
    await asyncio.sleep(100)
    assert service.polls(job_id) == polls
    assert client.stats().waits == 0


async def test_closing_a_watch_stops_it_at_once(service: Simulator, client: FineTuneClient) -> None:
    async with aclosing(client.watch(service.add_job(LIFE))) as watch:
        await anext(watch)
    assert client.stats().waits == 0


async def test_a_watch_that_is_not_iterated_sends_nothing(
    service: Simulator, client: FineTuneClient
) -> None:
    watch = client.watch(service.add_job(LIFE))
    await asyncio.sleep(100)
    assert service.requests == []
    await watch.aclose()


async def test_the_time_of_a_watch_counts_from_its_first_step(
    service: Simulator, client: FineTuneClient
) -> None:
    watch = client.watch(service.add_job([(0, "RUNNING")]), timeout=50)
    await asyncio.sleep(100)
    began = now()
    with pytest.raises(WaitTimeoutError):
        async for _ in watch:
            pass
    assert now() - began == pytest.approx(50, abs=0.1)


async def test_a_watch_raises_what_ends_it_after_what_was_seen(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    asyncio.get_running_loop().call_later(10, service.fail_next, *[Fault.error(401, "InvalidApiKey")] * 2)
    seen: list[str] = []
    with pytest.raises(AuthenticationError):
        async for job in client.watch(job_id):
            seen.append(job.raw_status)
    assert seen == ["RUNNING"]


async def test_closing_the_client_ends_a_watch(service: Simulator, client: FineTuneClient) -> None:
    asyncio.get_running_loop().call_later(10, lambda: asyncio.ensure_future(client.close()))
    seen: list[str] = []
    with pytest.raises(ClientClosedError) as caught:
        async for job in client.watch(service.add_job([(0, "RUNNING")])):
            seen.append(job.raw_status)
    assert seen == ["RUNNING"]
    assert caught.value.last_job is not None


# --- on_update --------------------------------------------------------------------------------------


async def test_a_plain_callback_is_called_with_every_change(
    service: Simulator, client: FineTuneClient
) -> None:
    received: list[str] = []
    job = await client.wait_for_terminal(
        service.add_job(LIFE), poll=STEADY, on_update=lambda job: received.append(job.raw_status)
    )
    assert received == ["PENDING", "QUEUING", "RUNNING", "SUCCEEDED"]
    assert job.succeeded


async def test_an_asynchronous_callback_is_awaited(service: Simulator, client: FineTuneClient) -> None:
    received: list[str] = []

    async def tell(job: FineTuneJob) -> None:
        await asyncio.sleep(0.5)
        received.append(job.raw_status)

    await client.wait_for_success(service.add_job(LIFE), poll=STEADY, on_update=tell)
    assert received == ["PENDING", "QUEUING", "RUNNING", "SUCCEEDED"]


async def test_whatever_awaitable_a_callback_gives_is_awaited(
    service: Simulator, client: FineTuneClient
) -> None:
    made: list[asyncio.Future[None]] = []

    def tell(_: FineTuneJob) -> Awaitable[None]:
        made.append(asyncio.get_running_loop().create_future())
        asyncio.get_running_loop().call_later(1, made[-1].set_result, None)
        return made[-1]

    await client.wait_for_terminal(service.add_job(LIFE), poll=STEADY, on_update=tell)
    assert [one.done() for one in made] == [True] * 4


async def test_a_slow_callback_sees_the_newest_and_delays_no_other_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(LIFE)
    received: list[tuple[str, int]] = []
    began = now()

    async def tell(job: FineTuneJob) -> None:
        received.append((job.raw_status, round(now() - began)))
        await asyncio.sleep(25)

    slow = asyncio.create_task(client.wait_for_terminal(job_id, poll=STEADY, on_update=tell))
    await client.wait_for_terminal(job_id, poll=STEADY)
    assert now() - began == pytest.approx(30, abs=1.5)
    await slow
    assert received == [("PENDING", 0), ("RUNNING", 25), ("SUCCEEDED", 50)]
    assert now() - began == pytest.approx(75, abs=1.5)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_callback_raises_ends_its_wait_only(
    kind: str, service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(LIFE)

    def tell(job: FineTuneJob) -> None:
        if job.raw_status == "QUEUING":
            raise ZeroDivisionError(job.raw_status)

    async def tell_later(job: FineTuneJob) -> None:
        await asyncio.sleep(0)
        tell(job)

    other = asyncio.create_task(client.wait_for_terminal(job_id, poll=STEADY))
    with pytest.raises(ZeroDivisionError, match="QUEUING") as caught:
        await client.wait_for_terminal(
            job_id, poll=STEADY, on_update=tell if kind == "sync" else tell_later
        )
    assert (await other).succeeded
    assert caught.value.__cause__ is None


async def test_a_raising_callback_leaves_nothing_of_its_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    def tell(_: FineTuneJob) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.wait_for_terminal(service.add_job(LIFE), on_update=tell)
    assert client.stats().waits == 0
    before = asyncio.all_tasks()
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before  # no async generator was left for the loop to close


async def test_cancelling_a_wait_cancels_its_callback(service: Simulator, client: FineTuneClient) -> None:
    cancelled: list[str] = []

    async def tell(job: FineTuneJob) -> None:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            cancelled.append(job.raw_status)
            raise

    wait = asyncio.create_task(client.wait_for_terminal(service.add_job(LIFE), on_update=tell))
    await asyncio.sleep(5)
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    assert cancelled == ["PENDING"]
    assert client.stats().waits == 0


async def test_a_wait_that_joins_late_gets_what_is_known(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(LIFE)
    first = asyncio.create_task(client.wait_for_terminal(job_id, poll=STEADY))
    await asyncio.sleep(15.5)
    received: list[str] = []
    await client.wait_for_terminal(
        job_id, poll=STEADY, on_update=lambda job: received.append(job.raw_status)
    )
    assert received == ["QUEUING", "RUNNING", "SUCCEEDED"]
    assert (await first).succeeded


async def test_a_bad_id_calls_no_callback(client: FineTuneClient) -> None:
    received: list[FineTuneJob] = []
    with pytest.raises(ConfigurationError):
        await client.wait_for_terminal("a/b", on_update=received.append)
    assert received == []
