"""Following a log: the driver of `_tail`, paced like a wait and ended by one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import attrs

from dashscope_ft_async._api.wire import EventParser
from dashscope_ft_async._engine.log_position import Tail
from dashscope_ft_async._engine.scheduler import LAST_POLL
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.errors import APIError, NotFoundError, WaitError
from dashscope_ft_async.models import JobStatus, LogPage, is_completion_line
from dashscope_ft_async.policy import Fail, Sleep, WaitState, next_step

FetchLog: TypeAlias = Callable[[int], Awaitable[LogPage]]
"""One request for lines of the log, from an offset on."""

_NOT_STARTED = (JobStatus.PENDING, JobStatus.QUEUING)
_MISSES = 2
"""404s in a row of a job that has begun, until its log is believed to be missing."""


class Follower:
    """One reader of a job's log. What it asks of the job's end it shares with all waits for the job.

    The end: the job has ended, or its log has, and an answer asked for afterwards brought nothing new.
    Where only one of the two is known to have ended, one more look is taken after a pause.
    """

    def __init__(self, fetch: FetchLog, tail: Tail, wait: Wait) -> None:
        self._fetch = fetch
        self._tail = tail
        self._wait = wait
        # The waits' own brain decides what failures mean; it is only never told of a job.
        self._state = WaitState(asyncio.get_running_loop().time(), wait.state.deadline)
        self._complete = False
        self._misses = 0

    async def lines(self, *, up_to_now: bool = False) -> AsyncGenerator[str, None]:
        """The lines, as they come. `up_to_now`: only until the log of a running job has nothing new."""
        last_look = False
        while True:
            over = self._over()
            if not over and self._has_not_started():
                await self._pause(self._interval())
                continue
            page, delay = await self._look()
            new = [] if page is None else self._tail.take(page.lines, page.total)
            for line in new:
                self._complete = self._complete or is_completion_line(line)
                yield line
            if page is None:
                await self._pause(delay)
            elif new or not self._tail.settled:
                if not self._tail.more and not over:
                    await self._pause(delay)
            elif over:
                if last_look or (self._complete and self._wait.ended.done()):
                    return
                last_look = True
                await self._pause(self._wait.policy.poll.initial)
            elif up_to_now and self._wait.state.last_job is not None:
                return
            else:
                await self._pause(delay)

    def _over(self) -> bool:
        """Whether the job or the log has ended; raises what ended the wait for it badly."""
        if not self._wait.ended.done():
            return self._complete
        try:
            self._wait.ended.result()
        except WaitError as error:
            self._place(error)
            raise
        return True

    def _has_not_started(self) -> bool:
        job = self._wait.state.last_job
        return job is not None and job.status in _NOT_STARTED

    async def _look(self) -> tuple[LogPage | None, float]:
        """What one request brought, and seconds until the next. Raises what no waiting will mend."""
        loop = asyncio.get_running_loop()
        deadline = self._state.deadline
        outcome: APIError | None
        try:
            async with asyncio.timeout_at(deadline and max(deadline, loop.time() + LAST_POLL)):
                page = await self._fetch(self._tail.offset)
        except APIError as error:
            outcome = error
        except TimeoutError:
            outcome = None
        else:
            self._misses = 0
            self._state = WaitState(self._state.started, deadline, self._state.polls + 1)
            return page, self._interval()
        if isinstance(outcome, NotFoundError) and outcome.json_body:
            return None, self._missing(outcome)
        state = attrs.evolve(self._state, last_job=self._wait.state.last_job)
        match next_step(self._wait.policy, state, outcome, now=loop.time(), u=random.random()):
            case Sleep(seconds, state):
                self._state = state
                return None, seconds
            case Fail(given_up):
                self._place(given_up)
                raise given_up
            case _:  # pragma: no cover - a job is what it is never told of
                raise AssertionError

    def _place(self, error: BaseException) -> None:
        """Let `error` say where in the log a later run goes on."""
        if isinstance(error, WaitError):
            error.job_id = self._wait.watch.job_id
            error.state = attrs.evolve(self._wait.saved(), log_offset=self._tail.count)

    def _missing(self, error: NotFoundError) -> float:
        """No log yet, while the job may just not have begun; afterwards there is none."""
        if self._wait.ended.done() or self._wait.state.last_job is not None:
            self._misses += 1
            if self._misses >= _MISSES:
                raise error
        return self._interval()

    def _interval(self) -> float:
        age = asyncio.get_running_loop().time() - self._state.started
        return self._wait.policy.poll.interval(age, random.random())

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until the wait for the job ends."""
        if self._wait.ended.done():
            await asyncio.sleep(seconds)
        else:
            await asyncio.wait({self._wait.ended}, timeout=seconds)


async def streamed_first(
    follower: Follower, stream: Callable[[], AsyncGenerator[bytes, None]], wait: Wait, banner: str
) -> AsyncGenerator[str, None]:
    """The lines of `follower`, those of a running job from the event stream as long as it lasts.

    A stream may begin anywhere in the log, and end at any time. So the log is read first; what of it the
    stream repeats is left out, and what the stream left out the log gives in the end.
    """
    before, streamed = Counter[str](), Counter[str]()
    async with aclosing(follower.lines(up_to_now=True)) as lines:
        async for line in lines:
            before[line] += 1
            yield line
    if not wait.ended.done():
        async with aclosing(_lines_of(stream(), wait, banner)) as lines:
            async for line in lines:
                if before[line]:
                    before[line] -= 1
                    continue
                before.clear()  # the first new line: nothing after it is old
                streamed[line] += 1
                yield line
    async with aclosing(follower.lines()) as lines:
        async for line in lines:
            if streamed[line]:
                streamed[line] -= 1
            else:
                yield line


async def _lines_of(
    pieces: AsyncGenerator[bytes, None], wait: Wait, banner: str
) -> AsyncGenerator[str, None]:
    """The stream's lines, until it ends in whatever way, or its last line came, or the wait has ended."""
    parser = EventParser()
    async with aclosing(pieces):
        while True:
            piece = await _next_of(pieces, wait)
            if piece is None:
                return
            for event in parser.feed(piece):
                if event.is_error:
                    return
                if event.data != banner:
                    yield event.data
                if is_completion_line(event.data):
                    return


async def _next_of(pieces: AsyncGenerator[bytes, None], wait: Wait) -> bytes | None:
    async def next_piece() -> bytes | None:
        try:
            return await anext(pieces, None)
        except APIError:
            return None  # the log will tell whether anything is wrong

    coming = asyncio.ensure_future(next_piece())
    try:
        first: set[asyncio.Future[Any]] = {coming, wait.ended}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
