"""The demonstration: a simulated service with bad weather, followed as any other.

Nothing of the user's environment takes part: key, URL, workspace and pace are given here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil, exp, sin

import attrs
import click
from rich.console import Console

from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.follow import follow
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.options import LOG_NOTHING, run_async
from dashscope_ft_async.cli.output import Json, write_event
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.cli.views import open_views
from dashscope_ft_async.models import JobStatus
from dashscope_ft_async.policy import PollPolicy, RetryPolicy
from dashscope_ft_async.testing import Fault, SeenRequest, Simulator


@attrs.frozen
class Part:
    """What one job does in the play."""

    job_id: str
    model: str
    steps: Sequence[tuple[float, str]]
    code: str | None = None
    message: str | None = None

    @property
    def end(self) -> tuple[float, str]:
        """When it ends, and how."""
        return self.steps[-1]

    @property
    def trains(self) -> tuple[float, float]:
        """From when to when it is RUNNING."""
        start = next(at for at, status in self.steps if status == JobStatus.RUNNING)
        return start, next(at for at, _ in self.steps if at > start)

    @property
    def log(self) -> Sequence[tuple[float, str]]:
        """A loss that falls while it trains, and less and less."""
        start, stop = self.trains
        steps = range(1, int((stop - start) / LOSS_EVERY))
        losses = (0.6 + 1.8 * exp(-step / 6) + sin(2.6 * step + start) / (8 + step) for step in steps)
        return [(start + LOSS_EVERY * at, f"{{'loss': {loss:.4f}}}") for at, loss in enumerate(losses, 1)]

    @property
    def acts(self) -> Sequence[tuple[float, str, Json]]:
        """When it comes into which status, with what else is new about it then."""
        start, stop = self.trains
        acts: list[tuple[float, str, Json]] = [(at, status, {}) for at, status in self.steps[1:-1]]
        for saved in range(CHECKPOINTS):
            at = start + (stop - start) * saved / CHECKPOINTS
            acts.append((at, JobStatus.RUNNING, {"output_cnt": saved, "max_output_cnt": CHECKPOINTS}))
        at, status = self.end
        # A code on a job would show from its start, so it comes with the end.
        told = {} if self.code is None else {"code": self.code, "message": self.message}
        return [*acts, (at, status, told)]


CAST = (
    Part("ft-faq-bot", "qwen3-8b", [(0, "PENDING"), (1, "QUEUING"), (2, "RUNNING"), (6, "SUCCEEDED")]),
    Part("ft-summaries", "qwen3-14b", [(0, "PENDING"), (2, "QUEUING"), (4, "RUNNING"), (10, "SUCCEEDED")]),
    Part(
        "ft-bad-data",
        "qwen3-14b",
        [(0, "PENDING"), (1, "RUNNING"), (8, "FAILED")],
        "InvalidTrainingData",
        "line 17 is not valid JSON",
    ),
    Part("ft-mistake", "qwen3-32b", [(0, "RUNNING"), (3, "CANCELING"), (7.5, "CANCELED")]),
    Part("ft-translator", "qwen-vl-plus", [(0, "QUEUING"), (7, "RUNNING"), (11.5, "SUCCEEDED")]),
    Part("ft-night-shift", "qwen3-8b", [(0, "PENDING"), (3, "QUEUING"), (9, "RUNNING"), (12, "SUCCEEDED")]),
)
FAULTS = (
    (2.0, (Fault.error(500, "InternalError", "internal error"), Fault.reset(), Fault.html(502))),
    (9.0, (Fault.html(502), Fault.error(503, "ModelUnavailable", "busy"), Fault.reset())),
)
CHECKPOINTS = 4
LOSS_EVERY = 0.2
STORM = (4.5, 3.0)
"""When every answer becomes a 429, and for how long."""
_PATIENCE = 60.0
INTRODUCTION = (
    f"{len(CAST)} simulated jobs, followed by one client. At {FAULTS[0][0]:g} s and {FAULTS[1][0]:g} s "
    "requests go wrong;\n"
    f"from {STORM[0]:g} s to {sum(STORM):g} s every request is throttled."
)


@attrs.frozen
class Report:
    """What happened."""

    rows: Sequence[Row]
    seconds: float
    requests: int
    for_losses: int
    """How many of them were for the logs."""
    failures: Counter[str]
    naive: int
    """Requests of a loop that asks once a second for each job until it sees the end."""
    exit: ExitCode

    def json(self) -> Json:
        """The facts of the last line of ``demo --json``."""
        return {
            "jobs": {row.job_id: row.status for row in self.rows},
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "requests_for_losses": self.for_losses,
            "failures_survived": dict(self.failures),
            "requests_of_one_per_second": self.naive,
        }

    def text(self) -> list[str]:
        """The last lines of ``demo``."""
        width = max(len(row.name) for row in self.rows)
        ends = Counter(row.status for row in self.rows)
        told = ", ".join(f"{number} {status}" for status, number in ends.most_common())
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.failures.most_common())
        would = "Asking once a second for each job would have taken"
        return [
            "",
            "What happened:",
            *(f"  {row.name:{width}}  {row.status:9}  {row.result}".rstrip() for row in self.rows),
            "",
            f"{len(self.rows)} jobs followed to their ends in {self.seconds:.1f} s: {told}.",
            f"Requests: {self.requests - self.for_losses}. {would} {self.naive}.",
            *([f"Further requests, for the losses shown: {self.for_losses}."] if self.for_losses else []),
            f"Failures survived: {self.failures.total()} ({kinds}).",
            "No key was used, and nothing left this machine.",
        ]


def failures_of(requests: Sequence[SeenRequest]) -> Counter[str]:
    """How many requests failed, by kind."""
    kinds = {429: "throttled", 0: "connection reset"}
    return Counter(
        kinds.get(seen.status, f"HTTP {seen.status}")
        for seen in requests
        if seen.status in kinds or seen.status >= 500
    )


async def play(console: Console, *, as_json: bool, speed: float) -> Report:
    """Run the demonstration, `speed` times as fast as written."""
    started = time.monotonic()
    tracker, health = (
        JobTracker((part.job_id for part in CAST), started, is_whole_account=True),
        Health(time.monotonic),
    )
    async with (
        Simulator() as service,
        service.client(
            workspace="llm-simulated",
            poll=PollPolicy(initial=1.0 / speed, multiplier=1.2, max_interval=2.2 / speed),
            retry=RetryPolicy(initial=0.5 / speed, max_delay=1.5 / speed),
            hooks=[health],
        ) as client,
    ):
        for part in CAST:
            service.add_job(
                part.steps[:1],
                job_id=part.job_id,
                log=[(at / speed, line) for at, line in part.log],
                model=part.model,
                finetuned_output=f"{part.model}-{part.job_id}",
            )
        with _playing(service, speed):
            async with open_views(tracker, console, client, health, as_json=as_json) as views:
                await follow(client, tracker, tracker.pending, views, timeout=_PATIENCE)
        rows = list(tracker.rows.values())
        as_written = all(row.status == part.end[1] for row, part in zip(rows, CAST, strict=True))
        return Report(
            rows=rows,
            seconds=time.monotonic() - started,
            requests=len(service.requests),
            for_losses=sum(seen.path.endswith("/logs") for seen in service.requests),
            failures=failures_of(service.requests),
            naive=sum(ceil(part.end[0]) + 1 for part in CAST),
            exit=ExitCode.SUCCEEDED if as_written else tracker.exit_code,
        )


@contextmanager
def _playing(service: Simulator, speed: float) -> Generator[None, None, None]:
    """Faults, a storm of throttling, and what becomes of the jobs, each at its time."""
    loop = asyncio.get_running_loop()
    storm, lasting = STORM
    coming = [loop.call_later(at / speed, service.fail_next, *faults) for at, faults in FAULTS]
    coming.append(loop.call_later(storm / speed, service.throttle, lasting / speed))
    for part in CAST:
        for at, status, told in part.acts:
            act = partial(service.set_status, part.job_id, status, **told)
            coming.append(loop.call_later(at / speed, act))
    try:
        yield
    finally:
        for handle in coming:
            handle.cancel()


@click.command(short_help="See it work: six simulated jobs, no key.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
@click.option("--speed", type=click.FloatRange(min=0.1, max=100), default=1.0, hidden=True)
def demo(as_json: bool, speed: float) -> None:
    """Follow six simulated jobs through a stormy quarter of a minute.

    Needs no key and no network: the service is simulated in this process, on 127.0.0.1.
    """
    console = Console(stderr=True)

    if not as_json:
        click.echo(f"{INTRODUCTION}\n")

    async def run() -> ExitCode:
        report = await play(console, as_json=as_json, speed=speed)
        if as_json:
            write_event("summary", None, **report.json())
        else:
            click.echo("\n".join(report.text()))
        return report.exit

    # The faults are part of the play: they are counted at the end, not logged one by one.
    with terminal.logs(console, LOG_NOTHING):
        raise SystemExit(run_async(run, console))
