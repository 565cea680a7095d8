"""From what was seen to a table in Markdown, in the docs between two marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"
RESULTS = Path(__file__).parents[1] / "faults.json"

TITLES = {"ours": "dashscope_ft_async", "dashscope": "dashscope SDK", "bare": "hand-written loop"}
AS_WANTED = "as wanted"
_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"

Report: TypeAlias = dict[str, Any]
"""What faults.json holds: versions, pace, and for each row what each contender did wrong."""


def table(report: Report) -> str:
    """A summary, then a line for each row, a table for each group of rows."""
    names = [name for name in TITLES if all(name in row for row in report["rows"])]
    lines = [summary(report, names)]
    group = None
    for row in report["rows"]:
        if row["group"] != group:
            group = row["group"]
            titles = " | ".join(TITLES[name] for name in names)
            lines += ["", f"### {group}", ""]
            lines += [f"| what happens | wanted | {titles} |", "| --- |" + " --- |" * (len(names) + 1)]
        cells = " | ".join("; ".join(row[name]) or AS_WANTED for name in names)
        lines.append(f"| {row['name']} | {row['wanted']} | {cells} |")
    return "\n".join(lines) + "\n"


def summary(report: Report, names: list[str]) -> str:
    """How many rows are as wanted, and how many but for a key that is shown."""
    rows = report["rows"]
    lines = [
        f"| of {len(rows)} rows | as wanted | as wanted, but the key can be read |",
        "| --- | --- | --- |",
    ]
    for name in names:
        good = sum(not row[name] for row in rows)
        shown = sum(bool(row[name]) and all("key in" in text for text in row[name]) for row in rows)
        lines.append(f"| {TITLES[name]} | {good} | {shown} |")
    return "\n".join(lines)


def write(report: Report, page: Path = PAGE) -> None:
    """Put the table into the page, in place of the one that is there."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{table(report)}\n{_END}{after}", encoding="utf-8")
