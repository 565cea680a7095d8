"""Generates the tables of the comparison page from the measurements stored in bench/*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.contenders import TITLES
from bench.faults.report import AS_EXPECTED
from bench.faults.report import TITLES as WAITERS
from bench.report import LINES, Line, cell

_BENCH = Path(__file__).parents[1] / "bench"

_COSTS = (
    ("500 waits: requests", "waits-500", "requests"),
    ("500 waits: CPU", "waits-500", "cpu"),
    ("500 waits: lag between end and return, p99", "waits-500", "lag_p99"),
    ("2,000 waits: CPU", "waits-2000", "cpu"),
    ("2,000 waits: lag between end and return, p99", "waits-2000", "lag_p99"),
    ("2,000 waits: lost", "waits-2000", "lost"),
    ("500 waits, limit 50 requests/s: lost", "limited-500", "lost"),
    ("memory per wait", "memory", "rss"),
    ("CPU of one get, 32 at once", "get", "us_at_32"),
    ("CPU of an import", "import", "cpu_ms"),
)

_FAULTS = (
    ("Transient errors", "429, three times in a row"),
    ("Transient errors", "500, five times in a row"),
    ("Response body", "cut, three times in a row"),
    ("Status 200 without a job", "HTML"),
    ("Redirects", "302 to another host, once"),
    ("Forever", "silence"),
    ("Permanent errors", "401 InvalidApiKey"),
    ("Final statuses", "FAILED with the code of a bad request"),
    ("Unusual statuses", "SUCCESSED"),
    ("Wrong types and other jobs", "the end of another job"),
)


def costs() -> str:
    """Return the table of costs: one row per measurement, one column per contender."""
    kept = _kept("results.json")
    rows = [
        "| | " + " | ".join(TITLES.values()) + " | `python -m bench` … |",
        "| --- |" + " --- |" * (len(TITLES) + 1),
    ]
    for title, scenario, key in _COSTS:
        line = _line(scenario, key)
        cells = " | ".join(cell(line, kept["scenarios"], name) for name in TITLES)
        rows.append(f"| {title} | {cells} | `{scenario}` |")
    packages = ", ".join(f"{name} {version}" for name, version in kept["machine"]["packages"].items())
    return "\n".join(rows) + f"\n\nPython {kept['machine']['python']}; {packages}."


def faults() -> str:
    """Return the table of ten faults, and how many of all faults each waiter handles correctly."""
    kept = _kept("faults.json")
    found = {(row["group"], row["name"]): row for row in kept["rows"]}
    rows = [
        "| what happens | expected | " + " | ".join(WAITERS.values()) + " |",
        "| --- | --- |" + " --- |" * len(WAITERS),
    ]
    for group, name in _FAULTS:
        row = found[group, name]
        cells = " | ".join("; ".join(row[waiter]) or AS_EXPECTED for waiter in WAITERS)
        rows.append(f"| {group}: {name} | {row['expected']} | {cells} |")
    good = " | ".join(str(sum(not row[waiter] for row in kept["rows"])) for waiter in WAITERS)
    rows.append(f"| **of all {len(kept['rows'])} rows, as expected** | | {good} |")
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    return "\n".join(rows) + f"\n\nPython {kept['python']}; {versions}."


def _line(scenario: str, key: str) -> Line:
    [line] = [line for line in LINES if (line.scenario, line.key) == (scenario, key)]
    return line


def _kept(name: str) -> Any:
    return json.loads((_BENCH / name).read_text(encoding="utf-8"))
