"""Following one wait, and many of them in the order of their ends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TypeAlias, TypeVar

from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import FineTuneJob

OnUpdate: TypeAlias = Callable[[FineTuneJob], Awaitable[object] | object]
Ended: TypeAlias = asyncio.Future[FineTuneJob]
_Job = TypeVar("_Job")


async def follow(wait: Wait, on_update: OnUpdate) -> FineTuneJob:
    """The terminal job; each change goes through `on_update`, in this coroutine, on its way."""
    async with aclosing(wait.changes()) as changes:  # or what the callback raises leaves it to the loop
        async for job in changes:
            answer = on_update(job)
            if inspect.isawaitable(answer):
                await answer
    return wait.ended.result()


async def in_order_of_ending(
    jobs: Iterable[_Job],
    id_of: Callable[[_Job], str],
    enter: Callable[[str, _Job], Wait],
    on_update: OnUpdate | None,
    limit: int | None,
) -> AsyncGenerator[tuple[str, Ended], None]:
    """Each job's id and its ended future, as they end; at most `limit` waits at once.

    Ids are taken from `jobs` as room comes, each once. Closing the generator gives up all its waits. A
    task is made for a wait only where a callback needs a coroutine to run in.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[Ended] = asyncio.Queue()
    active: dict[Ended, Wait | None] = {}
    names: dict[Ended, str] = {}
    seen: set[str] = set()
    source = iter(jobs)

    def start(job: _Job) -> None:
        name = str(job)
        wait: Wait | None = None
        ended: Ended
        try:
            name = id_of(job)
            if name in seen:
                return
            seen.add(name)
            wait = enter(name, job)
            ended = wait.ended if on_update is None else loop.create_task(follow(wait, on_update))
        except ConfigurationError as error:
            ended = loop.create_future()
            ended.set_exception(error)
        active[ended], names[ended] = wait, name
        ended.add_done_callback(done.put_nowait)

    try:
        exhausted = False
        while True:
            while not exhausted and (limit is None or len(active) < limit):
                try:
                    start(next(source))
                except StopIteration:
                    exhausted = True
            if not active:
                return
            ended = await done.get()
            _leave(active.pop(ended))
            if not ended.cancelled():
                ended.exception()  # whether the caller looks at it is the caller's business
            yield names.pop(ended), ended
    finally:
        for ended, wait in active.items():
            _leave(wait)
            ended.cancel()
        await asyncio.gather(*active, return_exceptions=True)


def _leave(wait: Wait | None) -> None:
    if wait is not None:
        wait.leave()


async def only_ended(
    crowd: AsyncGenerator[tuple[str, Ended], None],
) -> AsyncGenerator[Awaitable[FineTuneJob], None]:
    """`in_order_of_ending` without the ids."""
    async with aclosing(crowd):
        async for _, ended in crowd:
            yield ended
