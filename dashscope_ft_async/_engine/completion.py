"""Follow one wait with a callback, and many waits in the order in which they end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import FineTuneJob, safe_word

OnUpdate: TypeAlias = Callable[[FineTuneJob], Awaitable[object] | object]
Ended: TypeAlias = asyncio.Future[FineTuneJob]
_J = TypeVar("_J")


async def follow(wait: Wait, on_update: OnUpdate) -> FineTuneJob:
    """The terminal job of a wait; `on_update` is called with each change, in this coroutine.

    A callback that still runs when the wait fails, as at its deadline, is cancelled.
    """
    while (job := await wait.next_change()) is not None:
        answer = on_update(job)
        if inspect.isawaitable(answer):
            await _within(wait, answer)
    ended: FineTuneJob = await wait.ended
    return ended


async def _within(wait: Wait, answer: Awaitable[object]) -> None:
    """Await a callback, at most until the wait fails or its deadline passes."""
    callback = asyncio.ensure_future(answer)
    callback.add_done_callback(_mark_retrieved)  # nobody reads its error if the wait is cancelled just now
    try:
        while not callback.done():
            waited: set[asyncio.Future[object]] = {callback}
            timeout = None
            if not wait.ended.done():
                waited.add(wait.ended)
            elif wait.ended.cancelled() or wait.ended.exception() is not None:
                return  # the next `next_change` raises it
            elif wait.limit is not None:
                # The job has ended, and the scheduler watches the deadline no more.
                timeout = wait.limit - asyncio.get_running_loop().time()
                if timeout <= 0:
                    return
            await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        callback.result()
    finally:
        if not callback.done():
            callback.cancel()
            await asyncio.gather(callback, return_exceptions=True)


def _mark_retrieved(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class Completion(Generic[_J]):
    """Waits for many jobs, given out as they end.

    Jobs are taken from `jobs` as waits end, each id once, at most `limit` at once. A wait gets a task only
    if `on_update` needs a coroutine to run in. `close` must follow.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        jobs: Iterable[_J],
        id_of: Callable[[_J], str],
        begin: Callable[[str, _J], Wait],
        on_update: OnUpdate | None,
        limit: int | None,
    ) -> None:
        self._scheduler = scheduler
        self._jobs: Iterator[_J] | None = iter(jobs)
        self._id_of = id_of
        self._begin = begin
        self._on_update = on_update
        self._limit = limit
        self._active: dict[Ended, tuple[str, Wait | None]] = {}
        self._seen: set[str] = set()
        self._done: asyncio.Queue[Ended] = asyncio.Queue()
        self._batch: list[Ended] = []

    async def next(self) -> tuple[str, Ended] | None:
        """The id and the finished future of the next job that ended; `None` after the last one.

        Jobs that ended within one poll come in the order of their `end_time`.
        """
        self._start_more()
        if not self._batch:
            if not self._active:
                return None
            self._batch.append(await self._done.get())
            while not self._done.empty():
                self._batch.append(self._done.get_nowait())
            self._batch.sort(key=_end_time)
        ended = self._batch.pop(0)
        job_id, wait = self._active.pop(ended)
        if wait is not None:
            self._scheduler.remove(wait)
        _mark_retrieved(ended)  # the caller need not look at it
        return job_id, ended

    def _start_more(self) -> None:
        while self._jobs is not None and (self._limit is None or len(self._active) < self._limit):
            try:
                self._start(next(self._jobs))
            except StopIteration:
                self._jobs = None

    def _start(self, job: _J) -> None:
        job_id, wait = str(job), None
        ended: Ended
        try:
            job_id = self._id_of(job)
            if job_id in self._seen:
                return
            self._seen.add(job_id)
            wait = self._begin(job_id, job)
        except ConfigurationError as error:
            error.job_id = error.job_id or safe_word(job_id)
            ended = asyncio.get_running_loop().create_future()
            ended.set_exception(error)
        else:
            on_update = self._on_update
            ended = wait.ended if on_update is None else asyncio.ensure_future(follow(wait, on_update))
        self._active[ended] = (job_id, wait)
        ended.add_done_callback(self._done.put_nowait)

    async def close(self) -> None:
        """Give up the waits that have not ended."""
        active, self._active = self._active, {}
        for ended, (_, wait) in active.items():
            if wait is not None:
                self._scheduler.remove(wait)
            ended.cancel()
        tasks = [ended for ended in active if isinstance(ended, asyncio.Task)]
        await asyncio.gather(*tasks, return_exceptions=True)


def _end_time(ended: Ended) -> datetime:
    failed = ended.cancelled() or ended.exception() is not None
    end_time = None if failed else ended.result().end_time
    return datetime.min if end_time is None else end_time.replace(tzinfo=None)  # noqa: DTZ901 - naive, as sent
