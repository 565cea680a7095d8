"""Event loops to run a test in, a tracer of suspensions, and what an asyncio program must not leave."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # it has no wheels for Windows
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


class EagerPolicy(asyncio.DefaultEventLoopPolicy):
    """Its loops run the first step of a task at once, so that a task may be done when it is made."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A loop with `asyncio.eager_task_factory`."""
        loop = super().new_event_loop()
        loop.set_task_factory(vars(asyncio)["eager_task_factory"])
        return loop


async def turns(count: int = 20) -> None:
    """Let the loop turn; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(met: Callable[[], object]) -> None:
    """Until something in this process has come about, which it does within milliseconds."""
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 - a server's list or a repr has no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None, None]:
    """After the block: no task of ours, and nothing that the loop would complain of ("Unclosed …")."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    yield
    await turns()
    left = [str(task) for task in asyncio.all_tasks()]
    assert [task for task in left if "/dashscope_ft_async/" in task or _Traced.__name__ in task] == []
    gc.collect(1)  # what was made just now is young
    await turns()
    assert complaints == []


class Suspensions:
    """Counts each time that a task of the package's suspends; at the k-th, `act` is called meanwhile.

    Made inside a loop, it counts in all tasks made later that run the package's code.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kth = 0
        self._act: Callable[[], object] = turns
        loop: Any = asyncio.get_running_loop()
        loop.set_task_factory(self._made)

    def call_at(self, kth: int, act: Callable[[], object]) -> None:
        """Begin to count, and call `act` once the k-th suspension is there; 0 is never."""
        self.count, self._kth, self._act = 0, kth, act

    def _made(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        code: Any = getattr(coro, "cr_code", None)
        ours = code is not None and "/dashscope_ft_async/" in code.co_filename
        return asyncio.Task(_Traced(coro, self._suspended) if ours else coro, loop=loop, **options)

    def _suspended(self) -> None:
        self.count += 1
        if self.count == self._kth:
            asyncio.get_running_loop().call_soon(self._act)


class _Traced(Coroutine[Any, Any, Any]):
    """A coroutine that tells when it suspends."""

    def __init__(self, coro: Coroutine[Any, Any, Any], suspended: Callable[[], None]) -> None:
        self._coro = coro
        self._suspended = suspended

    def send(self, value: Any) -> Any:
        waited_for = self._coro.send(value)
        self._suspended()
        return waited_for

    def throw(self, *error: Any) -> Any:
        waited_for = self._coro.throw(*error)
        self._suspended()
        return waited_for

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()
