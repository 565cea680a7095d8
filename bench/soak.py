"""``python -m bench.soak``: thousands of waits, gets and lists against a service that fails in many ways.

Each wait must end exactly once, and with the job's real end. No task, file descriptor or object may be
left, and memory must return to about where it was. Exits with 1 if any of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs

from dashscope_ft_async import (
    APIError,
    FineTuneClient,
    FineTuneJob,
    NotFoundError,
    PollPolicy,
    RetryPolicy,
    WaitTimeoutError,
)
from tests.support.faulty_service import MISSING, FaultPlan, chosen
from tests.support.local_service import control, running

_GRACE = 90.0
"""Seconds after the last job's end in which the waits must end."""
_LAST_POLL = 2.0
"""Seconds that a poll at a wait's deadline may take."""
_CALLERS = (("with updates", 0.05), ("with a short timeout", 0.05), ("cancelled", 0.05))
"""Kinds of callers and their share of the waits; the others only wait."""


@attrs.define
class Summary:
    """What one run found."""

    plan: FaultPlan
    ends: Counter[str] = attrs.Factory(Counter[str])
    """How the waits ended."""
    lost: int = 0
    """Waits that did not end."""
    clients: list[str] = attrs.Factory(list[str])
    """What the clients were doing when waits were lost."""
    wrong: list[str] = attrs.Factory(list[str])
    """Ends, snapshots and pages that contradict the plan."""
    leaked: Counter[str] = attrs.Factory(Counter[str])
    calls: int = 0
    calls_failed: int = 0
    faults: dict[str, int] = attrs.Factory(dict[str, int])
    seconds: float = 0.0
    cpu: float = 0.0
    blocks: tuple[int, int, int] = (0, 0, 0)
    """Memory blocks allocated by Python before the run, a third of the way through it, and after it."""
    peak_mb: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, wrong or leaked."""
        return not (self.lost or self.wrong or +self.leaked)

    def __str__(self) -> str:
        faults = dict(self.faults)
        requests, missing = faults.pop("requests", 0), faults.pop("404", 0)
        before, during, after = self.blocks
        lines = [
            f"{self.plan.jobs} waits: " + ", ".join(f"{n} {how}" for how, n in self.ends.most_common()),
            f"lost {self.lost}, wrong {len(self.wrong)}, leaked {(+self.leaked).total()}",
            f"{requests} requests, {missing} of them for missing jobs, {sum(faults.values())} faults:",
            *(f"  {n:6} {kind}" for kind, n in sorted(faults.items())),
            f"{self.calls} calls of get and list, {self.calls_failed} of them failed after all attempts",
            f"memory blocks: {before} before, {during} during, {after} after; peak {self.peak_mb:.0f} MB",
            f"{self.seconds:.1f} s, CPU {self.cpu:.1f} s, seed {self.plan.seed}",
            *(f"LOST with {stats}" for stats in self.clients),
            *(f"WRONG {what}" for what in self.wrong[:10]),
            *(f"LEAKED {n} {what}" for what, n in (+self.leaked).items()),
        ]
        return "\n".join(lines)


async def soak(plan: FaultPlan) -> Summary:
    """Run the plan once, and count what is left before and after it."""
    summary = Summary(plan)
    with running("tests.support.faulty_service", plan) as url:
        await _Run(url, summary).warm_up()
        before = _resources()
        began, cpu = time.monotonic(), time.process_time()
        during = await _Run(url, summary).run()
        summary.seconds, summary.cpu = time.monotonic() - began, time.process_time() - cpu
        await asyncio.sleep(0.05)  # transports close in the loop's next iterations
        summary.faults = control(url, "report")
        after = _resources()
    blocks = [before.pop("memory blocks"), during, after.pop("memory blocks")]
    summary.blocks = blocks[0], blocks[1], blocks[2]
    # Allowed: a hundredth of what the waits took, and what the interpreter and aiohttp keep for reuse.
    allowed = max(0, during - blocks[0]) // 100 + 5_000
    summary.leaked["memory blocks"] = max(0, blocks[2] - blocks[0] - allowed)
    for what, count in after.items():
        summary.leaked[what] += count - before[what]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary.peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return summary


def _resources() -> dict[str, int]:
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "file descriptors": len(tuple(Path("/dev/fd").iterdir())),
        "clients and jobs": sum(
            isinstance(each, FineTuneJob | FineTuneClient) for each in gc.get_objects()
        ),
        "memory blocks": sys.getallocatedblocks(),
    }


class _Run:
    def __init__(self, url: str, summary: Summary) -> None:
        self._plan = summary.plan
        self._url = url
        self._summary = summary
        self._loop = asyncio.get_running_loop()
        self._started = 0.0

    def _client(self, number: int) -> FineTuneClient:
        duration = self._plan.duration
        return FineTuneClient(
            "sk-soak",
            base_url=f"{self._url}/{number}/api/v1",
            timeout=max(0.4, min(3.0, duration / 4)),
            poll=PollPolicy(initial=duration / 40, max_interval=duration / 8),
            retry=RetryPolicy(initial=0.02, max_delay=0.3),
        )

    async def warm_up(self) -> None:
        """Create what is created once, at the first use, so that it is not counted as a leak."""
        async with self._client(0) as client:
            for number in range(20):
                await asyncio.gather(
                    client.wait_for_terminal(self._plan.job_id(number), timeout=0), return_exceptions=True
                )

    async def run(self) -> int:
        """Run all waits and calls. Returns the memory blocks allocated while most waits are running."""
        plan, summary = self._plan, self._summary
        clients = [self._client(number) for number in range(plan.clients)]
        self._started = control(self._url, "start")["started"]
        callers = [self._loop.create_task(self._call(number, each)) for number, each in enumerate(clients)]
        waits = [
            self._loop.create_task(self._wait(number, clients[plan.client_of(number)]))
            for number in range(plan.jobs)
        ]
        await asyncio.sleep(plan.duration / 3)
        blocks = sys.getallocatedblocks()
        _, pending = await asyncio.wait(waits, timeout=plan.duration + _GRACE)
        summary.lost = len(pending)
        if pending:
            summary.clients = [str(client.stats()) for client in clients]
        for task in (*callers, *pending):
            task.cancel()
        await asyncio.gather(*callers, *pending, return_exceptions=True)
        for client in clients:
            left = client.stats()
            summary.leaked["waits in clients"] += left.waits + left.jobs + left.queued
            await client.close()
        for task in (*callers, *waits):
            if not task.cancelled() and (error := task.exception()) is not None:
                summary.wrong.append(f"{type(error).__name__}: {error}")
        return blocks

    async def _wait(self, number: int, client: FineTuneClient) -> None:
        plan = self._plan
        job_id, soon = plan.job_id(number), plan.ends_at(number) / 3
        caller = chosen(plan.random("caller", number), _CALLERS)
        updates: list[FineTuneJob] = []
        wait = self._loop.create_task(
            client.wait_for_terminal(
                job_id,
                timeout=soon if caller == "with a short timeout" else None,
                on_update=updates.append if caller == "with updates" else None,
            )
        )
        accepted: list[bool] = []
        timer = self._loop.call_later(soon, lambda: accepted.append(wait.cancel()))
        if caller != "cancelled":
            timer.cancel()
        try:
            await asyncio.wait({wait})
        finally:
            wait.cancel()
        outcome = "cancelled" if wait.cancelled() else wait.exception() or wait.result()
        self._summary.ends[_name(outcome)] += 1
        if not self._is_right(number, caller, outcome, cancelled=accepted == [True]):
            expected = f"{job_id}, {plan.final_status(number)}, {caller or 'no option'}"
            self._summary.wrong.append(f"{expected}: {outcome!r}"[:300])
        if caller == "with updates" and isinstance(outcome, FineTuneJob):
            terminal = [job.is_terminal for job in updates]
            if terminal.count(True) != 1 or not terminal[-1]:
                self._summary.wrong.append(f"updates of {job_id}: {[job.raw_status for job in updates]}")

    def _is_right(self, number: int, caller: str, outcome: object, *, cancelled: bool) -> bool:
        if cancelled or outcome == "cancelled":
            return cancelled and outcome == "cancelled"
        end = self._plan.ends_at(number)
        if isinstance(outcome, WaitTimeoutError):
            return caller == "with a short timeout"
        if isinstance(outcome, NotFoundError):
            return self._plan.final_status(number) == MISSING
        if caller == "with a short timeout" and end / 3 + _LAST_POLL + 1.0 < end:
            return False
        return isinstance(outcome, FineTuneJob) and outcome.is_terminal and self._is_true(outcome, number)

    def _is_true(self, job: FineTuneJob, number: int) -> bool:
        """Whether the plan allows this snapshot of the job, now."""
        if job.job_id != self._plan.job_id(number):
            return False
        ended = time.monotonic() - self._started >= self._plan.ends_at(number)
        return not job.is_terminal or (ended and job.raw_status == self._plan.final_status(number))

    async def _call(self, client_number: int, client: FineTuneClient) -> None:
        """Call `get` and `list` until cancelled."""
        plan, summary = self._plan, self._summary
        chance = random.Random(f"{plan.seed}:{client_number}")
        own = range(client_number, plan.jobs, plan.clients)
        while True:
            number = chance.choice(own)
            calls = await asyncio.gather(
                client.get(plan.job_id(number)), client.list(1, 20), return_exceptions=True
            )
            for found in calls:
                summary.calls += 1
                if isinstance(found, NotFoundError):
                    continue
                if isinstance(found, APIError):  # a call makes a few attempts only
                    summary.calls_failed += 1
                elif isinstance(found, BaseException):
                    raise found
                else:
                    asked = [(found, number)] if isinstance(found, FineTuneJob) else _numbered(found.jobs)
                    if not all(self._is_true(job, its_number) for job, its_number in asked):
                        summary.wrong.append(f"{found!r}"[:300])
            await asyncio.sleep(min(0.5, plan.duration / 10))


def _numbered(jobs: Iterable[FineTuneJob]) -> list[tuple[FineTuneJob, int]]:
    return [(job, int(job.job_id.rpartition("-")[2], 16)) for job in jobs]


def _name(outcome: object) -> str:
    if isinstance(outcome, FineTuneJob):
        return outcome.raw_status
    return str(outcome) if isinstance(outcome, str) else type(outcome).__name__


def plan_for(waits: int, seed: int) -> FaultPlan:
    """A plan for so many waits, with enough clients and time for them."""
    return FaultPlan(seed, waits, clients=max(5, waits // 1000), duration=max(0.8, waits / 250))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--waits", type=int, default=10_000, help="waits at once (default: 10000)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: a random one")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="run again with the next seed until so many minutes have passed",
    )
    options = parser.parse_args()
    logging.getLogger("dashscope_ft_async").addHandler(logging.NullHandler())
    began, seed, clean = time.monotonic(), options.seed, True
    while True:
        print(f"seed {seed} …", file=sys.stderr, flush=True)
        summary = asyncio.run(soak(plan_for(options.waits, seed)))
        print(summary, flush=True)
        clean = clean and summary.clean
        seed += 1
        if time.monotonic() - began >= 60 * options.minutes:
            return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
