"""``python -m bench``: run scenarios, print the table, store the numbers and the chart."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from bench.contenders import TITLES, installed
from bench.report import chart, table, with_figures
from bench.scenarios import SCENARIOS

_FOLDER = Path(__file__).parent
_RESULTS = _FOLDER / "results.json"
_DOCS = _FOLDER.parent / "docs"
_CHART = _DOCS / "assets" / "bench.svg"
_PAGE = _DOCS / "explanation" / "benchmarks.md"
_PACKAGES = (
    "dashscope-ft-async",
    "aiohttp",
    "orjson",
    "cattrs",
    "dashscope",
    "httpx",
    "pydantic",
    "openai",
)


def main() -> int:
    """Run the command."""
    options = _parser().parse_args()
    if options.chart:
        _publish(orjson.loads(_RESULTS.read_bytes()), options.png)
        return 0
    names = [name for name in installed() if name in options.only]
    report: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "quick": options.quick,
        "machine": _machine(),
        "scenarios": {},
    }
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        print(f"{name}: {scenario.about} …", file=sys.stderr, flush=True)
        contenders = [each for each in names if each in scenario.contenders]
        report["scenarios"][name] = scenario.run(contenders, options.quick)
        _store(report, options.output)
    print(table(report["scenarios"], goals=not options.quick))
    if options.quick:
        print("\nA quick run has fewer jobs and less time than the table says. Goals do not apply to it.")
    if not options.scenarios and not options.quick and set(names) == set(TITLES):
        _store(report, _RESULTS)
        _publish(report, options.png)
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:17} {scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure clients that wait for fine-tuning jobs, side by side.",
        epilog=f"scenarios:\n{lines}\n\nA run of all of them stores the numbers, the chart and the page.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # argparse checks the default, an empty list, against the choices too.
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--quick", action="store_true", help="small numbers, only to see that it works")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(TITLES),
        metavar="NAME,…",
        help=f"contenders to run: {', '.join(TITLES)}",
    )
    parser.add_argument("--output", type=Path, help="write the numbers to this file as well")
    parser.add_argument("--chart", action="store_true", help="write chart and page from bench/results.json")
    parser.add_argument("--png", type=Path, help="draw the chart into this file as well")
    return parser


def _store(report: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def _publish(report: dict[str, Any], png: Path | None) -> None:
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
