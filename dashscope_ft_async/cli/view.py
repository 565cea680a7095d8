"""Tables for people: a live one on stderr while jobs run, one on stdout at the end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from dashscope_ft_async.cli.board import NOT_SEEN, Board, Row, printable
from dashscope_ft_async.cli.lines import job_json
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus

_COLOURS = {
    NOT_SEEN: "dim",
    JobStatus.PENDING: "dim",
    JobStatus.QUEUING: "cyan",
    JobStatus.RUNNING: "bold blue",
    JobStatus.CANCELING: "yellow",
    JobStatus.SUCCEEDED: "bold green",
    JobStatus.FAILED: "bold red",
    JobStatus.CANCELED: "bold yellow",
}
_REFRESH = 0.25
_LINES_AROUND = 6
"""Lines of a table that are no rows, and the line of the cursor."""


def coloured(row: Row) -> Text:
    """The status in its colour; red where the wait ended in an error."""
    return Text(row.status, "red" if row.error is not None else _COLOURS.get(row.status, "magenta"))


def elapsed(seconds: float) -> str:
    """``0:01:05``."""
    return str(timedelta(seconds=int(max(0.0, seconds))))


def live_table(board: Board, now: float, room: int, caption: str) -> Group:
    """The jobs as they are now, one line each, in at most `room` lines."""
    table = _table("In status")
    rows = board.shown(room)
    for row in rows:
        in_status = "" if row.exit is not None else elapsed(now - row.since)
        result = Text(row.result, no_wrap=True, overflow="ellipsis")
        table.add_row(Text(row.name), Text(row.model), coloured(row), in_status, result)
    # Where width is short, rich takes it first from the columns that may wrap: here, from the results.
    for column in table.columns[:-1]:
        column.no_wrap, column.overflow = True, "ellipsis"
    hidden = len(board.rows) - len(rows)
    parts = [f"{hidden} more not shown" if hidden else "", board.tally(), caption]
    return Group(table, Text(" · ".join(part for part in parts if part), "dim"))


def final_table(board: Board) -> Table:
    """The jobs as they were left."""
    table = _table("Took")
    for row in board.rows.values():
        duration = None if row.job is None else row.job.duration
        took = "" if duration is None else elapsed(duration.total_seconds())
        table.add_row(Text(row.name), Text(row.model), coloured(row), took, Text(row.result))
    return table


def details(job: FineTuneJob) -> Table:
    """One job, a line for each field that is set."""
    table = Table.grid(Column(overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, value in job_json(job).items():
        if value not in (None, "", (), {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            table.add_row(Text(name, "bold"), Text(printable(text)))
    return table


def _table(time: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Job", "Model", "Status"):
        table.add_column(name, overflow="fold")
    table.add_column(time, justify="right")
    table.add_column("Result", overflow="fold")
    return table


class Complaints:
    """A view: each wait that went wrong is one line on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def tell(self, row: Row) -> None:
        """Write the error, if there is one."""
        if row.error is not None:
            complain(self._console, row.error)


def complain(console: Console, error: DashScopeFTError) -> None:
    """One line; through the console, so that it lands above a live table and not in it."""
    line = Text.assemble(("error: ", "bold red"), printable(str(error)))
    console.print(line, soft_wrap=True)


@asynccontextmanager
async def live(console: Console, board: Board, caption: Callable[[], str]) -> AsyncGenerator[None, None]:
    """Keep a table of `board` on the terminal; at the end it is wiped away."""

    def table() -> Group:
        return live_table(board, time.monotonic(), console.size.height - _LINES_AROUND, caption())

    # Refreshed from the loop: rich's own thread would read the board while it changes.
    with Live(
        get_renderable=table,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    ) as display:

        async def refresh() -> None:
            while True:
                display.refresh()
                await asyncio.sleep(_REFRESH)

        refreshing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)


class _Through(logging.Handler):
    """One line per record, above a live table where there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._console.print(Text(printable(self.format(record)), "dim"), soft_wrap=True)


@contextmanager
def logs(console: Console, level: int) -> Generator[None, None, None]:
    """Show the library's log from `level` on."""
    logger = logging.getLogger("dashscope_ft_async")
    handler = _Through(console)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])  # not by assignment: loggers remember what is enabled
        logger.propagate = before[1]
