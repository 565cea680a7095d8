"""One job, a line for each fact, and the curve of its losses: pure."""

from __future__ import annotations

from rich.text import Text

from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.sparkline import bars
from dashscope_ft_async.cli.live.state import LiveState, figure
from dashscope_ft_async.cli.live.table import result_style
from dashscope_ft_async.cli.terminal import status_style
from dashscope_ft_async.cli.tracker import Row

_LABEL = 13
_HIGHEST = 8
_WIDEST = 100
LEAST_WIDTH = 50
LEAST_LINES = 10
"""Where there is less room, the job is better off as a line of the table."""


def panel(facts: LiveState, row: Row, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """At most `height` lines of at most `width` cells."""
    told = [
        ("job", row.name, "bold"),
        ("name", row.job_name, ""),
        ("model", row.model, ""),
        ("status", _status(row, facts.time(row)), status_style(row)),
        ("in line", facts.place(row), ""),
        ("tokens", facts.tokens(row), ""),
        ("checkpoints", row.checkpoints.replace("/", " of "), ""),
        ("loss", _loss(facts, row, cells), "bold"),
        ("next look", _next(facts.next(row)), ""),
        ("result", row.result, result_style(row)),
    ]
    lines = [_line(label, text, style, width, cells) for label, text, style in told if text]
    return [*lines[:height], *_curve(facts, row, width, height - len(lines), cells)]


def _line(label: str, text: str, style: str, width: int, cells: CellFormatter) -> Text:
    fitted = cells.fit(text, width - _LABEL)
    return Text.assemble((label.ljust(_LABEL), "dim"), (fitted, style), no_wrap=True)


def _status(row: Row, time: str) -> str:
    return f"{row.status} {'for' if row.exit_code is None else 'after'} {time}" if time else row.status


def _next(text: str) -> str:
    return f"in {text}" if text.endswith(" s") else text


def _loss(facts: LiveState, row: Row, cells: CellFormatter) -> str:
    losses = facts.losses.get(row.job_id)
    if losses is None or losses.metric is None:
        return ""
    metric, told = losses.metric, [facts.loss(row)]
    if metric.step is not None and metric.max_steps is not None:
        told.append(f"step {metric.step} of {metric.max_steps}")
    if metric.epoch is not None:
        told.append(f"epoch {metric.epoch:.2f}")
    return cells.dot.join(told)


def _curve(facts: LiveState, row: Row, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """The losses, with the highest and the lowest of them at the left."""
    points = facts.points(row)
    height = min(_HIGHEST, height - 1) if cells.unicode else min(1, height - 1)
    if height < 1 or len(points) < 2:
        return []
    ends = {0: figure(max(points)), height - 1: figure(min(points))} if height > 1 else {}
    drawn = bars(points, min(_WIDEST, width - _LABEL), height, cells.levels)
    lines = [
        Text.assemble((ends.get(number, "").rjust(_LABEL - 2) + "  ", "dim"), (line, "blue"), no_wrap=True)
        for number, line in enumerate(drawn)
    ]
    return [Text(), *lines]
