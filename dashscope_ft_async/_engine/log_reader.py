"""Follow a job's log: in pages, or in pages and the service's event stream."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import Final, Self, TypeAlias

import attrs

from dashscope_ft_async._api.wire import BodyTooLargeError, EventParser
from dashscope_ft_async._engine.log_position import LogPosition
from dashscope_ft_async._engine.scheduler import LAST_POLL
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.errors import (
    APIError,
    DashScopeFTError,
    NotFoundError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import JobStatus, LogPage, is_completion_line
from dashscope_ft_async.policy import Fail, Sleep, WaitState, next_step

FetchLog: TypeAlias = Callable[[int, int], Awaitable[LogPage]]
"""Request a page of the log from an offset, with at most so many lines."""
OpenStream: TypeAlias = Callable[[], AsyncGenerator[bytes, None]]
"""Open the event stream of the job."""

_NOT_STARTED: Final = (JobStatus.PENDING, JobStatus.QUEUING)
_MISSES: Final = 2
"""404s in a row, for the log of a job that has started, after which the log is reported as missing."""
_MOST_LOOKS: Final = 3
"""Pages requested to learn whether an event stream puts a blank before each line."""


async def read_page(fetch: FetchLog, position: LogPosition) -> list[str]:
    """Request one page and return its new lines. An answer that is too large is requested in parts."""
    while True:
        try:
            page = await fetch(position.offset, position.lines)
        except BodyTooLargeError:
            if not position.ask_for_fewer_lines():
                raise
        else:
            return position.take(page.lines, page.total)


def patient(fetch: FetchLog, wait: Wait) -> FetchLog:
    """Return a `fetch` that retries transient failures as a wait does, until the wait's deadline.

    It raises what ends a wait. `NotFoundError` of the service and `BodyTooLargeError` are raised at once.
    """
    # LEAD: to be replaced by poll_until; `attempt` returns the two errors that are answers.
    loop = asyncio.get_running_loop()

    async def attempt(offset: int, lines: int) -> LogPage | APIError:
        try:
            return await fetch(offset, lines)
        except BodyTooLargeError as error:
            return error
        except NotFoundError as error:
            if error.json_body:
                return error
            raise

    async def patiently(offset: int, lines: int) -> LogPage:
        state = WaitState(loop.time(), wait.limit)
        while True:
            outcome: APIError | None = None
            try:
                async with asyncio.timeout_at(wait.limit and max(wait.limit, loop.time() + LAST_POLL)):
                    answer = await attempt(offset, lines)
            except APIError as error:
                outcome = error
            except TimeoutError:
                pass
            else:
                if isinstance(answer, APIError):
                    raise answer
                return answer
            state = attrs.evolve(state, last_job=wait.last_job)
            match next_step(wait.policy, state, outcome, now=loop.time(), u=random.random()):
                case Sleep(seconds, state):
                    await asyncio.wait({wait.ended}, timeout=seconds)
                case Fail(error):
                    raise error
                case _:  # pragma: no cover - only a job can end it well
                    raise AssertionError

    return patiently


class LogReader:
    """Reads the log of one job until the job has ended and its log has nothing more.

    The end is the end of the job or the completion line, and afterwards an answer without new lines. If
    only one of the two was seen, one more request follows after a pause.
    """

    def __init__(self, fetch: FetchLog, wait: Wait, after: int = 0) -> None:
        self._fetch = fetch
        self._wait = wait
        self._position = LogPosition(after)
        self._loop = asyncio.get_running_loop()
        self._pace_since = self._due = self._loop.time()
        self._complete = False
        self._over = False
        self._asked_again = False
        self._asked_late = False
        self._misses = 0
        self.ended = False
        """Whether the log was read to its end."""

    async def next_lines(self, *, up_to_now: bool = False) -> list[str] | None:
        """Return the next new lines, at least one; `None` at the end.

        With `up_to_now` it also returns `None` when the log of a running job has nothing new.

        Raises:
            NotFoundError: the job has started and has no log.
            APIError, WaitError: what ended the wait for the job, or the attempts to read its log.
        """
        try:
            while not self.ended:
                await self._pause()
                ended, over = self._wait.ended.done(), self._is_over()
                if not over and self._has_not_started():
                    self._due = self._loop.time() + self._interval()
                    continue
                late = self._is_late()
                lines = await self.read()
                if lines:
                    return lines
                if self._misses or not self._position.at_end:
                    continue
                self.ended = over and (late or self._asked_again or (self._complete and ended))
                self._asked_again = over
                if up_to_now and not over and self._wait.last_job is not None:
                    break
            return None
        except WaitError as error:
            error.job_id = self._wait.watch.job_id
            error.state = attrs.evolve(self._wait.saved(), log_offset=self._position.count)
            raise

    async def read(self) -> list[str]:
        """Request one page now and return its new lines."""
        lines = list[str]()
        try:
            lines = await read_page(self._fetch, self._position)
            self._misses = 0
        except NotFoundError as error:
            self._count_miss(error)
        self._complete = self._complete or any(map(is_completion_line, lines))
        now = self._loop.time()
        self._due = now if self._position.more else now + self._interval()
        if not self._over and (self._complete or self._wait.ended.done()):
            self._over, self._pace_since = True, now  # the intervals grow from the shortest again
            self._due = now if lines else now + self._interval()
        return lines

    def _is_over(self) -> bool:
        """Whether the job or its log has ended; raises what ended the wait for the job."""
        if not self._wait.ended.done():
            return self._complete
        self._wait.ended.result()
        return True

    def _has_not_started(self) -> bool:
        job = self._wait.last_job
        return job is not None and job.status in _NOT_STARTED

    def _is_late(self) -> bool:
        """Whether the deadline has passed. One request is allowed then; raises for a second one."""
        late = self._wait.limit is not None and self._loop.time() >= self._wait.limit
        if late and self._asked_late:
            raise WaitTimeoutError(
                "the log was not read to its end in time",
                last_job=self._wait.last_job,
            )
        self._asked_late = late
        return late

    def _count_miss(self, error: NotFoundError) -> None:
        """Ignore a 404 while the job may not have started, and the first one afterwards."""
        if self._wait.last_job is not None:
            self._misses += 1
            if self._misses >= _MISSES:
                raise error

    def _interval(self) -> float:
        return self._wait.policy.poll.interval(self._loop.time() - self._pace_since, random.random())

    async def _pause(self) -> None:
        """Sleep until the next request is due, at most to the end of the wait or its deadline."""
        seconds = self._due - self._loop.time()
        if seconds <= 0:
            return
        if not self._wait.ended.done():
            await asyncio.wait({self._wait.ended}, timeout=seconds)
        elif self._wait.limit is None:
            await asyncio.sleep(seconds)
        else:
            await asyncio.sleep(min(seconds, self._wait.limit - self._loop.time()))


class _Source(Enum):
    """Where a `StreamedLogReader` reads."""

    OLD_PAGES = auto()
    STREAM = auto()
    PAGES = auto()


class StreamedLogReader:
    """Reads the log of one job as `LogReader` does, from the event stream while that lasts.

    It reads the log in pages up to now, then the stream, and at last pages to the end. A stream may begin
    anywhere in the log, leave out lines and end at any time. Lines that both have are returned once.

    ``data: line`` and ``data:line`` are the same event, but lines of a log may begin with a blank. Where
    an event begins with one, the pages decide whether it belongs to the line.
    """

    def __init__(
        self, pages: LogReader, open_stream: OpenStream, wait: Wait, *, banner: str, after: int = 0
    ) -> None:
        """`pages` reads the log from its start; `banner` is an event of each stream that is no line."""
        self._pages = pages
        self._open_stream = open_stream
        self._wait = wait
        self._banner = banner
        self._after = after
        self._skipped = 0
        self._source = _Source.OLD_PAGES
        self._events = asyncio.Queue[str | None]()
        self._task: asyncio.Task[None] | None = None
        self._from_pages = Counter[str]()  # returned; the stream may repeat them
        self._from_stream = Counter[str]()  # returned; the pages will repeat them
        self._undecided = Counter[str]()  # the same, without the blank that may belong to the line or not
        self._blank_is_separator: bool | None = None
        self._separator_by_default = True
        self._looks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def next_lines(self) -> list[str] | None:
        """Return the next new lines, possibly none; `None` at the end. Raises as `LogReader.next_lines`."""
        try:
            lines = await self._next()
        except WaitError as error:
            if error.state is not None:
                offset = max(self._after, error.state.log_offset)
                error.state = attrs.evolve(error.state, log_offset=offset)
            raise
        if lines is None:
            return None
        skip = min(len(lines), self._after - self._skipped)
        self._skipped += skip
        return lines[skip:]

    async def _next(self) -> list[str] | None:
        if self._source is _Source.OLD_PAGES:
            lines = await self._pages.next_lines(up_to_now=True)
            if lines is not None:
                self._from_pages.update(lines)
                return lines
            if self._pages.ended:
                return None
            self._source = _Source.STREAM
            self._task = task = asyncio.create_task(self._read_stream())
            self._wait.ended.add_done_callback(lambda _: task.cancel())
        if self._source is _Source.STREAM:
            event = await self._events.get()
            self._events.task_done()
            if event is not None:
                return await self._lines_of(event)
            self._source = _Source.PAGES
        lines = await self._pages.next_lines()
        return lines and self._not_streamed(lines)

    async def _read_stream(self) -> None:
        """Read the events of the stream to its end; the last item is `None`."""
        parser = EventParser()
        try:
            async with aclosing(self._open_stream()) as pieces:
                async for piece in pieces:
                    for event in parser.feed(piece):
                        if event.is_error:
                            return
                        if event.data.removeprefix(" ") != self._banner:
                            self._events.put_nowait(event.data)
                        if is_completion_line(event.data):
                            return
                    await self._events.join()  # a slow caller slows the stream down
        except DashScopeFTError:
            pass  # the pages tell whether anything is wrong
        finally:
            self._events.put_nowait(None)

    async def _lines_of(self, event: str) -> list[str]:
        forms = (event, event[1:]) if event.startswith(" ") else (event,)
        undecided = len(forms) == 2 and self._blank_is_separator is None
        lines: list[str] = []
        if undecided and self._looks < _MOST_LOOKS and not any(self._from_pages[form] for form in forms):
            self._looks += 1
            lines = self._not_streamed(await self._pages.read())
            self._from_pages.update(lines)
        old = [form for form in forms if self._from_pages[form]]
        if old:
            if undecided and len(old) == 1:
                self._blank_is_separator = old[0] != event
            _take_one(self._from_pages, old[-1 if self._blank_is_separator else 0])
            return lines
        self._from_pages.clear()  # the first new line: no old one follows
        if event and len(forms) == 1:
            self._separator_by_default = False
        separator = self._separator_by_default if undecided else self._blank_is_separator
        line = forms[-1] if separator else event
        if undecided:
            self._undecided[event[1:]] += 1
        else:
            self._from_stream[line] += 1
        return [*lines, line]

    def _not_streamed(self, lines: list[str]) -> list[str]:
        """Leave out the lines that the stream has brought, each as often as it did."""
        return [
            line
            for line in lines
            if not _take_one(self._from_stream, line)
            and not _take_one(self._undecided, line.removeprefix(" "))
        ]


def _take_one(counter: Counter[str], line: str) -> bool:
    """Remove `line` from `counter` once; `False` if it was not there."""
    if not counter[line]:
        return False
    counter[line] -= 1
    return True
