"""The live view as lines, for a screen of any size."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.health import State
from dashscope_ft_async.cli.live.panel import LEAST_LINES, LEAST_WIDTH, render_panel
from dashscope_ft_async.cli.live.state import LiveState
from dashscope_ft_async.cli.live.table import render_table
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
    """Return the rows that are shown on a screen of `height` lines."""
    return tracker.select_rows(height - 3)  # the other lines are the summary, the header and the connection


def render_screen(state: LiveState, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """Return at most `height` lines of at most `width` cells.

    One job is a panel. Several jobs are a summary by status, a table of as many as fit (see
    `JobTracker.select_rows`), and the state of the connection. On a very low screen the summary remains.
    """
    tracker = state.tracker
    connection = _connection(state, width, cells)
    if len(tracker.rows) == 1 and width >= LEAST_WIDTH and height >= LEAST_LINES:
        (row,) = tracker.rows.values()
        return [*render_panel(state, row, width, height - 2, cells), Text(), connection]
    rows = rows_on(tracker, height)
    # Empty lines between the three parts, if there is space for all rows.
    space = [Text()] if len(rows) + 5 <= height else []
    lines = [_summary(tracker, len(rows), width, cells), *space]
    if rows:
        lines += [*render_table(state, rows, width, cells), *space]
    return [*lines, connection][:height]


def _summary(tracker: JobTracker, shown: int, width: int, cells: CellFormatter) -> Text:
    """Return the number of jobs by status."""
    count = Counter(_GIVEN_UP if row.error is not None else row.status for row in tracker.rows.values())
    known = [status for status in _ORDER if status in count]
    number = len(tracker.rows)
    texts = [(f"{number} job{'' if number == 1 else 's'}", "bold")]
    texts += [
        (f"{count[status]} {status}", "red" if status == _GIVEN_UP else colour_of(status))
        for status in [*known, *sorted(count.keys() - _ORDER)]
    ]
    if shown < number:
        texts.append((f"({shown} shown)", "dim"))
    return _joined(texts, "  ", width, cells)


def _connection(state: LiveState, width: int, cells: CellFormatter) -> Text:
    health = state.health
    texts = [(f"connection {health.text}", _HEALTH[health.state])]
    return _joined([*texts, *((text, "dim") for text in health.details)], cells.dot, width, cells)


def _joined(texts: list[tuple[str, str]], between: str, width: int, cells: CellFormatter) -> Text:
    line = Text.assemble((between, "dim")).join(Text(cells.text(text), style) for text, style in texts)
    line.no_wrap = True
    if line.cell_len > width:
        line.truncate(max(0, width - len(cells.mark)))
        line.append(cells.mark[:width])
    return line
