"""Runs one client on one row, and observes what it does."""

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

from bench.contenders import KEY, OpenClient
from bench.faults.judging import Observed
from bench.faults.row import ELSEWHERE, Row
from tests.support.adversary import JOB_ID, Adversary, refused_port, swallowing_port

_AT_ONCE = 12


@attrs.frozen
class Timing:
    """The times of a run in seconds, the same for every client."""

    interval: float
    """Between two polls."""
    request: float
    """The time-out of one request."""
    short_deadline: float
    """Of a wait that is expected to time out."""
    deadline: float
    """Of any other wait."""
    cancel_after: float
    """A wait that is still running then is cancelled."""


Open: TypeAlias = Callable[[str, Timing], AbstractAsyncContextManager[OpenClient]]
"""Opens a client for the URL of the service. ``timeout=`` of its `wait` is the deadline."""


def run_all(rows: Sequence[Row], client: Open, timing: Timing) -> dict[Row, Observed]:
    """What the client does in each row. Rows run in parallel, each in a thread with its own event loop.

    A row that measures memory runs alone.
    """
    alone = {row for row in rows if row.expected.megabytes is not None}
    together = [row for row in rows if row not in alone]

    def observed(row: Row) -> Observed:
        return asyncio.run(run(row, client, timing))

    with _level_debug(), ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(together, pool.map(observed, together), strict=True))
        return {row: observed(row) if row in alone else found[row] for row in rows}


async def run(row: Row, client: Open, timing: Timing) -> Observed:
    """Let the client wait for the job of this row, then close it."""
    loop = asyncio.get_running_loop()
    deadline = timing.short_deadline if row.expected.kind == "time out" else timing.deadline
    async with _service(row) as (url, server):
        before = asyncio.all_tasks()
        with _logged() as lines, _memory(row) as peak:
            async with client(url, timing) as opened:
                began = loop.time()
                wait = asyncio.ensure_future(opened.wait(JOB_ID, timeout=deadline))
                await asyncio.wait({wait}, timeout=timing.cancel_after)
                seconds, hung = loop.time() - began, not wait.done()
                wait.cancel()
                result: Any = (await asyncio.gather(wait, return_exceptions=True))[0]
        leaks = [*_shown_keys(result, lines), *await _left_behind(server, before)]
    error = result if isinstance(result, BaseException) else None
    return Observed(
        seconds=seconds,
        deadline=deadline,
        tolerance=timing.request + 0.5,
        hung=hung,
        status=None if error else _field(result, "status"),
        job_id=None if error else _field(result, "job_id"),
        error=type(error).__name__ if error else None,
        text=str(error),
        http_status=getattr(error, "status", None),
        times=tuple(time - began for time in server.times) if server else (),
        redirected=sum(ELSEWHERE in head.split("\r\n")[0] for head in server.heads) if server else 0,
        megabytes=peak[0] / 1e6,
        leaks=tuple(leaks),
    )


@asynccontextmanager
async def _service(row: Row) -> AsyncIterator[tuple[str, Adversary | None]]:
    """The URL of the row's service, and its server where there is one."""
    if row.connect == "refused":
        yield f"http://127.0.0.1:{refused_port()}", None
    elif row.connect == "ignored":
        with swallowing_port() as port:
            yield f"http://127.0.0.1:{port}", None
    else:
        async with Adversary(*row.responses) as server:
            absence = asyncio.ensure_future(_be_absent(server, row.absent))
            try:
                yield server.base_url, server
            finally:
                absence.cancel()
                await asyncio.gather(absence, return_exceptions=True)


async def _be_absent(server: Adversary, seconds: float) -> None:
    if seconds:
        await server.arrived()
        server.refuse()
        await asyncio.sleep(seconds)
        await server.listen()


def _field(job: Any, name: str) -> str | None:
    value = job.get(name) if isinstance(job, dict) else getattr(job, name, None)
    return None if value is None else str(value)


class _LogLines(logging.Handler):
    """Collects what the thread that created it logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(self.format(record))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """The lines that this thread logs, with any logger."""
    root, handler = logging.getLogger(), _LogLines()
    root.addHandler(handler)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)


@contextmanager
def _level_debug() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)


@contextmanager
def _memory(row: Row) -> Iterator[list[int]]:
    """The greatest number of bytes allocated, if the row asks for it: tracemalloc slows everything down."""
    peak = [0]
    if row.expected.megabytes is None:
        yield peak
        return
    tracemalloc.start()
    try:
        yield peak
        peak[0] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _shown_keys(result: object, lines: list[str]) -> list[str]:
    """The texts in which the API key can be read."""
    texts = {"log": "\n".join(lines)}
    if isinstance(result, BaseException):
        texts["error's text"] = str(result)
        texts["error's repr"] = repr(result)
        texts["traceback"] = "".join(traceback.format_exception(result))
    return [f"key in the {name}" for name, text in texts.items() if KEY in text]


async def _left_behind(server: Adversary | None, before: set[asyncio.Task[Any]]) -> list[str]:
    """Connections and tasks that remain after the client was closed."""
    left: list[str] = []
    if server is not None:
        try:
            await server.left(0, within=1.0)
        except TimeoutError:
            left.append(f"connections left open: {server.open}")
    tasks = asyncio.all_tasks() - before - (server.tasks if server else set())
    return left + ([f"tasks left running: {len(tasks)}"] if tasks else [])
