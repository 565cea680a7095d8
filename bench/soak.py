"""``python -m bench.soak``: thousands of waits, gets and lists through a storm; is anything lost?

Everybody who waits must get exactly one end, and the right one; no task, file descriptor or object may be
left, and memory must return to its level. Exits with 1 where that is not so.
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
from pathlib import Path

import attrs

from bench.server import ask, running
from bench.storm import Storm
from dashscope_ft_async import (
    APIError,
    FineTuneClient,
    FineTuneJob,
    NotFoundError,
    PollPolicy,
    RetryPolicy,
    WaitTimeoutError,
)
from dashscope_ft_async._engine.watch import Wait, Watch

_GRACE = 90.0
_LAST_POLL = 2.0
_MANNERS = ("told of updates", "impatient", "cancelled")


@attrs.define
class Summary:
    """What came of it."""

    storm: Storm
    waits: int = 0
    ends: Counter[str] = attrs.Factory(Counter[str])
    """How the waits ended."""
    lost: int = 0
    """Waits that had no end."""
    wrong: list[str] = attrs.Factory(list[str])
    """Ends, snapshots and answers that were not true."""
    leaked: Counter[str] = attrs.Factory(Counter[str])
    calls: int = 0
    calls_failed: int = 0
    faults: dict[str, int] = attrs.Factory(dict[str, int])
    seconds: float = 0.0
    cpu: float = 0.0
    blocks: tuple[int, int, int] = (0, 0, 0)
    """Blocks of memory that Python has allocated: before, in the middle, after."""
    peak_mb: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, wrong or left."""
        return not (self.lost or self.wrong or +self.leaked)

    def __str__(self) -> str:
        faults = dict(self.faults)
        requests, missing = faults.pop("requests", 0), faults.pop("404", 0)
        before, middle, after = self.blocks
        lines = [
            f"waits {self.waits}: " + ", ".join(f"{count} {how}" for how, count in self.ends.most_common()),
            f"lost {self.lost}, wrong {len(self.wrong)}, leaked {sum((+self.leaked).values())}",
            f"requests {requests}, for jobs that never were {missing}, spoilt {sum(faults.values())}:",
            *(f"  {count:6} {kind}" for kind, count in sorted(faults.items())),
            f"gets and lists {self.calls}, of them failed after all tries {self.calls_failed}",
            f"memory blocks {before} before, {middle} amid, {after} after; peak {self.peak_mb:.0f} MB",
            f"{self.seconds:.1f} s, CPU {self.cpu:.1f} s, seed {self.storm.seed}",
            *(f"WRONG {what}" for what in self.wrong[:10]),
            *(f"LEAKED {count} {what}" for what, count in (+self.leaked).items()),
        ]
        return "\n".join(lines)


async def soaked(storm: Storm) -> Summary:
    """One storm, from the first wait to the last look for what is left."""
    summary = Summary(storm)
    with running(storm, "bench.storm") as url:
        await _Soak(storm, url, summary).warm_up()
        before = _held()
        began, cpu = time.monotonic(), time.process_time()
        middle = await _Soak(storm, url, summary).run()
        summary.seconds, summary.cpu = time.monotonic() - began, time.process_time() - cpu
        await asyncio.sleep(0.05)  # transports close on the turns after
        summary.faults = ask(url, "report")
        after = _held()
    summary.blocks = before["blocks"], middle, after["blocks"]
    # A hundredth of what the waits took, and what the interpreter and aiohttp keep for the next time.
    allowed = max(0, middle - before["blocks"]) // 100 + 5_000
    summary.leaked["blocks of memory"] = max(0, after["blocks"] - before["blocks"] - allowed)
    for what in ("tasks", "file descriptors", "objects of ours"):
        summary.leaked[what] = after[what] - before[what]
    summary.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )
    return summary


def _held() -> dict[str, int]:
    gc.collect()
    ours = sum(isinstance(each, Wait | Watch | FineTuneJob | FineTuneClient) for each in gc.get_objects())
    return {
        "tasks": len(asyncio.all_tasks()),
        "file descriptors": len(tuple(Path("/dev/fd").iterdir())),
        "objects of ours": ours,
        "blocks": sys.getallocatedblocks(),
    }


class _Soak:
    def __init__(self, storm: Storm, url: str, summary: Summary) -> None:
        self._storm = storm
        self._url = url
        self._summary = summary
        self._loop = asyncio.get_running_loop()
        self._started = 0.0

    def _client(self, number: int) -> FineTuneClient:
        span = self._storm.span
        return FineTuneClient(
            "sk-soak",
            base_url=f"{self._url}/{number}/api/v1",
            timeout=max(0.4, min(3.0, span / 4)),
            poll=PollPolicy(initial=span / 40, max_interval=span / 8),
            retry=RetryPolicy(initial=0.02, max_delay=0.3),
        )

    async def warm_up(self) -> None:
        """What is made once, at the first use, is no leak."""
        async with self._client(0) as client:
            for number in range(20):
                with _Tolerant():
                    await client.wait_for_terminal(self._storm.job_id(number), timeout=0)

    async def run(self) -> int:
        """All of it; the blocks of memory held when it was at its height."""
        storm = self._storm
        clients = [self._client(number) for number in range(storm.clients)]
        self._started = ask(self._url, "start")["started"]
        readers = [self._loop.create_task(self._read(number, each)) for number, each in enumerate(clients)]
        waits = [
            self._loop.create_task(self._wait(number, clients[storm.client_of(number)]))
            for number in range(storm.waits)
        ]
        self._summary.waits = len(waits)
        await asyncio.sleep(storm.span / 3)
        height = sys.getallocatedblocks()
        _, pending = await asyncio.wait(waits, timeout=storm.span + _GRACE)
        self._summary.lost = len(pending)
        for task in (*readers, *pending):
            task.cancel()
        await asyncio.gather(*readers, *pending, return_exceptions=True)
        for client in clients:
            await client.close()
        for task in (*readers, *waits):
            if not task.cancelled() and (error := task.exception()) is not None:
                self._summary.wrong.append(f"{type(error).__name__}: {error}")
        return height

    def _age(self) -> float:
        return time.monotonic() - self._started

    # --- those who wait ---------------------------------------------------------------------------------

    async def _wait(self, number: int, client: FineTuneClient) -> None:
        storm = self._storm
        job_id, soon = storm.job_id(number), storm.ends_at(number) / 3
        told: list[FineTuneJob] = []
        manner = (*_MANNERS, "")[min(3, int(20 * storm.chance("manner", number)))]
        wait = self._loop.create_task(
            client.wait_for_terminal(
                job_id,
                timeout=soon if manner == "impatient" else None,
                on_update=told.append if manner == "told of updates" else None,
            )
        )
        cut: list[bool] = []
        timer = self._loop.call_later(soon, lambda: cut.append(wait.cancel()))
        if manner != "cancelled":
            timer.cancel()
        try:
            await asyncio.wait({wait})
        finally:
            wait.cancel()
        outcome = "cancelled" if wait.cancelled() else wait.exception() or wait.result()
        self._summary.ends[_named(outcome)] += 1
        if not self._is_right(number, manner, outcome, took_it=cut == [True]):
            self._summary.wrong.append(f"{job_id}, {storm.word(number)}, {manner}: {outcome!r}"[:300])
        if manner == "told of updates" and isinstance(outcome, FineTuneJob):
            last = [job.is_terminal for job in told]
            if last.count(True) != 1 or not last[-1]:
                self._summary.wrong.append(f"{job_id} was told of {[job.raw_status for job in told]}")

    def _is_right(self, number: int, manner: str, outcome: object, *, took_it: bool) -> bool:
        if took_it or outcome == "cancelled":
            return took_it and outcome == "cancelled"
        end = self._storm.ends_at(number)
        if isinstance(outcome, WaitTimeoutError):
            return manner == "impatient"
        if isinstance(outcome, NotFoundError):
            return self._storm.word(number) == "missing"
        if manner == "impatient" and end / 3 + _LAST_POLL + 1.0 < end:
            return False
        return isinstance(outcome, FineTuneJob) and outcome.is_terminal and self._is_true(number, outcome)

    def _is_true(self, number: int, job: FineTuneJob) -> bool:
        if job.job_id != self._storm.job_id(number):
            return False
        over = self._age() >= self._storm.ends_at(number)
        return not job.is_terminal or (over and job.raw_status == self._storm.word(number))

    # --- those who only look ----------------------------------------------------------------------------

    async def _read(self, client_number: int, client: FineTuneClient) -> None:
        storm, dice = self._storm, random.Random(f"{self._storm.seed}:{client_number}")
        mine = range(client_number, storm.waits, storm.clients)
        while True:
            self._summary.calls += 2
            number = dice.choice(mine)
            with _Tolerant(self._summary):
                job = await client.get(storm.job_id(number))
                if not self._is_true(number, job):
                    self._summary.wrong.append(f"get: {job!r}"[:300])
            with _Tolerant(self._summary):
                page = await client.list(1, 20)
                if any(job.is_terminal and not self._is_true(_number(job), job) for job in page.jobs):
                    self._summary.wrong.append(f"list: {page!r}"[:300])
            await asyncio.sleep(min(0.5, storm.span / 10))


class _Tolerant:
    """A single call may fail: it has a few tries, and a storm may take them all."""

    def __init__(self, summary: Summary | None = None) -> None:
        self._summary = summary

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, NotFoundError):
            return True
        tolerated = isinstance(error, APIError | WaitTimeoutError)
        if tolerated and self._summary is not None:
            self._summary.calls_failed += 1
        return tolerated


def _number(job: FineTuneJob) -> int:
    return int(job.job_id.rpartition("-")[2], 16)


def _named(outcome: object) -> str:
    if isinstance(outcome, FineTuneJob):
        return outcome.raw_status
    return str(outcome) if isinstance(outcome, str) else type(outcome).__name__


def storm_of(waits: int, seed: int) -> Storm:
    """So many waits, spread over clients and time as they can be served."""
    return Storm(seed, waits, clients=max(5, waits // 1000), span=max(0.8, waits / 250))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--waits", type=int, default=10_000, help="how many at once (10000)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="of the storm; else random"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="one storm after another for so long")
    options = parser.parse_args()
    logging.getLogger("dashscope_ft_async").addHandler(logging.NullHandler())
    began, seed, clean = time.monotonic(), options.seed, True
    while True:
        print(f"seed {seed} …", file=sys.stderr, flush=True)
        summary = asyncio.run(soaked(storm_of(options.waits, seed)))
        print(summary, flush=True)
        clean = clean and summary.clean
        seed += 1
        if time.monotonic() - began >= 60 * options.minutes:
            return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
