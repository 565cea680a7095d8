"""The jobs as lines of a table, for whatever width there is: pure."""

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
_COLUMNS = ("JOB", "NAME", "MODEL", "STATUS", "TIME", "TOKENS", "CKPT", "LOSS", "NEXT")
_PROGRESS = ("CKPT", "LOSS", "NEXT")
_RIGHT = ("TIME", "TOKENS", "CKPT", "NEXT")
_ALL = 10_000
_STEPS = (
    ("JOB", 1, 24),
    ("STATUS", 6, 12),
    ("TIME", 7, 10),
    ("LOSS", 12, 12),
    ("NEXT", 4, 5),
    ("CKPT", 4, 7),
    ("LOSS", 12, 26),
    ("MODEL", 8, 16),
    ("TOKENS", 6, 9),
    ("NAME", 8, 20),
    ("JOB", 1, 40),
    ("MODEL", 8, 32),
    ("NAME", 8, 40),
    ("LOSS", 12, 60),
)
"""The columns in the order of their importance, with the most cells that each gets before the next one has
its turn. The first that cannot get its fewest is left out, and so are those after it."""


def widths(room: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Cells for each column that has its place in `room`, of those that have something to show."""
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


def table(facts: LiveState, rows: Sequence[Row], room: int, cells: CellFormatter) -> list[Text]:
    """A heading, and a line for each row, of at most `room` cells.

    What came of a job stands where its progress stood.
    """
    texts = [_texts(facts, row) for row in rows]
    wanted = {
        name: max((cell_len(cells.text(text[name])) for text in texts), default=0) for name in _COLUMNS
    }
    wanted = {name: max(cells, len(name)) for name, cells in wanted.items() if cells}
    given = widths(room, wanted | {"LOSS": _ALL})
    columns = [name for name in _COLUMNS if name in given]
    heading = [cells.cell(name, given[name], right=name in _RIGHT) for name in columns]
    lines = [Text("  ".join(heading), "dim", no_wrap=True)]
    lines.extend(_line(facts, row, text, given, cells) for row, text in zip(rows, texts, strict=True))
    return lines


def _texts(facts: LiveState, row: Row) -> dict[str, str]:
    return {
        "JOB": row.name,
        "NAME": row.job_name,
        "MODEL": row.model,
        "STATUS": row.status,
        "TIME": facts.time(row),
        "TOKENS": facts.tokens(row),
        "CKPT": "" if row.exit_code is not None else row.checkpoints,
        "LOSS": "",
        "NEXT": facts.next(row),
    }


def _line(
    facts: LiveState, row: Row, text: Mapping[str, str], given: Mapping[str, int], cells: CellFormatter
) -> Text:
    texts = [
        Text(cells.cell(text[name], given[name], right=name in _RIGHT), _style(row, name))
        for name in _COLUMNS
        if name in given and name not in _PROGRESS
    ]
    line = Text("  ").join([*texts, *_progress(facts, row, text, given, cells)])
    line.no_wrap = True
    return line


def _progress(
    facts: LiveState, row: Row, text: Mapping[str, str], given: Mapping[str, int], cells: CellFormatter
) -> Iterator[Text]:
    names = [name for name in _PROGRESS if name in given]
    if row.exit_code is not None:
        if names:
            yield Text(cells.fit(row.result, _span(given, names)), result_style(row))
        return
    place = facts.place(row)
    if place and names:  # then LOSS is one of them
        room = _span(given, [name for name in names if name != "NEXT"])
        in_line = f"{place} in line"
        yield Text(cells.cell(in_line if len(in_line) <= room else place, room), "cyan")
        names = [name for name in names if name == "NEXT"]
    for name in names:
        if name == "LOSS":
            yield _loss(facts, row, given[name], cells)
        else:
            yield Text(cells.cell(text[name], given[name], right=True), _style(row, name))


def _span(given: Mapping[str, int], names: Sequence[str]) -> int:
    return sum(given[name] + _GAP for name in names) - _GAP


def _loss(facts: LiveState, row: Row, room: int, cells: CellFormatter) -> Text:
    value = facts.loss(row).rjust(6)
    left = room - len(value) - 1
    (curve,) = bars(facts.points(row), left, levels=cells.levels)
    return Text.assemble((value, "bold"), " ", (curve.ljust(left), "blue"))


def _style(row: Row, name: str) -> str:
    if name == "STATUS":
        return status_style(row)
    if name in ("NAME", "TIME", "NEXT"):
        return "dim"
    return "dim" if row.exit_code is not None and not row.failed and name != "JOB" else ""


def result_style(row: Row) -> str:
    """The colour of what came of it."""
    return "red" if row.failed else ""
