"""What people are shown besides the live view: tables on stdout, complaints and the log on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dashscope_ft_async.cli.tracker import NOT_SEEN, JobTracker, Row, printable
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


def colour_of(status: str) -> str:
    """The colour of a status."""
    return _COLOURS.get(status, "magenta")


def status_style(row: Row) -> str:
    """The colour of its status; red where the wait ended in an error."""
    return "red" if row.error is not None else colour_of(row.status)


def elapsed(seconds: float) -> str:
    """``0:01:05``, and ``3 d 04:05`` from a day on."""
    whole = timedelta(seconds=int(max(0.0, seconds)))
    minutes = whole.seconds // 60
    return f"{whole.days} d {minutes // 60:02}:{minutes % 60:02}" if whole.days else str(whole)


def final_table(tracker: JobTracker) -> Table:
    """The jobs as they were left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    named = any(row.job_name for row in tracker.rows.values())
    for name in ("Job", *(["Name"] if named else []), "Model", "Status"):
        table.add_column(name, overflow="fold")
    table.add_column("Took", justify="right")
    table.add_column("Result", overflow="fold")
    for row in tracker.rows.values():
        duration = None if row.job is None else row.job.duration
        took = "" if duration is None else elapsed(duration.total_seconds())
        status = Text(row.status, status_style(row))
        names = (row.name, *([row.job_name] if named else []), row.model)
        table.add_row(*map(Text, names), status, took, Text(row.result))
    return table


def details(job: FineTuneJob) -> Table:
    """One job, a line for each field that is set."""
    table = Table.grid(Column(overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, value in job.to_dict().items():
        if value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            table.add_row(Text(name, "bold"), Text(printable(text)))
    return table


class ErrorLines:
    """A view: each wait that went wrong is one line on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, row: Row) -> None:
        """Write the error, if there is one."""
        if row.error is not None:
            print_error(self._console, row.error)


def print_error(console: Console, error: DashScopeFTError) -> None:
    """One line; through the console, so that it lands above a live table and not in it."""
    line = Text.assemble(("error: ", "bold red"), printable(str(error)))
    console.print(line, soft_wrap=True)


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
