"""The live table of the jobs, for a screen of any width.

rich's tables cannot drop columns by importance or give a cell several columns, so it is laid out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.sparkline import bars
from dashscope_ft_async.cli.live.state import LiveState
from dashscope_ft_async.cli.terminal import status_style
from dashscope_ft_async.cli.tracker import Row

_GAP = 2
_COLUMNS = ("JOB", "NAME", "MODEL", "STATUS", "TIME", "TOKENS", "CHECKPOINTS", "LOSS", "POLL")
_PROGRESS = ("CHECKPOINTS", "LOSS", "POLL")
_RIGHT = ("TIME", "TOKENS", "CHECKPOINTS", "POLL")
_ALL = 10_000
_STEPS = (
    ("JOB", 1, 24),
    ("STATUS", 6, 12),
    ("TIME", 7, 10),
    ("LOSS", 12, 12),
    ("POLL", 4, 6),
    ("CHECKPOINTS", 11, 11),
    ("LOSS", 12, 26),
    ("MODEL", 8, 16),
    ("TOKENS", 6, 9),
    ("NAME", 8, 20),
    ("JOB", 1, 40),
    ("MODEL", 8, 32),
    ("NAME", 8, 40),
    ("LOSS", 12, 60),
)
"""Name, fewest and most cells of each column, in the order of importance. A name that comes again gets more
cells. The first column that cannot get its fewest cells is omitted, and so are all after it."""


def widths(room: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return the cells of each column that fits in `room`, of those that have something to show."""
    given: dict[str, int] = {}
    left, full = room + _GAP, False
    for name, least, most in _STEPS:
        want = min(wanted.get(name, 0), most)
        if name in given:
            more = max(0, min(want - given[name], left))
            given[name] += more
            left -= more
        elif want:
            full = full or left < min(least, want) + _GAP
            if not full:
                given[name] = min(want, left - _GAP)
                left -= given[name] + _GAP
    return given


def render_table(state: LiveState, rows: Sequence[Row], room: int, cells: CellFormatter) -> list[Text]:
    """Return a header and a line for each row, of at most `room` cells.

    The result of a job that has ended takes the columns of its progress.
    """
    texts = [_texts(state, row) for row in rows]
    wanted = {
        name: max((cell_len(cells.text(text[name])) for text in texts), default=0) for name in _COLUMNS
    }
    wanted = {name: max(cells, len(name)) for name, cells in wanted.items() if cells}
    given = widths(room, wanted | {"LOSS": _ALL})
    columns = [name for name in _COLUMNS if name in given]
    heading = [cells.cell(name, given[name], right=name in _RIGHT) for name in columns]
    lines = [Text("  ".join(heading), "dim", no_wrap=True)]
    lines.extend(_line(state, row, text, given, cells) for row, text in zip(rows, texts, strict=True))
    return lines


def _texts(state: LiveState, row: Row) -> dict[str, str]:
    return {
        "JOB": row.name,
        "NAME": row.job_name,
        "MODEL": row.model,
        "STATUS": row.status,
        "TIME": state.time(row),
        "TOKENS": state.tokens(row),
        "CHECKPOINTS": "" if row.exit_code is not None else row.checkpoints,
        "LOSS": "",
        "POLL": state.next_poll_text(row),
    }


def _line(
    state: LiveState, row: Row, text: Mapping[str, str], given: Mapping[str, int], cells: CellFormatter
) -> Text:
    texts = [
        Text(cells.cell(text[name], given[name], right=name in _RIGHT), _style(row, name))
        for name in _COLUMNS
        if name in given and name not in _PROGRESS
    ]
    line = Text("  ").join([*texts, *_progress(state, row, text, given, cells)])
    line.no_wrap = True
    return line


def _progress(
    state: LiveState, row: Row, text: Mapping[str, str], given: Mapping[str, int], cells: CellFormatter
) -> Iterator[Text]:
    names = [name for name in _PROGRESS if name in given]
    if row.exit_code is not None:
        if names:
            yield Text(cells.fit(row.result, _span(given, names)), result_style(row))
        return
    position = state.queue_position(row)
    if position and names:  # then LOSS is one of them
        room = _span(given, [name for name in names if name != "POLL"])
        in_queue = f"{position} in queue"
        yield Text(cells.cell(in_queue if len(in_queue) <= room else position, room), "cyan")
        names = [name for name in names if name == "POLL"]
    for name in names:
        if name == "LOSS":
            yield _loss(state, row, given[name], cells)
        else:
            yield Text(cells.cell(text[name], given[name], right=True), _style(row, name))


def _span(given: Mapping[str, int], names: Sequence[str]) -> int:
    return sum(given[name] + _GAP for name in names) - _GAP


def _loss(state: LiveState, row: Row, room: int, cells: CellFormatter) -> Text:
    value = state.loss(row).rjust(6)
    left = room - len(value) - 1
    (curve,) = bars(state.points(row), left, levels=cells.levels)
    return Text.assemble((value, "bold"), " ", (curve.ljust(left), "blue"))


def _style(row: Row, name: str) -> str:
    if name == "STATUS":
        return status_style(row)
    if name in ("NAME", "TIME", "POLL"):
        return "dim"
    return "dim" if row.exit_code is not None and not row.failed and name != "JOB" else ""


def result_style(row: Row) -> str:
    """Return the colour of a job's result."""
    return "red" if row.failed else ""
