"""The fault table in Markdown, and its place in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from bench.contenders import LIBRARY

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"
RESULTS = Path(__file__).parents[1] / "faults.json"

TITLES = {LIBRARY: "dashscope_ft_async", "dashscope": "dashscope SDK", "bare": "hand-written loop"}
AS_EXPECTED = "as expected"
_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"

Report: TypeAlias = dict[str, Any]
"""The content of faults.json: versions, settings, and what each client did wrong in each row."""


def table(report: Report) -> str:
    """A summary, then one table for each group of rows."""
    names = [name for name in TITLES if all(name in row for row in report["rows"])]
    lines = [_summary(report, names)]
    group = None
    for row in report["rows"]:
        if row["group"] != group:
            group = row["group"]
            titles = " | ".join(TITLES[name] for name in names)
            lines += ["", f"### {group}", ""]
            lines += [f"| what happens | expected | {titles} |", "| --- |" + " --- |" * (len(names) + 1)]
        cells = " | ".join("; ".join(row[name]) or AS_EXPECTED for name in names)
        lines.append(f"| {row['name']} | {row['expected']} | {cells} |")
    return "\n".join(lines) + "\n"


def _summary(report: Report, names: list[str]) -> str:
    rows = report["rows"]
    lines = [
        f"| {len(rows)} rows | as expected | as expected, but the API key can be read |",
        "| --- | --- | --- |",
    ]
    for name in names:
        good = sum(not row[name] for row in rows)
        key = sum(bool(row[name]) and all("key in" in text for text in row[name]) for row in rows)
        lines.append(f"| {TITLES[name]} | {good} | {key} |")
    return "\n".join(lines)


def write(report: Report, page: Path = PAGE) -> None:
    """Replace the table in the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{table(report)}\n{_END}{after}", encoding="utf-8")
