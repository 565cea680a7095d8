"""From numbers to a table in Markdown and a chart in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from bench.contenders import TITLES
from bench.probes import Numbers

Scenarios: TypeAlias = dict[str, dict[str, Numbers]]
"""The numbers of each contender in each scenario."""


def _value(numbers: Numbers, key: str) -> float | None:
    value = numbers.get(key)
    if key == "requests" and value is not None:  # answered or refused, each counts against the account
        value = sum(count for kind, count in value.items() if kind != "server_cpu")
    return None if value is None else float(value)


@attrs.frozen
class Line:
    """One line of the table: what, where it is found, its unit, and what ours is to keep to."""

    what: str
    scenario: str
    key: str
    unit: str
    scale: float = 1.0
    most: float | None = None
    """Ours may not be more, in the unit."""
    most_ratio: float | None = None
    """Ours may not be more, in parts of the bare loop's number."""
    ratios: bool = True

    def value(self, results: Scenarios, name: str) -> float | None:
        """A contender's number, in the unit."""
        value = _value(results.get(self.scenario, {}).get(name, {}), self.key)
        return None if value is None else value * self.scale

    def ratio(self, results: Scenarios, name: str) -> float | None:
        """A contender's number in parts of the bare loop's."""
        value, base = self.value(results, name), self.value(results, "bare")
        return value / base if self.ratios and value is not None and base else None

    def verdict(self, results: Scenarios) -> str:
        """The number to hold, and whether ours holds it."""
        value, limit, form = (
            self.value(results, "ours"),
            self.most,
            f"≤ {_number(self.most)} {self.unit}".strip(),
        )
        if self.most_ratio is not None:
            value, limit, form = self.ratio(results, "ours"), self.most_ratio, f"≤ {self.most_ratio:g}×"
        if limit is None:
            return ""
        if value is None:
            return form
        return f"{form}: {'held' if value <= limit else '**not held**'}"


_LAG, _KB = "lag between end and return, p99", 1e-3

LINES = (
    Line("CPU of one get, 8 at once", "get", "us_at_8", "µs", most_ratio=1.2),
    Line("CPU of one get, 32 at once", "get", "us_at_32", "µs", most_ratio=1.2),
    Line("500 waits: CPU", "waits-500", "cpu", "s", most_ratio=0.2),
    Line("500 waits: requests", "waits-500", "requests", "", most=560),
    Line(f"500 waits: {_LAG}", "waits-500", "lag_p99", "s", most=2.5, ratios=False),
    Line("500 waits: lost", "waits-500", "lost", "", most=0, ratios=False),
    Line("2,000 waits: CPU", "waits-2000", "cpu", "s", most_ratio=0.2),
    Line("2,000 waits: requests", "waits-2000", "requests", ""),
    Line(f"2,000 waits: {_LAG}", "waits-2000", "lag_p99", "s", most=2.5, ratios=False),
    Line("2,000 waits: lost", "waits-2000", "lost", "", most=0, ratios=False),
    Line("500 waits under 50 requests/s: lost", "limited-500", "lost", "", most=0, ratios=False),
    Line(f"… {_LAG}", "limited-500", "lag_p99", "s", most=5, ratios=False),
    Line("… requests", "limited-500", "requests", ""),
    Line("memory per wait", "memory", "rss", "KB", _KB, most=4.0),
    Line("… of it in our files", "memory", "traced_ours", "KB", _KB, most=0.5, ratios=False),
    Line("… last snapshot", "memory", "traced_snapshot", "KB", _KB, ratios=False),
    Line("… interpreter, asyncio, caller", "memory", "traced_others", "KB", _KB, ratios=False),
    Line("import: CPU", "import", "cpu_ms", "ms", most_ratio=1.2),
    Line("import: wall", "import", "wall_ms", "ms"),
    Line("10,000 waits: CPU per minute", "scale-10000", "cpu_per_minute", "s"),
    Line("… requests in 80 s", "scale-10000", "requests", ""),
    Line(f"… {_LAG}", "scale-10000", "lag_p99", "s"),
    Line("… lag beyond the longest interval, p99", "scale-10000", "late_p99", "s", most=0.5),
    Line("… lost", "scale-10000", "lost", "", most=0),
    Line("100,000 waits: time to register", "scale-100000", "register_s", "s"),
    Line("… memory, not yet seen", "scale-100000", "rss_mb_registered", "MB"),
    Line("… time until all are seen, of 120 s", "scale-100000", "first_look_s", "s"),
    Line("… memory after that", "scale-100000", "rss_mb_seen", "MB", most=1000),
    Line("… time to close", "scale-100000", "close_s", "s", most=1.0),
)


def table(results: Scenarios, *, judged: bool = True) -> str:
    """All lines of which something was measured, as a Markdown table."""
    names = [name for name in TITLES if any(name in scenario for scenario in results.values())]
    rows = [
        "| | " + " | ".join(TITLES[name] for name in names) + " | ours is to hold |",
        "| --- |" + " --- |" * (len(names) + 1),
    ]
    for line in LINES:
        if line.scenario in results:
            cells = " | ".join(cell(line, results, name) for name in names)
            rows.append(f"| {line.what} | {cells} | {line.verdict(results) if judged else ''} |")
    return "\n".join(rows)


def figures(report: dict[str, Any]) -> str:
    """The table, and where it was measured."""
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{table(report['scenarios'])}\n\n"
        f"Measured by `python -m bench` on {machine['system']}, {machine['cpus']} CPUs, "
        f"Python {machine['python']}; {packages}.\n"
    )


def with_figures(page: str, report: dict[str, Any]) -> str:
    """`page` with these figures between its two marks."""
    before, mark, rest = page.partition("<!-- figures")
    head, end, _ = rest.partition("-->")
    after = rest[rest.index("<!-- end of figures") :]
    return f"{before}{mark}{head}{end}\n\n{figures(report)}\n{after}"


def cell(line: Line, results: Scenarios, name: str) -> str:
    """A contender's number, and its part of the bare loop's."""
    value, ratio = line.value(results, name), line.ratio(results, name)
    if value is None:
        numbers = results[line.scenario].get(name, {})
        return "failed" if "failed" in numbers else "never" if line.key in numbers else "–"
    text = f"{_number(value)} {line.unit}".strip()
    return text if ratio is None else f"{ratio:.2g}× ({text})"


def _number(value: float | None) -> str:
    if value is None or value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.1g}"


_PANELS = (
    ("500 waits: CPU seconds", "waits-500", "cpu"),
    ("requests", "waits-500", "requests"),
    ("lag p99, seconds", "waits-500", "lag_p99"),
    ("lost at 50 requests/s", "limited-500", "lost"),
    ("2,000 waits: CPU seconds", "waits-2000", "cpu"),
    ("requests", "waits-2000", "requests"),
    ("lag p99, seconds", "waits-2000", "lag_p99"),
    ("lost", "waits-2000", "lost"),
)
# Both stand out from white and from near-black pages alike; the ground is left to the page.
_INK, _OURS, _OTHERS = "#6e7781", "#2f81f7", "#9aa4af"


def chart(results: Scenarios, *paths: Path) -> None:
    """Draw eight panels of bars into each file; its name says the format."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    style = {
        "svg.hashsalt": "bench",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": _INK,
        "ytick.color": _INK,
    }
    with pyplot.rc_context(style):
        figure, grid = pyplot.subplots(2, 4, figsize=(10, 4), sharey=True, layout="constrained")
        for axes, (title, scenario, key) in zip(grid.flat, _PANELS, strict=True):
            measured = results.get(scenario, {})
            values = {name: _value(measured.get(name, {}), key) for name in reversed(TITLES)}
            _bars(axes, title, values)
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(path, transparent=path.suffix == ".svg", metadata=metadata)
        pyplot.close(figure)


def _bars(axes: Any, title: str, values: dict[str, float | None]) -> None:
    names: Sequence[str] = list(values)
    bars = axes.barh(
        [TITLES[name] for name in names],
        [values[name] or 0.0 for name in names],
        color=[_OURS if name == "ours" else _OTHERS for name in names],
        height=0.65,
    )
    labels = ["–" if values[name] is None else _number(values[name]) for name in names]
    axes.bar_label(bars, labels, padding=3, color=_INK)
    axes.set_title(title, color=_INK, fontweight="bold", fontsize=10, loc="left")
    axes.set_xlim(0, max([value for value in values.values() if value] or [1.0]) * 1.25)
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
