"""One contender waits on one row; what it did is seen from outside."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import attrs

from bench.contenders import KEY, Way
from bench.faults.judging import Seen
from bench.faults.rows import ELSEWHERE, Row
from tests.support.adversary import JOB_ID, Adversary, refused_port, swallowing_port


@attrs.frozen
class Pace:
    """How fast a run is, in seconds; the same for every contender in it."""

    interval: float
    """Between two polls."""
    request: float
    """One request may take so long."""
    deadline: float
    """Of a wait that is to end by it."""
    patience: float
    """The deadline of any other wait."""
    cap: float
    """When a wait that still goes on is cancelled."""


_AT_ONCE = 12

Open: TypeAlias = Callable[[str, Pace], AbstractAsyncContextManager[Way]]
"""A contender: called with the URL of the service; its `wait` takes ``timeout=``, the deadline."""


def play_all(rows: Sequence[Row], contender: Open, pace: Pace) -> dict[Row, Seen]:
    """What the contender did on each row: many at once, each in a thread and an event loop of its own.

    Where memory is measured, a row has the process to itself.
    """
    alone = {row for row in rows if row.want.megabytes is not None}
    together = [row for row in rows if row not in alone]

    def played(row: Row) -> Seen:
        return asyncio.run(play(row, contender, pace))

    with _at_debug(), ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = dict(zip(together, pool.map(played, together), strict=True))
        return {row: played(row) if row in alone else seen[row] for row in rows}


async def play(row: Row, contender: Open, pace: Pace) -> Seen:
    """Let the contender wait for the job of this row, and close it."""
    loop = asyncio.get_running_loop()
    deadline = pace.deadline if row.want.kind == "deadline" else pace.patience
    async with _service(row) as (url, server):
        before = asyncio.all_tasks()
        with _logged() as lines, _memory(row) as peak:
            async with contender(url, pace) as way:
                began = loop.time()
                wait = asyncio.ensure_future(way.wait(JOB_ID, timeout=deadline))
                await asyncio.wait({wait}, timeout=pace.cap)
                seconds, cut = loop.time() - began, not wait.done()
                wait.cancel()
                result: Any = (await asyncio.gather(wait, return_exceptions=True))[0]
        leaks = [*_shown_keys(result, lines), *await _left_behind(server, before)]
    error = result if isinstance(result, BaseException) else None
    return Seen(
        seconds=seconds,
        deadline=deadline,
        grace=pace.request + 0.5,
        cut=cut,
        word=None if error else _field(result, "status"),
        job_id=None if error else _field(result, "job_id"),
        error=type(error).__name__ if error else None,
        text=str(error),
        status=getattr(error, "status", None),
        times=tuple(time - began for time in server.times) if server else (),
        elsewhere=sum(ELSEWHERE in head.split("\r\n")[0] for head in server.heads) if server else 0,
        megabytes=peak[0] / 1e6,
        leaks=tuple(leaks),
    )


@asynccontextmanager
async def _service(row: Row) -> AsyncIterator[tuple[str, Adversary | None]]:
    """The URL of what the row describes, and the server where there is one."""
    if row.nobody == "refuses":
        yield f"http://127.0.0.1:{refused_port()}", None
    elif row.nobody == "swallows":
        with swallowing_port() as port:
            yield f"http://127.0.0.1:{port}", None
    else:
        async with Adversary(*row.answers) as server:
            absence = asyncio.ensure_future(_absence(server, row.absent))
            try:
                yield server.base_url, server
            finally:
                absence.cancel()
                await asyncio.gather(absence, return_exceptions=True)


async def _absence(server: Adversary, seconds: float) -> None:
    """Nobody listens for so long after the first request."""
    if seconds:
        await server.arrived()
        server.refuse()
        await asyncio.sleep(seconds)
        await server.listen()


def _field(job: Any, name: str) -> str | None:
    value = job.get(name) if isinstance(job, dict) else getattr(job, name, None)
    return None if value is None else str(value)


class _Lines(logging.Handler):
    """What the thread that made it logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(self.format(record))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Every line this thread logs, by any logger."""
    root, handler = logging.getLogger(), _Lines()
    root.addHandler(handler)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)


@contextmanager
def _at_debug() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)


@contextmanager
def _memory(row: Row) -> Iterator[list[int]]:
    """The most bytes that were taken at once, where the row asks for it; it slows everything down."""
    peak = [0]
    if row.want.megabytes is None:
        yield peak
        return
    tracemalloc.start()
    try:
        yield peak
        peak[0] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _shown_keys(result: object, lines: list[str]) -> list[str]:
    """Where the API key can be read."""
    texts = {"log": "\n".join(lines)}
    if isinstance(result, BaseException):
        texts["error's text"] = str(result)
        texts["error's repr"] = repr(result)
        texts["traceback"] = "".join(traceback.format_exception(result))
    return [f"key in the {where}" for where, text in texts.items() if KEY in text]


async def _left_behind(server: Adversary | None, before: set[asyncio.Task[Any]]) -> list[str]:
    """Connections and tasks that outlive a contender that was closed."""
    left: list[str] = []
    if server is not None:
        try:
            await server.left(0, within=1.0)
        except TimeoutError:
            left.append(f"connections left open: {server.open}")
    tasks = asyncio.all_tasks() - before - (server.tasks if server else set())
    return left + ([f"tasks left running: {len(tasks)}"] if tasks else [])
