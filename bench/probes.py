"""What a fresh process measures of one contender: ``python -m bench.probes PROBE CONTENDER {…}``.

Prints one JSON object. CPU is `time.process_time` of this process alone; imports, the first connection and
the service's bookkeeping are outside of it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
import os
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson

from bench.contenders import KEY, OPENERS, Way
from bench.server import ask

Numbers: TypeAlias = dict[str, Any]

_QUIET = 2.0
_PATIENCE = 120.0
_PACE = 50


async def get(name: str, url: str, *, gets: int) -> Numbers:
    """Microseconds of CPU for one `get`, at 8 and at 32 at once."""
    result: Numbers = {}
    job_ids = ask(url, "start")["ids"]
    async with OPENERS[name](url, 2.0) as way:
        for width in (8, 32):
            await _gets(way, job_ids[0], width, 10 * width)
            before = time.process_time()
            await _gets(way, job_ids[0], width, gets)
            result[f"us_at_{width}"] = 1e6 * (time.process_time() - before) / gets
    return result


async def _gets(way: Way, job_id: str, width: int, count: int) -> None:
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await way.get(job_id)

    await asyncio.gather(*(work() for _ in range(width)))


async def waits(name: str, url: str, *, interval: float, limit: float) -> Numbers:
    """One wait for each job, all at once: CPU, requests, lost waits, lag from end to return.

    Waits that raise, and waits that have not returned after `limit` seconds, are lost.
    """
    lags: list[float] = []
    errors: Counter[str] = Counter()
    async with OPENERS[name](url, interval) as way:
        await way.get(ask(url, "start")["ids"][0])
        plan = ask(url, "start")
        ends = plan["ends"]

        async def one(job_id: str) -> None:
            try:
                await way.wait(job_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, this wait is lost
                errors[type(error).__name__] += 1
            else:
                lags.append(time.monotonic() - ends[job_id])

        gc.collect()
        wall, cpu = time.monotonic(), time.process_time()
        tasks = [asyncio.create_task(one(job_id)) for job_id in ends]
        await asyncio.wait(tasks, timeout=limit)
        result = {
            "waits": len(tasks),
            "cpu": time.process_time() - cpu,
            "wall": time.monotonic() - wall,
            "lost": len(tasks) - len(lags),
            "errors": dict(errors),
            "lag_p50": _quantile(lags, 0.5),
            "lag_p99": _quantile(lags, 0.99),
            "lag_least": min(lags, default=None),
            "requests": ask(url, "report"),
        }
        _leave(result)
    return result


async def memory(name: str, url: str, *, waits: int, traced: bool) -> Numbers:
    """Bytes per wait that sleeps between two polls: of the process, or as tracemalloc splits them."""
    process: Any = importlib.import_module("psutil").Process()
    async with OPENERS[name](url, 600.0) as way:
        job_ids = ask(url, "start")["ids"][:waits]
        await way.get(job_ids[0])
        ask(url, "start")
        gc.collect()
        if traced:
            tracemalloc.start()
        before = process.memory_info().rss
        tasks: list[asyncio.Future[Any]] = []
        for job_id in job_ids:
            tasks.append(asyncio.ensure_future(way.wait(job_id)))
            # The SDKs' pools choke on such a crowd; started in small groups, they too come to rest.
            if name in ("dashscope", "openai") and len(tasks) % _PACE == 0:
                await _until(lambda: bool(_asked(ask(url, "report")) >= len(tasks)), 0.02)
        rested = await _rest(url)
        gc.collect()
        rss = process.memory_info().rss - before
        pending = sum(not task.done() for task in tasks)
        result: Numbers = {"pending": pending, "rested_s": rested, "rss": rss / waits}
        if traced:
            result |= _split(waits)
        _leave(result)
    return result


def _split(waits: int) -> Numbers:
    """Whose line made what is alive: the last snapshots, the rest of our files, everything else."""
    kinds: Counter[str] = Counter()
    for statistic in tracemalloc.take_snapshot().statistics("filename"):
        kinds[_kind(statistic.traceback[0].filename)] += statistic.size
    return {f"traced_{kind}": size / waits for kind, size in kinds.items()}


def _kind(filename: str) -> str:
    if "dashscope_ft_async" not in filename:
        return "others"
    snapshot = "_wire" in filename or "models" in filename
    return "snapshot" if snapshot else "ours"


async def scale(name: str, url: str, *, seconds: float) -> Numbers:
    """Waits under the default policy, some of which end: CPU per minute, and lag against the interval."""
    del name
    library: Any = importlib.import_module("dashscope_ft_async")
    poll = library.PollPolicy()
    late: list[float] = []
    lags: list[float] = []
    async with library.FineTuneClient(KEY, base_url=f"{url}/api/v1") as client:
        await client.get(ask(url, "start")["ids"][0])
        plan = ask(url, "start")
        began, ends = time.monotonic(), plan["ends"]

        async def one(job_id: str) -> None:
            await client.wait_for_terminal(job_id)
            lag = time.monotonic() - ends[job_id]
            lags.append(lag)
            late.append(lag - poll.interval(ends[job_id] - began, 1.0))

        cpu = time.process_time()
        tasks = [asyncio.create_task(one(job_id)) for job_id in plan["ids"]]
        await asyncio.sleep(seconds)
        spent, wall = time.process_time() - cpu, time.monotonic() - began
        result = {
            "waits": len(tasks),
            "cpu_per_minute": 60 * spent / wall,
            "ended": len(ends),
            "lost": len(ends) - len(lags),
            "lag_p50": _quantile(lags, 0.5),
            "lag_p99": _quantile(lags, 0.99),
            "late_p99": _quantile(late, 0.99),
            "requests": ask(url, "report"),
        }
        _leave(result)
    return result


async def crowd(name: str, url: str, *, waits: int) -> Numbers:
    """So many waits registered, all seen once, then closed."""
    del name
    process: Any = importlib.import_module("psutil").Process()
    async with OPENERS["ours"](url, 600.0) as way:
        job_ids = ask(url, "start")["ids"][:waits]
        await way.get(job_ids[0])
        ask(url, "start")
        gc.collect()
        rss, began = process.memory_info().rss, time.monotonic()
        tasks = [asyncio.ensure_future(way.wait(job_id)) for job_id in job_ids]
        await asyncio.sleep(0)
        registered = time.monotonic() - began
        idle_rss = process.memory_info().rss - rss
        cpu = time.process_time()
        rested = await _rest(url)
        cpu = time.process_time() - cpu
        seen_rss = process.memory_info().rss - rss
        pending = sum(not task.done() for task in tasks)
        requests = ask(url, "report")
        began = time.monotonic()
        await way.client.close()
        closed = time.monotonic() - began
        await asyncio.wait(tasks)
    return {
        "waits": pending,
        "register_s": registered,
        "first_look_s": rested,
        "first_look_cpu": cpu,
        "close_s": closed,
        "all_ended_s": time.monotonic() - began,
        "rss_mb_registered": idle_rss / 1e6,
        "rss_mb_seen": seen_rss / 1e6,
        "requests": requests,
    }


def _quantile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def _asked(report: Numbers) -> int:
    return sum(int(count) for kind, count in report.items() if kind != "server_cpu")


async def _until(met: Callable[[], bool], step: float) -> None:
    while not met():
        await asyncio.sleep(step)


async def _rest(url: str) -> float | None:
    """Seconds until nobody asks anything for a while; `None` where that takes too long."""
    began = since = time.monotonic()
    asked = -1
    while (now := time.monotonic()) - began < _PATIENCE:
        if now - since >= _QUIET:
            return since - began
        await asyncio.sleep(_QUIET / 8)
        if asked != (asked := _asked(ask(url, "report"))):
            since = time.monotonic()
    return None


def _leave(result: Numbers) -> None:
    """Print and go: thousands of waits under way need no farewell."""
    _print(result)
    os._exit(0)


def _print(result: Numbers) -> None:
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
    sys.stdout.buffer.flush()


_PROBES: dict[str, Callable[..., Awaitable[Numbers]]] = {
    "get": get,
    "waits": waits,
    "memory": memory,
    "scale": scale,
    "crowd": crowd,
}


def main() -> None:
    """Run the probe that the command line names."""
    _, probe, name, options = sys.argv

    async def probed() -> Numbers:
        return await _PROBES[probe](name, **orjson.loads(options))

    _print(asyncio.run(probed()))


if __name__ == "__main__":
    main()
