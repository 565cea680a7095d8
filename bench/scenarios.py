"""What is measured, of whom, in which order. Each measurement is a fresh process beside a fresh service."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from bench.contenders import MODULES
from bench.probes import Numbers
from bench.server import Plan, running

Results: TypeAlias = dict[str, Numbers]
"""The numbers of each contender."""

_WALL_LIMIT = 90.0
_GRACE = 90.0
_IMPORT = """
import sys, time
before, wall, cpu = len(sys.modules), time.perf_counter(), time.process_time()
import {module}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print('{{"wall_ms": %f, "cpu_ms": %f, "modules": %d}}' % (1e3 * wall, 1e3 * cpu, len(sys.modules) - before))
"""


@attrs.frozen
class Scenario:
    """A name, what it does, and how: called with the contenders and whether it shall be quick."""

    name: str
    about: str
    run: Callable[[Sequence[str], bool], Results]


def _probe(probe: str, name: str, plan: Plan, **options: Any) -> Numbers:
    with running(plan) as url:
        arguments = orjson.dumps({"url": url, **options}).decode()
        command = [sys.executable, "-m", "bench.probes", probe, name, arguments]
        seconds = options.get("limit", options.get("seconds", 240.0)) + _GRACE
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=True)
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {seconds:g} s"}
        except subprocess.CalledProcessError as error:
            return {"failed": error.stderr.decode().strip().rpartition("\n")[2]}
    numbers: Numbers = orjson.loads(done.stdout.splitlines()[-1])
    return numbers


def _medians(runs: Sequence[Numbers]) -> Numbers:
    good = [run for run in runs if "failed" not in run]
    if not good:
        return runs[0]
    return {key: statistics.median(run[key] for run in good) for key in good[0]}


def _get(names: Sequence[str], quick: bool) -> Results:
    rounds, gets = (2, 200) if quick else (7, 1500)
    runs = [{name: _probe("get", name, Plan(1), gets=gets) for name in names} for _ in range(rounds)]
    return {name: _medians([run[name] for run in runs]) for name in names}


def _waits(jobs: int, rate: float | None = None) -> Callable[[Sequence[str], bool], Results]:
    def run(names: Sequence[str], quick: bool) -> Results:
        count, first, last = (jobs // 10, 2.0, 5.0) if quick else (jobs, 8.0, 18.0)
        limit = 15.0 if quick else _WALL_LIMIT
        plan = Plan(count, first, last, rate=rate and (rate / 10 if quick else rate))
        return {name: _probe("waits", name, plan, interval=2.0, limit=limit) for name in names}

    return run


def _memory(names: Sequence[str], quick: bool) -> Results:
    waits = 1_000 if quick else 10_000
    results = {name: _probe("memory", name, Plan(waits), waits=waits, traced=False) for name in names}
    for name in {"bare", "ours"} & set(names):
        traced = _probe("memory", name, Plan(waits), waits=waits, traced=True)
        results[name] |= {key: value for key, value in traced.items() if key.startswith("traced_")}
    return results


def _import(names: Sequence[str], quick: bool) -> Results:
    runs: dict[str, list[Numbers]] = {name: [] for name in names}
    for number in range(4 if quick else 16):
        for name in names:
            command = [sys.executable, "-c", _IMPORT.format(module=MODULES[name])]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            if number:  # the first finds cold caches
                runs[name].append(orjson.loads(done.stdout))
    return {name: _medians(each) for name, each in runs.items()}


def _scale_10000(names: Sequence[str], quick: bool) -> Results:
    if "ours" not in names:
        return {}
    jobs, seconds = (1_000, 20.0) if quick else (10_000, 80.0)
    plan = Plan(jobs, seconds / 8, seconds / 2, ending=jobs // 5)
    return {"ours": _probe("scale", "ours", plan, seconds=seconds)}


def _scale_100000(names: Sequence[str], quick: bool) -> Results:
    if "ours" not in names:
        return {}
    jobs = 10_000 if quick else 100_000
    return {"ours": _probe("crowd", "ours", Plan(jobs), waits=jobs)}


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("get", "CPU of one get, at 8 and at 32 at once", _get),
        Scenario("waits-500", "500 waits, every 2 s, jobs ending between 8 s and 18 s", _waits(500)),
        Scenario("waits-2000", "2,000 waits, the same", _waits(2_000)),
        Scenario("limited-500", "500 waits under 50 requests per second", _waits(500, 50.0)),
        Scenario("memory", "bytes per wait, 10,000 of them asleep between polls", _memory),
        Scenario("import", "the first import in a fresh interpreter", _import),
        Scenario("scale-10000", "10,000 waits under the default policy, ours alone", _scale_10000),
        Scenario("scale-100000", "100,000 waits registered, seen and closed, ours alone", _scale_100000),
    )
}
