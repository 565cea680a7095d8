"""Waits, callbacks and clients that are cancelled or abandoned at awkward moments leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from dashscope_ft_async import DashScopeFTError, FineTuneClient, FineTuneJob, PollPolicy
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY
from tests.support.event_loops import nothing_left, turns, until

QUICK = PollPolicy(initial=0.01, max_interval=0.01, multiplier=1, outage_tolerance=0.05)


async def test_a_callback_that_raises_as_its_wait_is_cancelled_leaves_no_error_behind() -> None:
    """The loop complained: "Task exception was never retrieved"."""
    waits: list[asyncio.Task[FineTuneJob]] = []

    async def callback(_: FineTuneJob) -> None:
        await asyncio.sleep(0)
        waits[0].cancel()
        raise ValueError("of the callback")

    async with nothing_left(), Simulator(api_key=KEY) as service, service.client(poll=QUICK) as client:
        job_id = service.add_job([(0, "RUNNING")])
        waits.append(asyncio.create_task(client.wait_for_terminal(job_id, on_update=callback)))
        with pytest.raises(asyncio.CancelledError):
            await waits[0]


@pytest.mark.parametrize("after", range(5))
async def test_a_client_that_is_cancelled_while_it_closes_leaves_no_session_open(after: int) -> None:
    async with nothing_left(), Simulator(api_key=KEY) as service:
        job_id = service.add_job([(0, "RUNNING")])
        entered, leave = asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with service.client(poll=QUICK) as client:
                await client.get(job_id)
                await client.cancel(job_id)  # sent over a session of its own
                entered.set()
                await leave.wait()

        task = asyncio.create_task(use())
        await entered.wait()
        leave.set()
        await turns(after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gc.collect()


@pytest.mark.parametrize("with_callback", [False, True])
@pytest.mark.parametrize("in_task", [False, True])
def test_as_completed_left_early_and_still_referenced_closes_at_shutdown(
    with_callback: bool, in_task: bool
) -> None:
    """It printed "aclose(): asynchronous generator is already running"."""
    complaints: list[dict[str, Any]] = []
    kept: list[AsyncGenerator[Any, None]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with Simulator(api_key=KEY) as service, service.client(poll=QUICK) as client:
            ids = [service.add_job([(0, "SUCCEEDED" if n == 0 else "RUNNING")]) for n in range(5)]

            async def callback(_: FineTuneJob) -> None:
                await asyncio.sleep(0)

            kept.append(client.as_completed(ids, on_update=callback if with_callback else None))

            async def first() -> None:
                async for ended in kept[0]:
                    await ended
                    if not in_task:
                        break

            if in_task:
                task = asyncio.create_task(first())
                await asyncio.sleep(0.05)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            else:
                await first()

    asyncio.run(main())
    assert complaints == []


async def test_a_borrowed_session_that_is_closed_during_a_wait_ends_it_without_other_errors() -> None:
    async with nothing_left(), Simulator(api_key=KEY) as service, aiohttp.ClientSession() as session:
        job_ids = [service.add_job([(0, "RUNNING")]) for _ in range(5)]
        async with FineTuneClient(KEY, base_url=service.base_url, session=session, poll=QUICK) as client:
            waits = [asyncio.create_task(client.wait_for_terminal(each, timeout=1)) for each in job_ids]
            await until(lambda: client.stats().observations >= 5)
            await session.close()
            async with asyncio.timeout(10):
                outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(each, DashScopeFTError) for each in outcomes)
