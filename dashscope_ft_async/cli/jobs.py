"""Commands about jobs that ask once: `get`, `list`, and what can be done to a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode, NoAnswerError, exit_code_of
from dashscope_ft_async.cli.job_ids import one_job
from dashscope_ft_async.cli.options import ServiceOptions, ask, run_async, service_options, timeout_option
from dashscope_ft_async.cli.output import JsonLines, write_event
from dashscope_ft_async.cli.tracker import JobTracker, Row, printable
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus

ASKS = "2 usage, 4 timed out, 5 refused, 6 unreachable, 130 interrupted."


_DOUBT = "It may have been carried out all the same:"


def row_of(job: FineTuneJob) -> Row:
    """What one snapshot says, as a row."""
    ended = exit_code_of(job) if job.is_terminal else None
    return Row(job_id=job.job_id, since=time.monotonic(), job=job, exit_code=ended)


@click.command(
    epilog="Exit codes: 0 the job was read, whatever its status; 2 usage, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. For a code by status: wait --timeout 0 ID."
)
@one_job
@service_options
@timeout_option
def get(job_id: str, timeout: float, **service: Any) -> None:
    """Show one job as it is now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, the job
    is one JSON object on one line.
    """
    options = ServiceOptions(**service)
    console = Console(stderr=True)
    tracker = JobTracker([job_id], time.monotonic())

    async def run() -> ExitCode:
        async with options.client() as client:
            row = await _read(client, tracker, job_id, timeout)
        if row.error is not None:
            terminal.print_error(console, row.error)
        if options.as_json:
            JsonLines().update(row)
        elif row.job is not None:
            Console().print(terminal.details(row.job))
        return ExitCode.SUCCEEDED if row.error is None else exit_code_of(row.error)

    with terminal.logs(console, options.log_level):
        raise SystemExit(run_async(run, console, as_json=options.as_json))


async def _read(client: FineTuneClient, tracker: JobTracker, job_id: str, timeout: float) -> Row:
    now = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            job = await client.get(job_id)
    except DashScopeFTError as error:  # first: some of these are a TimeoutError as well
        return tracker.record_error(job_id, error)
    except TimeoutError:
        return tracker.record_error(
            job_id, NoAnswerError(f"no answer within {timeout:g} s.", job_id=job_id)
        )
    return tracker.record_end(job, now) if job.is_terminal else tracker.record_snapshot(job, now)


async def _listed(
    client: FineTuneClient, page: int | None, page_size: int, model: str | None
) -> AsyncIterator[FineTuneJob]:
    if page is not None:
        for job in (await client.list(page, page_size, model=model)).jobs:
            yield job
        return
    async with aclosing(client.iter_jobs(model=model, page_size=page_size)) as jobs:
        async for job in jobs:
            yield job


@click.command("list", epilog=f"Exit codes: 0 the jobs were read, even if there are none; {ASKS}")
@service_options
@timeout_option
@click.option("--model", metavar="NAME", help="Only jobs that tune this model.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in JobStatus], case_sensitive=False),
    multiple=True,
    help="Only jobs in this status; may be given again.",
)
@click.option(
    "--page", type=click.IntRange(min=1), metavar="N", help="Only this page of the service's; else all."
)
@click.option(
    "--page-size", type=click.IntRange(1, 100), default=100, show_default=True, help="Jobs per page."
)
def list_jobs(
    model: str | None,
    statuses: Collection[str],
    page: int | None,
    page_size: int,
    timeout: float,
    **service: Any,
) -> None:
    """List the jobs of the account.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each job
    is one JSON object on one line, as of get. The service knows no filter by status: --status chooses
    among the jobs it gave.
    """
    options = ServiceOptions(**service)
    tracker = JobTracker((), time.monotonic())

    async def question(client: FineTuneClient) -> None:
        async for job in _listed(client, page, page_size, model):
            if statuses and job.status not in statuses:
                continue
            tracker.rows[job.job_id] = row = row_of(job)
            if options.as_json:
                JsonLines().update(row)
        if not options.as_json and tracker.rows:
            Console().print(terminal.final_table(tracker))
        if not options.as_json:
            click.echo(tracker.status_summary() or "No jobs.", err=True)

    ask(options, timeout, question)


@click.command(epilog=f"Exit codes: 0 the cancel was accepted; {ASKS}")
@one_job
@service_options
@timeout_option
def cancel(job_id: str, timeout: float, **service: Any) -> None:
    """Ask the service to cancel a job.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. That it was accepted does not end the
    job: it is CANCELING, and may yet end in any way. Wait for it to know.
    """
    options = ServiceOptions(**service)

    async def question(client: FineTuneClient) -> None:
        await client.cancel(job_id)
        _done(options, "cancel_accepted", job_id, "cancel accepted")

    ask(options, timeout, question, job_id, f"{_DOUBT} get tells how the job is.")


@click.command(epilog=f"Exit codes: 0 the job was deleted, 1 answered with no, {ASKS}")
@one_job
@service_options
@timeout_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
def delete(job_id: str, timeout: float, yes: bool, **service: Any) -> None:
    """Delete a job; one in training cannot be deleted.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. It cannot be undone, so --yes is
    needed where nobody can be asked.
    """
    options = ServiceOptions(**service)
    if not yes:
        if options.as_json:
            raise click.UsageError("--yes is needed where stdout is no terminal, and with --json.")
        if not click.confirm(f"Delete {printable(job_id)}?", err=True):
            raise SystemExit(ExitCode.FAILED)

    async def question(client: FineTuneClient) -> None:
        await client.delete(job_id)
        _done(options, "deleted", job_id, "deleted")

    ask(options, timeout, question, job_id, f"{_DOUBT} get tells whether the job is there.")


def _done(options: ServiceOptions, name: str, job_id: str, words: str) -> None:
    if options.as_json:
        write_event(name, job_id)
    else:
        click.echo(f"{printable(job_id)}: {words}")
