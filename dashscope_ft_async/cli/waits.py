"""The commands that follow jobs: `wait` for scripts, `watch` for people."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

import attrs
import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode, resume_command
from dashscope_ft_async.cli.follow import View, follow, follow_all
from dashscope_ft_async.cli.job_ids import JobSelection, many_jobs
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.options import (
    REQUEST_TIMEOUT,
    WAIT_TIMEOUT,
    ServiceOptions,
    check_finite,
    run_async,
    service_options,
)
from dashscope_ft_async.cli.record import Record, opened
from dashscope_ft_async.cli.tracker import JobTracker
from dashscope_ft_async.cli.views import open_views
from dashscope_ft_async.errors import DashScopeFTError

_F = TypeVar("_F", bound=Callable[..., Any])


def _record_option(command: _F) -> _F:
    return click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Append what happens to FILE as JSON lines, every request included.",
    )(command)


@attrs.frozen
class Following:
    """A command that follows jobs, around the way in which it does."""

    command: str
    targets: JobSelection
    options: ServiceOptions
    record: TextIO | None
    console: Console = attrs.field(init=False, factory=partial(Console, stderr=True))

    def run(
        self,
        how: Callable[[FineTuneClient, JobTracker, Sequence[View]], Awaitable[ExitCode]],
        again: Iterable[str],
        *,
        endless: bool = False,
    ) -> NoReturn:
        """Follow, show what came of it, and end the command.

        After Ctrl-C it is to go on with the options `again`, for the jobs that had not ended or, where
        it is `endless`, as it began.
        """
        tracker, health = JobTracker(is_whole_account=self.targets.ids is None), Health(time.monotonic)
        recorder = [] if self.record is None else [Record(self.record, self.console)]

        async def follow_them() -> ExitCode:
            async with (
                self.options.client([*recorder, health]) as client,
                open_views(tracker, self.console, client, health, as_json=self.options.as_json) as views,
            ):
                return await how(client, tracker, [*views, *recorder])

        with terminal.logs(self.console, self.options.log_level):
            code = run_async(follow_them, self.console, as_json=self.options.as_json)
        if tracker.rows and not self.options.as_json:
            Console().print(terminal.final_table(tracker))
        as_begun = endless or not tracker.rows
        left = (self.targets.ids or []) if as_begun else tracker.pending
        if code is ExitCode.INTERRUPTED and (left or as_begun):
            recorded = [] if self.record is None else ["--record", self.record.name]
            every = ["--all"] if as_begun and self.targets.ids is None else []
            words = [*self.options.to_arguments(), *again, *recorded, *every]
            click.echo(f"Interrupted; the jobs go on. To {self.command} on:", err=True)
            click.echo(f"  {resume_command(self.command, words, left)}", err=True)
        raise SystemExit(code)

    def print_error(self, error: DashScopeFTError) -> None:
        """Tell of an error that ends nothing."""
        terminal.print_error(self.console, error)


@click.command(
    epilog="Exit codes: 0 all SUCCEEDED, 1 one FAILED, 2 usage, 3 one CANCELED, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. With several, the first in the order 1, 3, 2, 5, 6, 4."
)
@many_jobs
@service_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=check_finite,
    metavar="SECONDS",
    help="Give up after so many seconds, 86400 by default; 0 asks once.",
)
@click.option("--no-timeout", is_flag=True, help="Never give up.")
@_record_option
def wait(
    job_ids: Sequence[str],
    every: bool,
    timeout: float | None,
    no_timeout: bool,
    record: Path | None,
    **service: Any,
) -> None:
    """Wait until all jobs have ended.

    ID may be - for ids on stdin: words, or the JSON lines of this command, such as those of list. With
    --all it is every job of the account that is active now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. On a terminal the jobs are shown
    live; into a pipe, or with --json, every change is one JSON object per line. Interrupting touches
    no job.
    """
    if no_timeout and timeout is not None:
        raise click.UsageError("--timeout and --no-timeout exclude each other.")
    limit = None if no_timeout else WAIT_TIMEOUT if timeout is None else timeout
    following = Following(
        "wait", JobSelection.of(job_ids, every), ServiceOptions(**service), opened(record)
    )

    async def to_the_end(client: FineTuneClient, tracker: JobTracker, views: Sequence[View]) -> ExitCode:
        began = time.monotonic()
        tracker.add(await following.targets.find(client, limit or REQUEST_TIMEOUT), began)
        if not tracker.rows:
            click.echo("No jobs to wait for.", err=True)
        left = None if limit is None else max(0.0, limit - (time.monotonic() - began))
        await follow(client, tracker, tracker.pending, views, timeout=left)
        return tracker.exit_code

    again = ["--no-timeout"] if no_timeout else [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
    following.run(to_the_end, again)


@click.command(
    epilog="Exit codes: 0 all have ended, in whichever way; 2 usage, 5 refused, 6 unreachable, "
    "130 interrupted, which is how watch --all ends."
)
@many_jobs
@service_options
@click.option(
    "--refresh",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --all: look for new jobs so often.",
)
@_record_option
def watch(job_ids: Sequence[str], every: bool, refresh: float, record: Path | None, **service: Any) -> None:
    """Show jobs as they change, until all have ended.

    As wait, but it never gives up, and how the jobs end does not matter to its exit code. With --all it
    also takes in the jobs that come later, and goes on until Ctrl-C.
    """
    following = Following(
        "watch", JobSelection.of(job_ids, every), ServiceOptions(**service), opened(record)
    )

    async def on_and_on(client: FineTuneClient, tracker: JobTracker, views: Sequence[View]) -> ExitCode:
        if every:
            await follow_all(client, tracker, views, refresh=refresh, trouble=following.print_error)
        tracker.add(await following.targets.find(client), time.monotonic())
        await follow(client, tracker, tracker.pending, views, timeout=None)
        return tracker.error_exit_code

    following.run(on_and_on, ["--refresh", f"{refresh:.15g}"] if every else [], endless=every)
