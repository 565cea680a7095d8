"""The command `demo`: jobs of a simulated service, with errors and throttling.

It reads no setting of the user: key, URL, workspace and polling intervals are given here.
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
class DemoJob:
    """A simulated job and what happens to it."""

    job_id: str
    model: str
    steps: Sequence[tuple[float, str]]
    code: str | None = None
    message: str | None = None

    @property
    def end(self) -> tuple[float, str]:
        """Seconds after the start when it ends, and its last status."""
        return self.steps[-1]

    @property
    def training(self) -> tuple[float, float]:
        """Seconds after the start when it begins and stops RUNNING."""
        start = next(at for at, status in self.steps if status == JobStatus.RUNNING)
        return start, next(at for at, _ in self.steps if at > start)

    @property
    def log(self) -> Sequence[tuple[float, str]]:
        """Its log: at each time a line with a loss."""
        start, stop = self.training
        steps = range(1, int((stop - start) / LOSS_EVERY))
        losses = (0.6 + 1.8 * exp(-step / 6) + sin(2.6 * step + start) / (8 + step) for step in steps)
        return [(start + LOSS_EVERY * at, f"{{'loss': {loss:.4f}}}") for at, loss in enumerate(losses, 1)]

    @property
    def changes(self) -> Sequence[tuple[float, str, Json]]:
        """The times of its changes, each with the status and other fields."""
        start, stop = self.training
        changes: list[tuple[float, str, Json]] = [(at, status, {}) for at, status in self.steps[1:-1]]
        for saved in range(CHECKPOINTS):
            at = start + (stop - start) * saved / CHECKPOINTS
            changes.append((at, JobStatus.RUNNING, {"output_cnt": saved, "max_output_cnt": CHECKPOINTS}))
        at, status = self.end
        # The simulator shows a code at once, so it is set with the end.
        failure = {} if self.code is None else {"code": self.code, "message": self.message}
        return [*changes, (at, status, failure)]


JOBS = (
    DemoJob("ft-faq-bot", "qwen3-8b", [(0, "PENDING"), (1, "QUEUING"), (2, "RUNNING"), (6, "SUCCEEDED")]),
    DemoJob(
        "ft-summaries", "qwen3-14b", [(0, "PENDING"), (2, "QUEUING"), (4, "RUNNING"), (10, "SUCCEEDED")]
    ),
    DemoJob(
        "ft-bad-data",
        "qwen3-14b",
        [(0, "PENDING"), (1, "RUNNING"), (8, "FAILED")],
        "InvalidTrainingData",
        "line 17 is not valid JSON",
    ),
    DemoJob("ft-mistake", "qwen3-32b", [(0, "RUNNING"), (3, "CANCELING"), (7.5, "CANCELED")]),
    DemoJob("ft-translator", "qwen-vl-plus", [(0, "QUEUING"), (7, "RUNNING"), (11.5, "SUCCEEDED")]),
    DemoJob(
        "ft-night-shift", "qwen3-8b", [(0, "PENDING"), (3, "QUEUING"), (9, "RUNNING"), (12, "SUCCEEDED")]
    ),
)
FAULTS = (
    (2.0, (Fault.error(500, "InternalError", "internal error"), Fault.reset(), Fault.html(502))),
    (9.0, (Fault.html(502), Fault.error(503, "ModelUnavailable", "busy"), Fault.reset())),
)
CHECKPOINTS = 4
LOSS_EVERY = 0.2
THROTTLED = (4.5, 3.0)
"""Seconds after the start when every answer becomes a 429, and for how long."""
_TIMEOUT = 60.0
INTRODUCTION = (
    f"{len(JOBS)} simulated jobs, followed by one client. At {FAULTS[0][0]:g} s and {FAULTS[1][0]:g} s "
    f"requests fail.\nFrom {THROTTLED[0]:g} s to {sum(THROTTLED):g} s every request is throttled."
)

NEXT_COMMANDS = (
    "Try next, with your API key in DASHSCOPE_API_KEY:",
    "  dashscope-ft doctor       checks the settings, the network and the API key",
    "  dashscope-ft watch --all  shows the jobs of your account live",
)


@attrs.frozen
class Summary:
    """The outcome of the demonstration."""

    rows: Sequence[Row]
    seconds: float
    requests: int
    for_losses: int
    """The requests for logs among them."""
    failures: Counter[str]
    naive: int
    """Requests of a loop that polls each job once a second until it has ended."""
    exit_code: ExitCode

    def json(self) -> Json:
        """Return the fields of the last line of ``demo --json``."""
        return {
            "jobs": {row.job_id: row.status for row in self.rows},
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "requests_for_losses": self.for_losses,
            "failures_survived": dict(self.failures),
            "requests_of_one_per_second": self.naive,
        }

    def text(self) -> list[str]:
        """Return the last lines of ``demo``."""
        width = max(len(row.name) for row in self.rows)
        ends = Counter(row.status for row in self.rows)
        by_status = ", ".join(f"{number} {status}" for status, number in ends.most_common())
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.failures.most_common())
        comparison = "Polling each job once a second would have taken"
        return [
            "",
            "Result:",
            *(f"  {row.name:{width}}  {row.status:9}  {row.result}".rstrip() for row in self.rows),
            "",
            f"{len(self.rows)} jobs followed to their ends in {self.seconds:.1f} s: {by_status}.",
            f"Polls: {self.requests - self.for_losses} requests. {comparison} {self.naive}.",
            *([f"Logs, for the losses shown: {self.for_losses} requests."] if self.for_losses else []),
            f"Failures survived: {self.failures.total()} ({kinds}).",
            "No API key was used, and nothing was sent to the network.",
            "",
            *NEXT_COMMANDS,
        ]


def failures_of(requests: Sequence[SeenRequest]) -> Counter[str]:
    """Count the failed requests by kind."""
    kinds = {429: "throttled", 0: "connection reset"}
    return Counter(
        kinds.get(seen.status, f"HTTP {seen.status}")
        for seen in requests
        if seen.status in kinds or seen.status >= 500
    )


async def run_demo(console: Console, *, as_json: bool, speed: float) -> Summary:
    """Run the demonstration, `speed` times as fast."""
    started = time.monotonic()
    tracker, health = (
        JobTracker((job.job_id for job in JOBS), started, is_whole_account=True),
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
        for job in JOBS:
            service.add_job(
                job.steps[:1],
                job_id=job.job_id,
                log=[(at / speed, line) for at, line in job.log],
                model=job.model,
                finetuned_output=f"{job.model}-{job.job_id}",
            )
        with _scheduled(service, speed):
            async with open_views(tracker, console, client, health, as_json=as_json) as views:
                await follow(client, tracker, tracker.pending, views, timeout=_TIMEOUT)
        rows = list(tracker.rows.values())
        as_planned = all(row.status == job.end[1] for row, job in zip(rows, JOBS, strict=True))
        return Summary(
            rows=rows,
            seconds=time.monotonic() - started,
            requests=len(service.requests),
            for_losses=sum(seen.path.endswith("/logs") for seen in service.requests),
            failures=failures_of(service.requests),
            naive=sum(ceil(job.end[0]) + 1 for job in JOBS),
            exit_code=ExitCode.SUCCEEDED if as_planned else tracker.exit_code,
        )


@contextmanager
def _scheduled(service: Simulator, speed: float) -> Generator[None, None, None]:
    """Schedule the faults, the throttling and the changes of the jobs."""
    loop = asyncio.get_running_loop()
    throttled_at, duration = THROTTLED
    timers = [loop.call_later(at / speed, service.fail_next, *faults) for at, faults in FAULTS]
    timers.append(loop.call_later(throttled_at / speed, service.throttle, duration / speed))
    for job in JOBS:
        for at, status, fields in job.changes:
            change = partial(service.set_status, job.job_id, status, **fields)
            timers.append(loop.call_later(at / speed, change))
    try:
        yield
    finally:
        for handle in timers:
            handle.cancel()


@click.command(short_help="Follow six simulated jobs. Needs no API key.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to stdout.")
@click.option("--speed", type=click.FloatRange(min=0.1, max=100), default=1.0, hidden=True)
def demo(as_json: bool, speed: float) -> None:
    """Follow six simulated jobs for 15 seconds, through errors and throttling.

    It needs no API key and no network: the service is simulated in this process, on 127.0.0.1.
    """
    console = Console(stderr=True)

    if not as_json:
        click.echo(f"{INTRODUCTION}\n")

    async def run() -> ExitCode:
        summary = await run_demo(console, as_json=as_json, speed=speed)
        if as_json:
            write_event("summary", None, **summary.json())
        else:
            click.echo("\n".join(summary.text()))
        return summary.exit_code

    # The faults are intended: they are counted at the end, not logged.
    with terminal.logs(console, LOG_NOTHING):
        raise SystemExit(run_async(run, console))
