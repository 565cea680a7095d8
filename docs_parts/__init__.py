"""The parts of the docs that are made from the code and from kept measurements.

    python -m docs_parts

writes them, and the suite holds that they are as it would write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs_parts import commands, comparison, errors, floors

__all__ = ["DOCS", "PARTS", "with_part"]

DOCS = Path(__file__).parents[1] / "docs"

PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("reference/commands.md", "commands"): commands.part,
    ("reference/errors.md", "tree"): errors.part,
    ("explanation/architecture.md", "floors"): floors.part,
    ("explanation/comparison.md", "costs"): comparison.costs,
    ("explanation/comparison.md", "faults"): comparison.faults,
}
"""Page and name of each part, and what makes it."""


def with_part(page: str, name: str, part: str) -> str:
    """The text of a page with this part between its two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: written by `python -m docs_parts` -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no part {name!r} in the page")
    return f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"
