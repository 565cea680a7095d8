"""The whole live view, for whatever room there is: pure."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from dashscope_ft_async.cli.board import Board, Row
from dashscope_ft_async.cli.live.cells import Pen
from dashscope_ft_async.cli.live.facts import Facts
from dashscope_ft_async.cli.live.health import State
from dashscope_ft_async.cli.live.panel import LEAST_LINES, LEAST_WIDTH, panel
from dashscope_ft_async.cli.live.table import table
from dashscope_ft_async.cli.view import colour_of
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


def rows_on(board: Board, height: int) -> list[Row]:
    """The rows that are shown on a screen of `height` lines."""
    return board.shown(height - 3)  # the others are the summary, the heading and the connection


def screen(facts: Facts, width: int, height: int, pen: Pen) -> list[Text]:
    """At most `height` lines of at most `width` cells.

    One job is a panel. Several are a summary by status, a table of as many as there is room for (see
    `Board.shown`), and below it the connection. Where it is too low for all, the summary stays longest.
    """
    board = facts.board
    connection = _connection(facts, width, pen)
    if len(board.rows) == 1 and width >= LEAST_WIDTH and height >= LEAST_LINES:
        (row,) = board.rows.values()
        return [*panel(facts, row, width, height - 2, pen), Text(), connection]
    rows = rows_on(board, height)
    # Air between the three, where there is enough for all of it.
    air = [Text()] if len(rows) + 5 <= height else []
    lines = [_summary(board, len(rows), width, pen), *air]
    if rows:
        lines += [*table(facts, rows, width, pen), *air]
    return [*lines, connection][:height]


def _summary(board: Board, shown: int, width: int, pen: Pen) -> Text:
    """How many jobs are in which status."""
    count = Counter(_GIVEN_UP if row.error is not None else row.status for row in board.rows.values())
    known = [status for status in _ORDER if status in count]
    number = len(board.rows)
    told = [(f"{number} job{'' if number == 1 else 's'}", "bold")]
    told += [
        (f"{count[status]} {status}", "red" if status == _GIVEN_UP else colour_of(status))
        for status in [*known, *sorted(count.keys() - _ORDER)]
    ]
    if shown < number:
        told.append((f"({shown} shown)", "dim"))
    return _joined(told, "  ", width, pen)


def _connection(facts: Facts, width: int, pen: Pen) -> Text:
    health = facts.health
    told = [(f"connection {health.word}", _HEALTH[health.state])]
    return _joined([*told, *((fact, "dim") for fact in health.facts)], pen.dot, width, pen)


def _joined(told: list[tuple[str, str]], between: str, width: int, pen: Pen) -> Text:
    line = Text.assemble((between, "dim")).join(Text(pen.text(text), style) for text, style in told)
    line.no_wrap = True
    if line.cell_len > width:
        line.truncate(max(0, width - len(pen.mark)))
        line.append(pen.mark[:width])
    return line
