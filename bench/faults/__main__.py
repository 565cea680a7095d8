"""``python -m bench.faults``: run all rows for three clients and print the table."""

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

from bench.contenders import CONTENDERS, LIBRARY, OpenClient, installed
from bench.faults import ROWS
from bench.faults.judging import judge
from bench.faults.report import RESULTS, TITLES, Report, table, write
from bench.faults.runner import Open, Timing, run_all
from tests.support.adversary import JOB_ID

TIMING = Timing(interval=0.05, request=1.0, short_deadline=3.0, deadline=18.0, cancel_after=20.0)
_PACKAGES = {LIBRARY: "dashscope-ft-async", "dashscope": "dashscope", "bare": "aiohttp"}


def main() -> int:
    """Run the command."""
    options = _parser().parse_args()
    rows = [row for row in ROWS if options.match in f"{row.group}: {row.name}"]
    names = [name for name in TITLES if name in installed() and name in options.only]
    report: Report = {
        "python": platform.python_version(),
        "versions": {_PACKAGES[name]: version(_PACKAGES[name]) for name in names},
        "timing": attrs.asdict(TIMING),
        "rows": [{"group": row.group, "name": row.name, "expected": str(row.expected)} for row in rows],
    }
    for name in names:
        print(f"{TITLES[name]}: {len(rows)} rows …", file=sys.stderr, flush=True)
        observed = run_all(rows, _opener(name), TIMING)
        for found, row in zip(report["rows"], rows, strict=True):
            found[name] = judge(row.expected, observed[row], JOB_ID)
    print(table(report))
    if len(rows) == len(ROWS) and names == list(TITLES):
        RESULTS.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
        write(orjson.loads(RESULTS.read_bytes()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description="Let clients wait for a job while responses go wrong, and compare what they do.",
        epilog="A run of all rows and clients writes bench/faults.json and the table in the docs.",
    )
    parser.add_argument(
        "--match", default="", metavar="TEXT", help="only rows with this text in their names"
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(TITLES),
        metavar="NAME,…",
        help=f"clients to run: {', '.join(TITLES)}",
    )
    return parser


def _opener(name: str) -> Open:
    """The client with its defaults, except for the interval and the time-outs."""

    @asynccontextmanager
    async def opened(url: str, timing: Timing) -> AsyncIterator[OpenClient]:
        async with CONTENDERS[name].open(url, timing.interval, timeout=timing.request) as client:

            async def wait(job_id: str, *, timeout: float) -> object:
                async with asyncio.timeout(timeout):
                    return await client.wait(job_id)

            # The loop has no deadline of its own.
            yield attrs.evolve(client, wait=wait) if name == "bare" else client

    return opened


if __name__ == "__main__":
    sys.exit(main())
