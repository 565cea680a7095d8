"""Requests that no wait makes, such as those for logs: one after the other through the waits' gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from dashscope_ft_async._api.gate import Gate

_SLACK = 0.001  # timers fire a little early; a sleep shorter than the clock's step would never end


class Turns:
    """A queue before the gate: first come, first served, and no more under way than its window.

    The rate and a closed gate are the waits' and theirs together; the window is counted for each.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._head = asyncio.Lock()
        self._under_way = 0
        self._room = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None, None]:
        """The time of one request: entered when it may go out, left when it was answered."""
        clock = asyncio.get_running_loop().time
        async with self._head:  # only the first in the queue looks at the gate
            while self._under_way >= self._gate.window:
                self._room.clear()
                await self._room.wait()
            await self._until_open(clock)
            self._gate.sent(clock())
            self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._room.set()

    async def _until_open(self, clock: Callable[[], float]) -> None:
        while True:
            ahead = self._gate.next_at - clock()
            if ahead <= _SLACK:
                return
            await asyncio.sleep(ahead)
