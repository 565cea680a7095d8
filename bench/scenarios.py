"""The scenarios: which probe, against which plan of the service, for which contenders.

Each measurement runs in a fresh process, beside a fresh service.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from bench.contenders import CONTENDERS, LIBRARY
from bench.probes import Numbers
from bench.server import Plan, control, running

Results: TypeAlias = dict[str, Numbers]
"""The numbers of each contender."""
Run: TypeAlias = Callable[[Sequence[str], bool], Results]
"""Called with the contenders and whether the run is a quick one."""

_PROCESSES = 4
_GRACE = 90.0
"""Seconds that a probe may take for everything but its measurement."""
_IMPORT = """
import sys, time
before, wall, cpu = len(sys.modules), time.perf_counter(), time.process_time()
import {module}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print('{{"wall_ms": %f, "cpu_ms": %f, "modules": %d}}' % (1e3 * wall, 1e3 * cpu, len(sys.modules) - before))
"""


@attrs.frozen
class Scenario:
    """What is measured, and of which contenders."""

    about: str
    run: Run
    contenders: tuple[str, ...] = tuple(CONTENDERS)


def _start(probe: str, name: str, url: str, **options: Any) -> subprocess.Popen[bytes]:
    arguments = orjson.dumps({"url": url, **options}).decode()
    command = [sys.executable, "-m", "bench.probes", probe, name, arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _result(process: subprocess.Popen[bytes], seconds: float) -> Numbers:
    with process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return {"failed": f"not finished after {seconds:g} s"}
    if process.returncode:
        return {"failed": stderr.decode().strip().rpartition("\n")[2]}
    numbers: Numbers = orjson.loads(stdout.splitlines()[-1])
    return numbers


def _seconds(options: dict[str, Any]) -> float:
    measured = options.get("limit", options.get("seconds", 240.0)) + options.get("warm_up", 0.0)
    return float(measured) + _GRACE


def _probe(probe: str, name: str, plan: Plan, **options: Any) -> Numbers:
    with running(plan) as url:
        return _result(_start(probe, name, url, **options), _seconds(options))


def _medians(runs: Sequence[Numbers]) -> Numbers:
    good = [run for run in runs if "failed" not in run]
    if not good:
        return runs[0]
    return {key: statistics.median(run[key] for run in good) for key in good[0]}


def _probed(probe: str, **settings: tuple[Any, Any]) -> Run:
    """One probe of each contender. Each setting has a value for a whole run and one for a quick run."""

    def run(names: Sequence[str], quick: bool) -> Results:
        options = {key: values[quick] for key, values in settings.items()}
        plan = options.pop("plan")
        return {name: _probe(probe, name, plan, **options) for name in names}

    return run


def _waits(jobs: int, rate: float | None = None) -> Run:
    quick_rate = rate and rate / 10
    return _probed(
        "waits",
        plan=(Plan(jobs, 8.0, 18.0, rate=rate), Plan(jobs // 10, 2.0, 5.0, rate=quick_rate)),
        interval=(2.0, 2.0),
        limit=(90.0, 15.0),
    )


def _get(names: Sequence[str], quick: bool) -> Results:
    rounds, gets = (2, 200) if quick else (7, 1500)
    runs = [{name: _probe("get", name, Plan(1), gets=gets) for name in names} for _ in range(rounds)]
    return {name: _medians([run[name] for run in runs]) for name in names}


def _processes(names: Sequence[str], quick: bool) -> Results:
    """The waits divided among processes that know nothing of each other."""
    plan = Plan(100, 5.0, 15.0, rate=10.0) if quick else Plan(1_000, 15.0, 60.0, rate=20.0)
    options = {"interval": 2.0, "limit": 60.0 if quick else 150.0}
    results: Results = {}
    for name in names:
        with running(plan) as url:
            control(url, "start")
            parts = [(number, _PROCESSES) for number in range(_PROCESSES)]
            started = [_start("waits", name, url, part=part, **options) for part in parts]
            found = [_result(process, _seconds(options)) for process in started]
            report = control(url, "report")
        if failed := [each for each in found if "failed" in each]:
            results[name] = failed[0]
            continue
        accepted = [report["accepted"].get(f"/p{number}", 0) for number in range(_PROCESSES)]
        results[name] = {
            "waits": sum(each["waits"] for each in found),
            "cpu": sum(each["cpu"] for each in found),
            "lost": sum(each["lost"] for each in found),
            # Of the process in which it is longest.
            "lag_p99": max((each["lag_p99"] for each in found if each["lag_p99"]), default=None),
            "shares": [count / max(1, sum(accepted)) for count in accepted],
            "share_factor": max(accepted) / max(1, min(accepted)),
            **report,
        }
    return results


def _memory(names: Sequence[str], quick: bool) -> Results:
    plan = Plan(1_000 if quick else 10_000)
    results = {name: _probe("memory", name, plan, traced=False) for name in names}
    for name in {"bare", LIBRARY} & set(names):
        traced = _probe("memory", name, plan, traced=True)
        results[name] |= {key: value for key, value in traced.items() if key.startswith("traced_")}
    return results


def _import(names: Sequence[str], quick: bool) -> Results:
    runs: dict[str, list[Numbers]] = {name: [] for name in names}
    for number in range(4 if quick else 16):
        for name in names:
            command = [sys.executable, "-c", _IMPORT.format(module=CONTENDERS[name].module)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            if number:  # the first import reads files that are not in the system's cache yet
                runs[name].append(orjson.loads(done.stdout))
    return {name: _medians(each) for name, each in runs.items()}


_LIBRARIES = ("bare", LIBRARY, "dashscope", "openai")

SCENARIOS = {
    "get": Scenario("CPU of one get, with 8 and with 32 at once", _get),
    "waits-500": Scenario("500 waits, a poll every 2 s, jobs end between 8 s and 18 s", _waits(500)),
    "waits-2000": Scenario("the same with 2,000 waits", _waits(2_000)),
    "limited-500": Scenario("waits-500 under a limit of 50 requests per second", _waits(500, 50.0)),
    "limited-500-hard": Scenario(
        "waits-500 under a limit of 10 requests per second", _waits(500, 10.0), ("bare", LIBRARY)
    ),
    "few-at-head": Scenario(
        "5 running jobs at the head of a list of 300, default policy, 2 minutes",
        _probed(
            "steady",
            plan=(Plan(300, ended=295), Plan(300, ended=295)),
            hours=(0.0, 0.0),
            warm_up=(0.0, 0.0),
            seconds=(120.0, 10.0),
        ),
        (LIBRARY,),
    ),
    "long-500": Scenario(
        "500 waits that began 6 hours ago, default policy, 3 minutes after one of warm-up",
        _probed(
            "steady",
            # In the warm-up a few jobs more end, so that the client can learn whether to trust the list.
            plan=(Plan(520, 5.0, 20.0, ending=20), Plan(60, 1.0, 3.0, ending=10)),
            hours=(6.0, 6.0),
            warm_up=(60.0, 5.0),
            seconds=(180.0, 10.0),
        ),
        (LIBRARY,),
    ),
    "processes-4": Scenario(
        "4 processes with 250 waits each, one limit of 20 requests per second", _processes, (LIBRARY,)
    ),
    "hooks": Scenario(
        "CPU of one get with and without hooks (needs opentelemetry-sdk)",
        _probed("hooks", plan=(Plan(1), Plan(1)), rounds=(30, 3), gets=(400, 80)),
        (LIBRARY,),
    ),
    "memory": Scenario("memory per wait, 10,000 of them asleep between polls", _memory, _LIBRARIES),
    "import": Scenario("the first import in a fresh interpreter", _import, _LIBRARIES),
    "scale-100000": Scenario(
        "100,000 waits registered, observed once, and closed",
        _probed("register", plan=(Plan(100_000), Plan(10_000))),
        (LIBRARY,),
    ),
}
