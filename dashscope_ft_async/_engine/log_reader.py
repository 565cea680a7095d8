"""Read a job's log to its end: in pages, or in pages and the service's event stream."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Self, TypeAlias

import attrs

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.runner import Runner
from dashscope_ft_async._api.wire import EventParser
from dashscope_ft_async._engine.log_position import LogPosition
from dashscope_ft_async._engine.poll_until import poll_once
from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.errors import (
    APIError,
    APIResponseValidationError,
    DashScopeFTError,
    NotFoundError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import JobStatus, LogPage, is_completion_line
from dashscope_ft_async.policy import WaitState

FetchLog: TypeAlias = Callable[[int, int], Awaitable[LogPage]]
"""Request a page of a log: its offset and the most lines."""

_NOT_STARTED: Final = (JobStatus.PENDING, JobStatus.QUEUING)
_MISSES: Final = 2
"""404s in a row, for the log of a job that was seen, after which there is no log."""


async def read_page(fetch: FetchLog, position: LogPosition) -> list[str]:
    """Request one page, with fewer lines if the answer is too large, and return its new lines."""
    while True:
        try:
            page = await fetch(position.offset, position.lines)
        except APIResponseValidationError as error:
            if not error.too_large or not position.request_fewer_lines():
                raise
        else:
            return position.take(page.lines, page.total)


class LogReader:
    """Reads the log of one job in pages, at the pace of polls and through the same scheduler.

    The log is read to its end when the job has ended or the completion line was read, and afterwards an
    answer has no new lines. If only one of the two was seen, one more page is requested after a pause.
    At the deadline of the wait one last page is requested.
    """

    def __init__(self, scheduler: Scheduler, runner: Runner, wait: Wait, after: int = 0) -> None:
        self.ended = False
        """Whether the log was read to its end."""
        self._scheduler = scheduler
        self._runner = runner
        self._wait = wait
        self._job_id = str(wait.key)
        self._position = LogPosition(after)
        self._loop = asyncio.get_running_loop()
        self._started = self._due = self._loop.time()
        self._complete = False
        self._asked_again = False
        self._late = False
        self._misses = 0

    async def next_lines(self, *, up_to_now: bool = False) -> list[str] | None:
        """Return the next new lines, at least one; `None` at the end.

        With `up_to_now` it also returns `None` when the log of a running job has nothing new.

        Raises:
            NotFoundError: the job was seen and has no log.
            APIError, WaitError: what ended the wait for the job, or the attempts to read its log.
        """
        try:
            while not self.ended:
                await self._pause()
                ended = self._wait.ended.done()
                if ended:
                    self._wait.ended.result()  # raises what ended the wait
                over = ended or self._complete
                if not over and self._has_not_started():
                    self._due = self._loop.time() + self._interval()
                    continue
                lines = await self._read(over=over)
                at_end = self._position.at_end and not self._misses
                if over and at_end:
                    all_seen = self._complete and ended
                    self.ended = all_seen or (not lines and (self._asked_again or self._late))
                    self._asked_again = True
                if lines:
                    return lines
                if up_to_now and at_end and not over and self._wait.last_job is not None:
                    break
        except WaitError as error:
            error.job_id, error.last_job = self._job_id, self._wait.last_job
            error.elapsed = self._loop.time() - self._wait.state.started
            state = self._scheduler.saved(self._wait)
            error.state = attrs.evolve(state, log_offset=self._position.count)
            raise
        return None

    async def _fetch(self, offset: int, lines: int) -> LogPage:
        """Request a page. Transient failures are retried as those of polls; raises what ends a wait, and at
        once what waiting does not change: there is no log yet, or the answer is too large."""

        async def attempt() -> LogPage | APIError:
            try:
                return await self._runner.attempt(calls.log_page(self._job_id, offset, lines))
            except (NotFoundError, APIResponseValidationError) as error:
                if error.json_body if isinstance(error, NotFoundError) else error.too_large:
                    return error
                raise

        key = ("logs", self._job_id, offset, lines)
        begin = WaitState(self._loop.time(), self._wait.limit)
        answer = await poll_once(self._scheduler, key, attempt, self._wait.policy, begin)
        if isinstance(answer, APIError):
            raise answer
        return answer

    async def _read(self, *, over: bool) -> list[str]:
        limit = self._wait.limit
        late = limit is not None and self._loop.time() >= limit
        if late and self._late:
            raise WaitTimeoutError("the log was not read to its end in time")
        self._late = late
        lines: list[str] = []
        try:
            lines = await read_page(self._fetch, self._position)
            self._misses = 0
        except NotFoundError:
            self._misses += self._wait.last_job is not None
            if self._misses >= _MISSES:
                raise
        self._complete = self._complete or any(map(is_completion_line, lines))
        pause = self._wait.policy.poll.initial if over or self._complete else self._interval()
        self._due = self._loop.time() + (0 if self._position.more else pause)
        return lines

    def _has_not_started(self) -> bool:
        job = self._wait.last_job
        return job is not None and job.status in _NOT_STARTED

    def _interval(self) -> float:
        return self._wait.policy.poll.interval(self._loop.time() - self._started, random.random())

    async def _pause(self) -> None:
        """Sleep until the next request is due, or the wait ends, or after its end to the deadline."""
        now, limit, ended = self._loop.time(), self._wait.limit, self._wait.ended
        if self._due <= now:
            return
        if not ended.done():
            await asyncio.wait({ended}, timeout=self._due - now)
        else:
            await asyncio.sleep((self._due if limit is None else min(self._due, max(now, limit))) - now)


class StreamedLogReader:
    """Reads the log of one job as `LogReader` does, but from the event stream while that lasts.

    The log is read in pages up to now, then from the stream, and at last in pages to its end. A stream may
    begin anywhere in the log, leave out lines and end at any time. A line that comes both ways is returned
    once.

    ``data: line`` and ``data:line`` are the same event, but lines of a log may begin with a blank. Where an
    event begins with one, pages are read until they show the line; they decide whether the stream adds it.
    """

    def __init__(
        self,
        pages: LogReader,
        open_stream: Callable[[str], AsyncGenerator[bytes, None]],
        wait: Wait,
        after: int = 0,
    ) -> None:
        """`pages` reads from the first line, so that old lines in the stream can be recognised."""
        self._pages = pages
        self._open_stream = open_stream
        self._wait = wait
        self._after = self._to_skip = after
        self._events = asyncio.Queue[str | None]()  # `None`: the stream has ended
        self._task: asyncio.Task[None] | None = None
        self._stream_ended = False
        self._undecided: str | None = None  # an event that may be a line with or without its blank
        self._from_pages = Counter[str]()  # lines returned that the stream may repeat
        self._from_stream = Counter[str]()  # lines returned that the pages will repeat
        self._adds_blank: bool | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def next_lines(self) -> list[str] | None:
        """Return the next new lines, possibly none; `None` at the end. Raises as `LogReader.next_lines`."""
        try:
            lines = await self._next_lines()
        except WaitError as error:
            if error.state is not None:
                offset = max(self._after, error.state.log_offset)
                error.state = attrs.evolve(error.state, log_offset=offset)
            raise
        if lines is not None:
            skipped = min(self._to_skip, len(lines))
            self._to_skip -= skipped
            lines = lines[skipped:]
        return lines

    async def _next_lines(self) -> list[str] | None:
        if self._task is None:
            lines = await self._pages.next_lines(up_to_now=True)
            if lines is not None or self._pages.ended:
                self._from_pages.update(lines or ())
                return lines
            self._task = task = asyncio.create_task(self._read_stream())
            self._wait.ended.add_done_callback(lambda _: task.cancel())
        if not self._stream_ended and self._undecided is None:
            event = await self._events.get()
            self._events.task_done()
            if event is None:
                self._stream_ended = True
            elif (streamed := self._lines_of(event)) is not None:
                return streamed
            self._undecided = event
        lines = await self._pages.next_lines()
        lines = lines and [line for line in lines if not self._was_streamed(line)]
        if self._undecided is not None:
            self._from_pages.update(lines or ())
            if self._lines_of(self._undecided) is not None:
                self._undecided = None
        return lines

    def _lines_of(self, event: str) -> list[str] | None:
        """The new line in an event, if there is one; `None` if the pages must decide on its blank."""
        forms = [event]
        if event.startswith(" ") and self._adds_blank is not False:
            forms = [event[1:]] if self._adds_blank else [event, event[1:]]
        old = [form for form in forms if self._from_pages[form]]
        if len(forms) == 2 and len(old) == 1:
            self._adds_blank = old[0] != event
        if old:
            self._from_pages[old[0]] -= 1
            return []
        if len(forms) == 2:
            return None
        self._from_pages.clear()  # the first new line: no old one follows
        self._from_stream[forms[0]] += 1
        return forms

    def _was_streamed(self, line: str) -> bool:
        streamed = self._from_stream[line] > 0
        if streamed:
            self._from_stream[line] -= 1
        return streamed

    async def _read_stream(self) -> None:
        job_id = str(self._wait.key)
        banner = f"connect success, now start to follow {job_id}"  # the first event, which is not a line
        parser = EventParser()
        try:
            async with aclosing(self._open_stream(job_id)) as pieces:
                async for piece in pieces:
                    for event in parser.feed(piece):
                        if event.is_error:
                            return
                        if event.data.removeprefix(" ") != banner:
                            self._events.put_nowait(event.data)
                        if is_completion_line(event.data):
                            return
                    await self._events.join()  # a slow caller slows the stream down
        except DashScopeFTError:
            pass  # the pages show whether anything is wrong
        finally:
            self._events.put_nowait(None)
