"""The table and the chart of what was measured, and the goals."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from bench.contenders import LIBRARY, TITLES
from bench.probes import Numbers

Scenarios: TypeAlias = dict[str, dict[str, Numbers]]
"""The numbers of each contender in each scenario."""


def _value(numbers: Numbers, key: str) -> float | None:
    value = numbers.get(key)
    if isinstance(value, dict):  # requests by kind; refused ones count too
        return float(sum(value.values()))
    return None if value is None else float(value)


@attrs.frozen
class Line:
    """One line of the table, with the goal for this library."""

    title: str
    scenario: str
    key: str
    unit: str = ""
    scale: float = 1.0
    goal: float | None = None
    """The greatest value that is good, in the unit."""
    goal_ratio: float | None = None
    """The greatest good ratio to the value of `base`."""
    base: str | None = "bare"
    """The contender that values are compared with; `None` where a ratio says nothing."""

    def value(self, results: Scenarios, name: str) -> float | None:
        """A contender's value, in the unit."""
        value = _value(results.get(self.scenario, {}).get(name, {}), self.key)
        return None if value is None else value * self.scale

    def ratio(self, results: Scenarios, name: str) -> float | None:
        """A contender's value divided by that of the base."""
        if self.base is None:
            return None
        value, base = self.value(results, name), self.value(results, self.base)
        return value / base if value is not None and base else None

    def verdict(self, results: Scenarios) -> str:
        """The goal, and whether this library met it."""
        if self.goal_ratio is not None:
            value, goal, text = self.ratio(results, LIBRARY), self.goal_ratio, f"≤ {self.goal_ratio:g}×"
            if self.base != "bare":
                text += f" {self.base}"
        elif self.goal is not None:
            value, goal = self.value(results, LIBRARY), self.goal
            text = f"≤ {_number(goal)} {self.unit}".strip() if goal else "0"
        else:
            return ""
        if value is None:
            return text
        return f"{text}: {'met' if value <= goal else '**missed**'}"


_LAG, _KB = "lag between end and return, p99", 1e-3


def _waits(
    scenario: str, title: str, *, cpu: float | None, requests: float | None, lag: float
) -> list[Line]:
    return [
        Line(f"{title}: CPU", scenario, "cpu", "s", goal_ratio=cpu),
        Line("… requests", scenario, "requests", goal=requests),
        Line(f"… {_LAG}", scenario, "lag_p99", "s", goal=lag, base=None),
        Line("… lost", scenario, "lost", goal=0, base=None),
    ]


LINES = (
    Line("CPU of one get, 8 at once", "get", "us_at_8", "µs", base="bare+cattrs"),
    Line("CPU of one get, 32 at once", "get", "us_at_32", "µs", goal_ratio=1.3, base="bare+cattrs"),
    *_waits("waits-500", "500 waits", cpu=0.22, requests=100, lag=2.5),
    *_waits("waits-2000", "2,000 waits", cpu=0.22, requests=320, lag=2.5),
    *_waits("limited-500", "500 waits, limit 50 requests/s", cpu=None, requests=None, lag=2.5),
    *_waits("limited-500-hard", "500 waits, limit 10 requests/s", cpu=None, requests=None, lag=6.0),
    Line("5 waits at the head of a list of 300: requests per observation", "few-at-head",
         "requests_per_observation", goal=0.35),
    Line("500 waits, 6 hours old: requests per minute", "long-500", "requests_per_minute", goal=40),
    Line("4 processes, 1,000 waits, limit 20 requests/s: lost", "processes-4", "lost", goal=0),
    Line(f"… {_LAG}, of the slowest process", "processes-4", "lag_p99", "s", goal=15.0),
    Line("… largest share of requests / smallest", "processes-4", "share_factor", goal=2.0),
    Line("CPU of one get without hooks", "hooks", "us_none", "µs"),
    Line("… with a hook that does nothing", "hooks", "us_idle", "µs"),
    Line("… with OpenTelemetry and its SDK", "hooks", "us_otel", "µs"),
    Line("memory per wait", "memory", "rss", "KB", _KB, goal=4.0),
    Line("… allocated by our code", "memory", "traced_library", "KB", _KB, base=None),
    Line("… the last snapshot", "memory", "traced_snapshot", "KB", _KB, base=None),
    Line("… interpreter, asyncio, caller", "memory", "traced_others", "KB", _KB, base=None),
    Line("import: CPU", "import", "cpu_ms", "ms", goal_ratio=1.2),
    Line("import: wall-clock time", "import", "wall_ms", "ms"),
    Line("100,000 waits: time to register", "scale-100000", "register_s", "s"),
    Line("… memory then", "scale-100000", "mb_registered", "MB"),
    Line("… time until each was observed", "scale-100000", "observed_s", "s"),
    Line("… memory then", "scale-100000", "mb_observed", "MB", goal=1000),
    Line("… time to close the client", "scale-100000", "close_s", "s", goal=1.0),
)  # fmt: skip


def table(results: Scenarios, *, goals: bool = True) -> str:
    """All lines of the scenarios that were run, as a Markdown table."""
    names = [name for name in TITLES if any(name in scenario for scenario in results.values())]
    titles = [TITLES[name] for name in names] + [f"goal for {LIBRARY}"] * goals
    rows = ["| | " + " | ".join(titles) + " |", "| --- |" + " --- |" * len(titles)]
    for line in LINES:
        if line.scenario in results:
            cells = [cell(line, results, name) for name in names] + [line.verdict(results)] * goals
            rows.append(f"| {line.title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def with_figures(page: str, report: dict[str, Any]) -> str:
    """`page` with the table of this report between its two marks."""
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    measured = f"Measured{' on ' + report['date'] if 'date' in report else ''} by `python -m bench`"
    figures = (
        f"{table(report['scenarios'])}\n\n{measured} on {machine['system']}, {machine['cpus']} CPUs, "
        f"Python {machine['python']}; {packages}."
    )
    before, mark, rest = page.partition("<!-- figures")
    head, end, _ = rest.partition("-->")
    after = rest[rest.index("<!-- end of figures") :]
    return f"{before}{mark}{head}{end}\n\n{figures}\n\n{after}"


def cell(line: Line, results: Scenarios, name: str) -> str:
    """A contender's value, with its ratio to the base's."""
    value, ratio = line.value(results, name), line.ratio(results, name)
    if value is None:
        numbers = results[line.scenario].get(name, {})
        return "failed" if "failed" in numbers else "never" if line.key in numbers else "–"
    text = f"{_number(value)} {line.unit}".strip()
    return text if ratio is None else f"{ratio:.2g}× ({text})"


def _number(value: float) -> str:
    if value == 0:
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
# Readable on white and on nearly black pages; the background is transparent.
_TEXT, _HIGHLIGHT, _GREY = "#6e7781", "#2f81f7", "#9aa4af"


def chart(results: Scenarios, *paths: Path) -> None:
    """Draw eight panels of bars into each file, in the format of its suffix."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    style = {
        "svg.hashsalt": "bench",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": _TEXT,
        "ytick.color": _TEXT,
    }
    with pyplot.rc_context(style):
        figure, grid = pyplot.subplots(2, 4, figsize=(10, 4.4), sharey=True, layout="constrained")
        for axes, (title, scenario, key) in zip(grid.flat, _PANELS, strict=True):
            measured = results.get(scenario, {})
            _bars(axes, title, {name: _value(measured.get(name, {}), key) for name in reversed(TITLES)})
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(path, transparent=path.suffix == ".svg", metadata=metadata)
        pyplot.close(figure)


def _bars(axes: Any, title: str, values: dict[str, float | None]) -> None:
    bars = axes.barh(
        [TITLES[name] for name in values],
        [value or 0.0 for value in values.values()],
        color=[_HIGHLIGHT if name == LIBRARY else _GREY for name in values],
        height=0.65,
    )
    labels = ["–" if value is None else _number(value) for value in values.values()]
    axes.bar_label(bars, labels, padding=3, color=_TEXT)
    axes.set_title(title, color=_TEXT, fontweight="bold", fontsize=10, loc="left")
    axes.set_xlim(0, max([value for value in values.values() if value] or [1.0]) * 1.25)
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
