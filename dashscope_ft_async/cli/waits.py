"""The commands `wait`, for scripts, and `watch`, for people."""

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
from dashscope_ft_async.cli.record import Record, open_record
from dashscope_ft_async.cli.tracker import JobTracker
from dashscope_ft_async.cli.views import open_views
from dashscope_ft_async.errors import DashScopeFTError

_F = TypeVar("_F", bound=Callable[..., Any])


def _record_option(command: _F) -> _F:
    return click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Append all changes and all requests to FILE as JSON lines.",
    )(command)


@attrs.frozen
class Following:
    """A run of `wait` or `watch`: the parts that both have."""

    command: str
    selection: JobSelection
    options: ServiceOptions
    record: TextIO | None
    console: Console = attrs.field(init=False, factory=partial(Console, stderr=True))

    def run(
        self,
        main: Callable[[FineTuneClient, JobTracker, Sequence[View]], Awaitable[ExitCode]],
        arguments: Iterable[str],
        *,
        endless: bool = False,
    ) -> NoReturn:
        """Run `main`, show the jobs, and end the command.

        After Ctrl-C, print the command that continues, with `arguments`: for the jobs that had not ended,
        or if it is `endless`, for the same selection.
        """
        tracker = JobTracker(is_whole_account=self.selection.ids is None)
        health = Health(time.monotonic)
        recorder = [] if self.record is None else [Record(self.record, self.console)]

        async def follow_jobs() -> ExitCode:
            async with (
                self.options.client([*recorder, health]) as client,
                open_views(tracker, self.console, client, health, as_json=self.options.as_json) as views,
            ):
                return await main(client, tracker, [*views, *recorder])

        with terminal.logs(self.console, self.options.log_level):
            code = run_async(follow_jobs, self.console, as_json=self.options.as_json)
        if not self.options.as_json:
            terminal.print_jobs(Console(), tracker)
        same_selection = endless or not tracker.rows
        remaining = (self.selection.ids or []) if same_selection else tracker.pending
        if code is ExitCode.INTERRUPTED and (remaining or same_selection):
            record = [] if self.record is None else ["--record", self.record.name]
            every = ["--all"] if same_selection and self.selection.ids is None else []
            again = [*self.options.to_arguments(), *arguments, *record, *every]
            click.echo(f"Interrupted. The jobs continue. To {self.command} again:", err=True)
            click.echo(f"  {resume_command(self.command, again, remaining)}", err=True)
        raise SystemExit(code)

    def print_error(self, error: DashScopeFTError) -> None:
        """Write an error to stderr."""
        terminal.print_error(self.console, error)


@click.command(
    epilog="Exit codes: 0 all SUCCEEDED, 1 one FAILED, 2 usage, 3 one CANCELED, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. For several jobs: the first of 1, 3, 2, 5, 6, 4 that occurred."
)
@many_jobs
@service_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=check_finite,
    metavar="SECONDS",
    help="Give up after this many seconds. Default: 86400. 0 requests each job once.",
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

    With - as ID, job ids are read from stdin: words, or JSON lines of this command, such as those of list.
    With --all, the command waits for every job of the account that is active now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. A terminal shows the jobs live. If
    stdout is not a terminal, or with --json, every change is one JSON object on one line. Interrupting the
    command does not affect the jobs.
    """
    if no_timeout and timeout is not None:
        raise click.UsageError("give --timeout or --no-timeout, not both.")
    limit = None if no_timeout else WAIT_TIMEOUT if timeout is None else timeout
    following = Following(
        "wait", JobSelection.of(job_ids, every), ServiceOptions(**service), open_record(record)
    )

    async def wait_for_all(client: FineTuneClient, tracker: JobTracker, views: Sequence[View]) -> ExitCode:
        started = time.monotonic()
        tracker.add(await following.selection.find(client, limit or REQUEST_TIMEOUT), started)
        if not tracker.rows:
            click.echo("No jobs to wait for.", err=True)
        left = None if limit is None else max(0.0, limit - (time.monotonic() - started))
        await follow(client, tracker, tracker.pending, views, timeout=left)
        return tracker.exit_code

    timeouts = [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
    following.run(wait_for_all, ["--no-timeout"] if no_timeout else timeouts)


@click.command(
    epilog="Exit codes: 0 all jobs have ended, with any status; 2 usage, 5 refused, 6 unreachable, "
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
    help="With --all: seconds between two looks for new jobs.",
)
@_record_option
def watch(job_ids: Sequence[str], every: bool, refresh: float, record: Path | None, **service: Any) -> None:
    """Show jobs as they change, until all have ended.

    Like wait, but without a time limit, and the exit code does not depend on how the jobs end. With --all,
    the command also shows jobs that are created later, and continues until Ctrl-C.
    """
    following = Following(
        "watch", JobSelection.of(job_ids, every), ServiceOptions(**service), open_record(record)
    )

    async def watch_all(client: FineTuneClient, tracker: JobTracker, views: Sequence[View]) -> ExitCode:
        if every:
            await follow_all(client, tracker, views, refresh=refresh, on_error=following.print_error)
        tracker.add(await following.selection.find(client), time.monotonic())
        await follow(client, tracker, tracker.pending, views, timeout=None)
        return tracker.error_exit_code

    following.run(watch_all, ["--refresh", f"{refresh:.15g}"] if every else [], endless=every)
