"""Output for people, except the live view: tables on stdout, errors and log records on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from dashscope_ft_async.cli.messages import error_text, printable
from dashscope_ft_async.cli.tracker import NOT_SEEN, JobTracker, Row
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
_COLUMNS = ("Job", "Model", "Status", "Took", "Name", "Result")
_DROPPED_FIRST = ("Name", "Model", "Took")
_UNLIMITED = 1_000_000
_LEAST_RESULT = 30
"""Cells of the column Result, if some result is as long."""


def colour_of(status: str) -> str:
    """Return the colour of a status."""
    return _COLOURS.get(status, "magenta")


def status_style(row: Row) -> str:
    """Return the colour of a job's status: red if the wait ended in an error."""
    return "red" if row.error is not None else colour_of(row.status)


def elapsed(seconds: float) -> str:
    """Return a duration as ``0:01:05``; from one day as ``3 d 04:05``."""
    whole = timedelta(seconds=int(max(0.0, seconds)))
    minutes = whole.seconds // 60
    return f"{whole.days} d {minutes // 60:02}:{minutes % 60:02}" if whole.days else str(whole)


def print_jobs(console: Console, tracker: JobTracker) -> None:
    """Print a table of the jobs, without breaking an id, a status or the name of a model.

    Where it is too wide, less important columns are omitted; at last each result has its own line.
    """
    rows = list(tracker.rows.values())
    if not rows:
        return
    texts = [_texts(row) for row in rows]
    columns = [name for name in _COLUMNS if any(text[name].plain for text in texts)]
    for omitted in (None, *_DROPPED_FIRST):
        columns = [name for name in columns if name != omitted]
        table = _table(rows, texts, columns)
        # A measurement never exceeds the width in the options.
        if (
            Measurement.get(console, console.options.update(width=_UNLIMITED), table).minimum
            <= console.width
        ):
            console.print(table)
            return
    for text in texts:
        console.print(Text("  ").join([text["Job"], text["Status"]]), soft_wrap=True)
        if text["Result"].plain:
            console.print(Text("  ").join([Text(), text["Result"]]), soft_wrap=True)


def _texts(row: Row) -> dict[str, Text]:
    duration = None if row.job is None else row.job.duration
    return {
        "Job": Text(row.name),
        "Model": Text(row.model),
        "Status": Text(row.status, status_style(row)),
        "Took": Text("" if duration is None else elapsed(duration.total_seconds())),
        "Name": Text(row.job_name),
        "Result": Text(row.result),
    }


def _table(rows: Sequence[Row], texts: Sequence[dict[str, Text]], columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # An error may be wrapped between words, the name of a model may not.
    results = [row.result for row in rows]
    unbroken = [word for row in rows for word in (row.result.split() if row.failed else [row.result])]
    least = max(max(map(cell_len, unbroken)), min(_LEAST_RESULT, max(map(cell_len, results))))
    for name in columns:
        if name == "Result":
            table.add_column(name, overflow="fold", min_width=least)
        else:
            table.add_column(name, no_wrap=True, justify="right" if name == "Took" else "left")
    for text in texts:
        table.add_row(*(text[name] for name in columns))
    return table


def details(job: FineTuneJob) -> Table:
    """Return a table with a line for each field of a job that is set."""
    table = Table.grid(Column(overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, value in job.to_dict().items():
        if value not in (None, "", [], {}):
            table.add_row(Text(name, "bold"), Text(printable(_as_text(value))))
    return table


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deep to be shown)"


class ErrorLines:
    """A view that writes the error of each failed wait to stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, row: Row) -> None:
        """Write the error, if there is one."""
        if row.error is not None:
            print_error(self._console, row.error)


def print_error(console: Console, error: DashScopeFTError) -> None:
    """Write an error on one line. The console puts it above a live view."""
    line = Text.assemble(("error: ", "bold red"), error_text(error))
    console.print(line, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Writes one line per log record. The console puts it above a live view."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._console.print(Text(printable(self.format(record)), "dim"), soft_wrap=True)


@contextmanager
def logs(console: Console, level: int) -> Generator[None, None, None]:
    """Show the library's log records from `level` on."""
    logger = logging.getLogger("dashscope_ft_async")
    handler = _ConsoleHandler(console)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])  # not by assignment: loggers cache which levels are enabled
        logger.propagate = before[1]
