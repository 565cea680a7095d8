"""The measurements of one contender in a fresh process: ``python -m bench.probes PROBE CONTENDER {…}``.

Prints one JSON object. CPU is `time.process_time` of this process alone. Imports, the first connection and
the requests that control the service are not counted.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
import os
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson

from bench.contenders import CONTENDERS, KEY
from bench.server import control

Numbers: TypeAlias = dict[str, Any]

_QUIET = 2.0
"""Seconds without a request after which the waits are taken to be asleep."""
_QUIET_TIMEOUT = 120.0
_GROUP = 50
"""How many waits of an SDK `memory` starts at once."""


async def get(name: str, url: str, *, gets: int) -> Numbers:
    """Microseconds of CPU for one `get`, with 8 and with 32 at once."""
    result: Numbers = {}
    [job_id] = control(url, "start")["ids"]
    async with CONTENDERS[name].open(url, 2.0) as client:
        for width in (8, 32):
            await _gets(client, job_id, width, 10 * width)
            before = time.process_time()
            await _gets(client, job_id, width, gets)
            result[f"us_at_{width}"] = 1e6 * (time.process_time() - before) / gets
    return result


async def _gets(client: Any, job_id: str, width: int, count: int) -> None:
    remaining = iter(range(count))

    async def work() -> None:
        for _ in remaining:
            await client.get(job_id)

    await asyncio.gather(*(work() for _ in range(width)))


async def hooks(name: str, url: str, *, rounds: int, gets: int) -> Numbers:
    """Microseconds of CPU for one `get` without hooks, with an idle hook, and with OpenTelemetry."""
    sdk, export = (
        importlib.import_module(f"opentelemetry.sdk.{each}") for each in ("metrics", "metrics.export")
    )
    traces: Any = importlib.import_module("opentelemetry.sdk.trace")
    meters = sdk.MeterProvider([export.InMemoryMetricReader()], shutdown_on_exit=False)
    tracers = traces.TracerProvider(shutdown_on_exit=False)
    telemetry = importlib.import_module(f"{name}.otel").OpenTelemetry
    kinds: dict[str, list[Any]] = {
        "us_none": [],
        "us_idle": [lambda _: None],
        "us_otel": [telemetry(tracer_provider=tracers, meter_provider=meters)],
    }
    [job_id] = control(url, "start")["ids"]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    async with AsyncExitStack() as stack:
        clients = {
            kind: await stack.enter_async_context(_default_client(name, url, hooks=each))
            for kind, each in kinds.items()
        }
        for number in range(rounds + 1):
            for kind, client in clients.items():
                before = time.process_time()
                await _gets(client, job_id, 8, gets)
                if number:  # the first round opens the connections
                    times[kind].append(1e6 * (time.process_time() - before) / gets)
    return {kind: statistics.median(each) for kind, each in times.items()}


async def waits(
    name: str, url: str, *, interval: float, limit: float, part: tuple[int, int] | None = None
) -> Numbers:
    """One wait for each job that ends, all at once: CPU, requests, lost waits, lag from end to return.

    A wait is lost if it raises or has not returned after `limit` seconds. `part` is the number of this
    process and of how many: it waits for its share of the jobs, and the service has been started already.
    """
    base_url = url if part is None else f"{url}/p{part[0]}"
    async with CONTENDERS[name].open(base_url, interval) as client:
        await client.get(control(url, "plan")["ids"][0])
        ends: dict[str, float] = control(url, "start" if part is None else "plan")["ends"]
        job_ids = list(ends) if part is None else list(ends)[part[0] :: part[1]]
        lags: list[float] = []
        errors: Counter[str] = Counter()

        async def wait(job_id: str) -> None:
            try:
                await client.wait(job_id)
            except Exception as error:  # noqa: BLE001 - a wait that raises anything is lost
                errors[type(error).__name__] += 1
            else:
                lags.append(time.monotonic() - ends[job_id])

        gc.collect()
        wall, cpu = time.monotonic(), time.process_time()
        await asyncio.wait([asyncio.create_task(wait(job_id)) for job_id in job_ids], timeout=limit)
        result = {
            "waits": len(job_ids),
            "cpu": time.process_time() - cpu,
            "wall": time.monotonic() - wall,
            "lost": len(job_ids) - len(lags),
            "errors": dict(errors),
            "lag_p50": _quantile(lags, 0.5),
            "lag_p99": _quantile(lags, 0.99),
            **control(url, "report"),
        }
        _exit(result)
    return result


async def memory(name: str, url: str, *, traced: bool) -> Numbers:
    """Bytes per wait that sleeps between two polls: resident, or as tracemalloc attributes them."""
    process: Any = importlib.import_module("psutil").Process()
    async with CONTENDERS[name].open(url, 600.0) as client:
        job_ids = control(url, "start")["ids"]
        await client.get(job_ids[0])
        control(url, "start")
        gc.collect()
        if traced:
            tracemalloc.start()
        before = process.memory_info().rss
        tasks: list[asyncio.Future[Any]] = []
        for job_id in job_ids:
            tasks.append(asyncio.ensure_future(client.wait(job_id)))
            # With all waits started at once, the SDKs' connection pools need minutes for the first polls.
            if name in ("dashscope", "openai") and len(tasks) % _GROUP == 0:
                while _requests(url) < len(tasks):
                    await asyncio.sleep(0.02)
        asleep_after = await _until_quiet(url)
        gc.collect()
        rss = process.memory_info().rss - before
        pending = sum(not task.done() for task in tasks)
        result: Numbers = {"pending": pending, "asleep_after": asleep_after, "rss": rss / len(job_ids)}
        if traced:
            for statistic in tracemalloc.take_snapshot().statistics("filename"):
                key = f"traced_{_owner(statistic.traceback[0].filename)}"
                result[key] = result.get(key, 0.0) + statistic.size / len(job_ids)
        _exit(result)
    return result


def _owner(filename: str) -> str:
    if "dashscope_ft_async" not in filename:
        return "others"
    return "snapshot" if "/wire/" in filename or "/models/" in filename else "library"


async def register(name: str, url: str) -> Numbers:
    """A wait for each job: time and memory until all are registered, then observed once, then closed."""
    process: Any = importlib.import_module("psutil").Process()
    async with CONTENDERS[name].open(url, 600.0) as client:
        job_ids = control(url, "start")["ids"]
        await client.get(job_ids[0])
        control(url, "start")
        gc.collect()
        rss, began = process.memory_info().rss, time.monotonic()
        tasks = [asyncio.ensure_future(client.wait(job_id)) for job_id in job_ids]
        await asyncio.sleep(0)
        result: Numbers = {"register_s": time.monotonic() - began}
        result["mb_registered"] = (process.memory_info().rss - rss) / 1e6
        cpu = time.process_time()
        result["observed_s"] = await _until_quiet(url)
        result["observed_cpu"] = time.process_time() - cpu
        result["mb_observed"] = (process.memory_info().rss - rss) / 1e6
        result["waits"] = sum(not task.done() for task in tasks)
        result |= control(url, "report")
        began = time.monotonic()
        await client.client.close()
        result["close_s"] = time.monotonic() - began
        await asyncio.wait(tasks)
        result["all_ended_s"] = time.monotonic() - began
    return result


async def steady(name: str, url: str, *, hours: float, warm_up: float, seconds: float) -> Numbers:
    """Waits that began hours ago, for the jobs that run, with the default policy: requests and CPU.

    What is sent in the first `warm_up` seconds is not counted.
    """
    state: Any = importlib.import_module(name).WatchState
    started = datetime.now(UTC) - timedelta(hours=hours)
    async with _default_client(name, url) as client:
        job_ids = control(url, "start")["running"]
        states = [state(job_id=each, base_url=client.base_url, started=started) for each in job_ids]
        tasks = [asyncio.create_task(client.resume(each)) for each in states]
        await asyncio.sleep(warm_up)
        before, observed = control(url, "report")["requests"], client.stats().observations
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        after, minutes = control(url, "report")["requests"], (time.monotonic() - began) / 60
        requests = {kind: count - before.get(kind, 0) for kind, count in after.items()}
        observations = client.stats().observations - observed
        result = {
            "waits": sum(not task.done() for task in tasks),
            "requests": requests,
            "requests_per_minute": sum(requests.values()) / minutes,
            "observations": observations,
            "requests_per_observation": sum(requests.values()) / max(1, observations),
            "cpu_per_minute": (time.process_time() - cpu) / minutes,
        }
        _exit(result)
    return result


def _default_client(name: str, url: str, **options: Any) -> Any:
    return importlib.import_module(name).FineTuneClient(KEY, base_url=f"{url}/api/v1", **options)


def _quantile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def _requests(url: str) -> int:
    return sum(control(url, "report")["requests"].values())


async def _until_quiet(url: str) -> float | None:
    """Wait until no request comes for a while. Returns the seconds before that; `None` is a time-out."""
    began = last = time.monotonic()
    requests = -1
    with suppress(TimeoutError):
        async with asyncio.timeout(_QUIET_TIMEOUT):
            while time.monotonic() - last < _QUIET:
                await asyncio.sleep(_QUIET / 8)
                if requests != (requests := _requests(url)):
                    last = time.monotonic()
            return last - began
    return None


def _exit(result: Numbers) -> None:
    """Print the result and end the process at once: there may be thousands of pending waits."""
    _print(result)
    os._exit(0)


def _print(result: Numbers) -> None:
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
    sys.stdout.buffer.flush()


_PROBES: dict[str, Callable[..., Awaitable[Numbers]]] = {
    probe.__name__: probe for probe in (get, hooks, waits, memory, register, steady)
}


async def _main() -> None:
    _, probe, name, options = sys.argv
    _print(await _PROBES[probe](name, **orjson.loads(options)))


if __name__ == "__main__":
    asyncio.run(_main())
