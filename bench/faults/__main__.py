"""``python -m bench.faults``: every row against every contender; prints the table."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import attrs
import orjson

from bench.contenders import OPENERS, Way, installed
from bench.faults.judging import judge
from bench.faults.report import RESULTS, TITLES, Report, table, write
from bench.faults.rows import ROWS
from bench.faults.runner import Open, Pace, play_all
from tests.support.adversary import JOB_ID

PACE = Pace(interval=0.05, request=1.0, deadline=3.0, patience=18.0, cap=20.0)
_PACKAGES = {"ours": "dashscope-ft-async", "dashscope": "dashscope", "bare": "aiohttp"}


def main() -> int:
    """The command."""
    options = _parser().parse_args()
    rows = [row for row in ROWS if options.match in f"{row.group}: {row.name}"]
    names = [name for name in TITLES if name in installed() and name in options.only]
    report: Report = {
        "python": platform.python_version(),
        "versions": {_PACKAGES[name]: version(_PACKAGES[name]) for name in names},
        "pace": attrs.asdict(PACE),
        "rows": [{"group": row.group, "name": row.name, "wanted": str(row.want)} for row in rows],
    }
    for name in names:
        print(f"{TITLES[name]}: {len(rows)} rows …", file=sys.stderr, flush=True)
        seen = play_all(rows, _opener(name), PACE)
        for told, row in zip(report["rows"], rows, strict=True):
            told[name] = judge(row.want, seen[row], JOB_ID)
    print(table(report))
    if len(rows) == len(ROWS) and names == list(TITLES):
        RESULTS.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
        write(orjson.loads(RESULTS.read_bytes()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description="Let each contender wait through every way in which an answer can go wrong.",
        epilog="A whole run (all rows, all contenders) keeps faults.json and the table of the docs.",
    )
    parser.add_argument("--match", default="", metavar="TEXT", help="only rows with this in their name")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(TITLES),
        metavar="NAME,…",
        help=f"contenders to run: {', '.join(TITLES)}",
    )
    return parser


def _opener(name: str) -> Open:
    """The contender as it comes, its interval and time-outs apart."""

    @asynccontextmanager
    async def opened(url: str, pace: Pace) -> AsyncIterator[Way]:
        async with OPENERS[name](url, pace.interval, timeout=pace.request) as way:
            if name != "bare":
                yield way
                return

            # The loop has no deadline of its own; whoever writes one puts this around it.
            async def wait(job_id: str, *, timeout: float) -> object:
                async with asyncio.timeout(timeout):
                    return await way.wait(job_id)

            yield attrs.evolve(way, wait=wait)

    return opened


if __name__ == "__main__":
    sys.exit(main())
