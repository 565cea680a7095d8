"""What hooks cost: ``python -m bench.hooks``, half a minute. Extra ``otel`` and opentelemetry-sdk are used.

CPU of one `get` without hooks, with a hook that does nothing, and with OpenTelemetry and its SDK, in turn
in one process, so that what the machine does meanwhile falls on all alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from bench.contenders import KEY
from bench.server import Plan, ask, running
from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.otel import OpenTelemetry

_ROUNDS = 30
_GETS = 400
_WIDTH = 8
_CHECKS = 3
"""Places on the way of one `get` that look whether there are hooks: the call, and two in the request."""


class _Bare:
    hooks: Any = None


def _a_check() -> float:
    """Microseconds of one look that finds no hooks."""
    bare = _Bare()

    def looks() -> None:
        if bare.hooks is not None:
            raise AssertionError

    def nothing() -> None:
        pass

    def best(of: Callable[[], None]) -> float:
        return min(timeit.repeat(of, number=100_000, repeat=9)) * 10

    return best(looks) - best(nothing)


async def _measure(url: str, rounds: int) -> dict[str, float]:
    job_id = ask(url, "start")["ids"][0]
    otel = OpenTelemetry(
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
    )
    kinds: dict[str, list[Any]] = {
        "none": [],
        "none again": [],
        "one, idle": [lambda _: None],
        "otel": [otel],
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    clients = {
        kind: FineTuneClient(KEY, base_url=f"{url}/api/v1", hooks=hooks) for kind, hooks in kinds.items()
    }

    async def some(client: FineTuneClient, count: int) -> None:
        for _ in range(count):
            await client.get(job_id)

    for number in range(rounds + 1):
        for kind, client in clients.items():
            before = time.process_time()
            await asyncio.gather(*(some(client, _GETS // _WIDTH) for _ in range(_WIDTH)))
            if number:
                taken[kind].append(1e6 * (time.process_time() - before) / _GETS)
    for client in clients.values():
        await client.close()
    return {kind: statistics.median(times) for kind, times in taken.items()}


def main(rounds: int = _ROUNDS) -> None:
    """Print the table."""
    with running(Plan(1)) as url:
        found = asyncio.run(_measure(url, rounds))
    print("| hooks | CPU of one get | ratio |\n| --- | --- | --- |")
    for kind, us in found.items():
        print(f"| {kind} | {us:.0f} µs | {us / found['none']:.3f} |")
    check = _a_check()
    print(f"\nA look that finds no hooks: {check:.3f} µs; {_CHECKS} on the way of one get are "
          f"{100 * _CHECKS * check / found['none']:.2f} % of it.")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
