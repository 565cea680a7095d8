"""``python -m bench``: run scenarios, print the table, keep the numbers and the chart."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from bench.contenders import OPENERS, installed
from bench.report import chart, table, with_figures
from bench.scenarios import SCENARIOS

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results.json"
_DOCS = _HERE.parent / "docs"
_CHART = _DOCS / "assets" / "bench.svg"
_PAGE = _DOCS / "explanation" / "benchmarks.md"
_PACKAGES = ("dashscope-ft-async", "aiohttp", "orjson", "dashscope", "httpx", "pydantic", "openai")


def main() -> int:
    """The command."""
    options = _parser().parse_args()
    if options.chart:
        _publish(orjson.loads(_RESULTS.read_bytes()), options.png)
        return 0
    names = [name for name in OPENERS if name in installed() and name in options.only]
    report: dict[str, Any] = {"quick": options.quick, "machine": _machine(), "scenarios": {}}
    for scenario in options.scenarios or SCENARIOS:
        print(f"{scenario}: {SCENARIOS[scenario].about} …", file=sys.stderr, flush=True)
        report["scenarios"][scenario] = SCENARIOS[scenario].run(names, options.quick)
        _keep(report, options.output)
    print(table(report["scenarios"], judged=not options.quick))
    if options.quick:
        print("\nA quick run: a tenth of what the lines say, or less, so nothing is judged.")
    if not options.scenarios and not options.quick and set(names) == set(OPENERS):
        _keep(report, _RESULTS)
        _publish(report, options.png)
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {scenario.name:14}{scenario.about}" for scenario in SCENARIOS.values())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the ways to wait for fine-tune jobs, side by side.",
        epilog=f"scenarios:\n{lines}\n\nA whole run (no scenario named) keeps results.json and the chart.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # argparse holds the empty list, the default, against the choices too.
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(OPENERS),
        metavar="NAME,…",
        help=f"contenders to run: {', '.join(OPENERS)}",
    )
    parser.add_argument("--output", type=Path, help="write the numbers to this file as well")
    parser.add_argument("--chart", action="store_true", help="only chart and page, from results.json")
    parser.add_argument("--png", type=Path, help="draw the chart into this file as well")
    return parser


def _keep(report: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def _publish(report: dict[str, Any], png: Path | None) -> None:
    """Draw the chart, and write the figures into their page."""
    _CHART.parent.mkdir(exist_ok=True)
    chart(report["scenarios"], _CHART, *([] if png is None else [png]))
    _PAGE.write_text(with_figures(_PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
