"""The queue of requests that no wait makes."""

from __future__ import annotations

import asyncio

import pytest

from dashscope_ft_async import RetryPolicy
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._engine.turns import Turns
from dashscope_ft_async.errors import RateLimitError

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def requests(turns: Turns, number: int, seconds: float) -> list[tuple[float, float]]:
    """When each of `number` requests that were wanted at once was under way."""

    async def one() -> tuple[float, float]:
        async with turns.turn():
            began = now()
            await asyncio.sleep(seconds)
            return began, now()

    return await asyncio.gather(*(one() for _ in range(number)))


async def test_no_more_under_way_than_the_window() -> None:
    gate = Gate(RetryPolicy(), 32)
    gate.window = 3

    times = await requests(Turns(gate), 9, 10.0)

    assert [began for began, _ in times] == sorted(began for began, _ in times)
    assert all(sum(a <= at < b for a, b in times) <= 3 for at, _ in times)
    assert now() == pytest.approx(30.0, abs=0.1)


async def test_no_faster_than_the_rate() -> None:
    gate = Gate(RetryPolicy(), 32, max_rate=2.0)
    gate.window = 32

    times = await requests(Turns(gate), 10, 0.1)

    assert max(began for began, _ in times) == pytest.approx(4.5, abs=0.1)


@pytest.mark.parametrize("seconds", [20.0, 1e-13])
async def test_a_closed_gate_is_waited_for(seconds: float) -> None:
    gate = Gate(RetryPolicy(), 32)
    gate.opens_at = now() + seconds

    ((began, _),) = await asyncio.wait_for(requests(Turns(gate), 1, 0.0), 60)

    assert began >= gate.opens_at - 0.001


async def test_a_refusal_holds_back_those_in_the_queue() -> None:
    gate = Gate(RetryPolicy(), 32)
    turns = Turns(gate)
    async with turns.turn():
        others = asyncio.create_task(requests(turns, 3, 0.0))
        await asyncio.sleep(1)
        refusal = RateLimitError(status=429, code="Throttling", retry_after=30)
        gate.saw(refusal, began=now(), now=now(), u=0.0)

    assert min(began for began, _ in await others) >= 31 - 0.001


async def test_a_cancelled_request_makes_room() -> None:
    gate = Gate(RetryPolicy(), 32)
    turns = Turns(gate)
    waiting = [asyncio.create_task(requests(turns, 1, 1000.0)) for _ in range(3)]
    await asyncio.sleep(1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert len(await requests(turns, 2, 0.0)) == 2
    assert now() < 5
