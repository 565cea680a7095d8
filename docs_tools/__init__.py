"""Tools that write the generated parts of docs/, and the mkdocstrings extension of the site.

``python -m docs_tools`` writes the parts; the test suite checks that they are up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import dashscope_ft_async
from docs_tools import commands, comparison, errors

__all__ = ["DOCS", "PARTS", "with_part"]

DOCS = Path(__file__).parents[1] / "docs"


def _version() -> str:
    return f"Version {dashscope_ft_async.__version__} · Python 3.11 or newer · MIT licence"


PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("index.md", "version"): _version,
    ("reference/commands.md", "commands"): commands.part,
    ("reference/errors.md", "tree"): errors.part,
    ("explanation/comparison.md", "costs"): comparison.costs,
    ("explanation/comparison.md", "faults"): comparison.faults,
}
"""Maps (page, name of the part) to the function that returns its text."""


def with_part(page: str, name: str, part: str) -> str:
    """Return the text of a page with `part` between the two comments that mark its place.

    Raises:
        ValueError: the page has no such comments.
    """
    begin, end = f"<!-- {name}: written by `python -m docs_tools` -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no part {name!r}")
    return f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"
