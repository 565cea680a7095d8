"""The live view of one job: a line for each field, and the curve of its losses."""

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
"""On a smaller screen the job is a line of the table."""


def render_panel(state: LiveState, row: Row, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """Return at most `height` lines of at most `width` cells."""
    fields = [
        ("job", row.name, "bold"),
        ("name", row.job_name, ""),
        ("model", row.model, ""),
        ("status", _status(row, state.time(row)), status_style(row)),
        ("queue", state.queue_position(row), ""),
        ("tokens", state.tokens(row), ""),
        ("checkpoints", row.checkpoints.replace("/", " of "), ""),
        ("loss", _loss(state, row, cells), "bold"),
        ("next poll", _next(state.next_poll_text(row)), ""),
        ("result", row.result, result_style(row)),
    ]
    lines = [_line(label, text, style, width, cells) for label, text, style in fields if text]
    return [*lines[:height], *_curve(state, row, width, height - len(lines), cells)]


def _line(label: str, text: str, style: str, width: int, cells: CellFormatter) -> Text:
    fitted = cells.fit(text, width - _LABEL)
    return Text.assemble((label.ljust(_LABEL), "dim"), (fitted, style), no_wrap=True)


def _status(row: Row, time: str) -> str:
    return f"{row.status} {'for' if row.exit_code is None else 'after'} {time}" if time else row.status


def _next(text: str) -> str:
    return f"in {text}" if text.endswith(" s") else text


def _loss(state: LiveState, row: Row, cells: CellFormatter) -> str:
    losses = state.losses.get(row.job_id)
    if losses is None or losses.metric is None:
        return ""
    metric, texts = losses.metric, [state.loss(row)]
    if metric.step is not None and metric.max_steps is not None:
        texts.append(f"step {metric.step} of {metric.max_steps}")
    if metric.epoch is not None:
        texts.append(f"epoch {metric.epoch:.2f}")
    return cells.dot.join(texts)


def _curve(state: LiveState, row: Row, width: int, height: int, cells: CellFormatter) -> list[Text]:
    """Return the curve of the losses, with the highest and the lowest at the left."""
    points = state.points(row)
    height = min(_HIGHEST, height - 1) if cells.unicode else min(1, height - 1)
    if height < 1 or len(points) < 2:
        return []
    ends = {0: figure(max(points)), height - 1: figure(min(points))} if height > 1 else {}
    curve = bars(points, min(_WIDEST, width - _LABEL), height, cells.levels)
    lines = [
        Text.assemble((ends.get(number, "").rjust(_LABEL - 2) + "  ", "dim"), (line, "blue"), no_wrap=True)
        for number, line in enumerate(curve)
    ]
    return [Text(), *lines]
