"""The whole live view, for whatever room there is: pure."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.health import State
from dashscope_ft_async.cli.live.panel import LEAST_LINES, LEAST_WIDTH, panel
from dashscope_ft_async.cli.live.state import LiveState
from dashscope_ft_async.cli.live.table import table
from dashscope_ft_async.cli.terminal import colour_of
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.models import JobStatus

_GIVEN_UP = "given up"
_ORDER = (
    JobStatus.FAILED,
    _GIVEN_UP,
    JobStatus.RUNNING,
    JobStatus.CANCELING,
    JobStatus.QUEUING,
    JobStatus.PENDING,
)
_HEALTH = {State.OK: "green", State.THROTTLED: "yellow", State.OUTAGE: "red", State.UNKNOWN: "dim"}


def rows_on(tracker: JobTracker, height: int) -> list[Row]:
    """The rows that are shown on a screen of `height` lines."""
    return tracker.select_rows(height - 3)  # the others are the summary, the heading and the connection


def screen(facts: LiveState, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """At most `height` lines of at most `width` cells.

    One job is a panel. Several are a summary by status, a table of as many as there is room for (see
    `JobTracker.select_rows`), and below it
    the connection. Where it is too low for all, the summary stays longest.
    """
    tracker = facts.tracker
    connection = _connection(facts, width, cells)
    if len(tracker.rows) == 1 and width >= LEAST_WIDTH and height >= LEAST_LINES:
        (row,) = tracker.rows.values()
        return [*panel(facts, row, width, height - 2, cells), Text(), connection]
    rows = rows_on(tracker, height)
    # Air between the three, where there is enough for all of it.
    air = [Text()] if len(rows) + 5 <= height else []
    lines = [_summary(tracker, len(rows), width, cells), *air]
    if rows:
        lines += [*table(facts, rows, width, cells), *air]
    return [*lines, connection][:height]


def _summary(tracker: JobTracker, shown: int, width: int, cells: CellFormatter) -> Text:
    """How many jobs are in which status."""
    count = Counter(_GIVEN_UP if row.error is not None else row.status for row in tracker.rows.values())
    known = [status for status in _ORDER if status in count]
    number = len(tracker.rows)
    told = [(f"{number} job{'' if number == 1 else 's'}", "bold")]
    told += [
        (f"{count[status]} {status}", "red" if status == _GIVEN_UP else colour_of(status))
        for status in [*known, *sorted(count.keys() - _ORDER)]
    ]
    if shown < number:
        told.append((f"({shown} shown)", "dim"))
    return _joined(told, "  ", width, cells)


def _connection(facts: LiveState, width: int, cells: CellFormatter) -> Text:
    health = facts.health
    told = [(f"connection {health.word}", _HEALTH[health.state])]
    return _joined([*told, *((fact, "dim") for fact in health.facts)], cells.dot, width, cells)


def _joined(told: list[tuple[str, str]], between: str, width: int, cells: CellFormatter) -> Text:
    line = Text.assemble((between, "dim")).join(Text(cells.text(text), style) for text, style in told)
    line.no_wrap = True
    if line.cell_len > width:
        line.truncate(max(0, width - len(cells.mark)))
        line.append(cells.mark[:width])
    return line
