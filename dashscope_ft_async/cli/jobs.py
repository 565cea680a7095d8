"""The commands `get`, `list`, `cancel` and `delete`, which do not wait for a job."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode, exit_code_of, time_limit
from dashscope_ft_async.cli.job_ids import one_job
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import (
    ServiceOptions,
    call_service,
    run_async,
    service_options,
    timeout_option,
)
from dashscope_ft_async.cli.output import JsonLines, write_event
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus

OTHER_CODES = "2 usage, 4 timed out, 5 refused, 6 unreachable, 130 interrupted."


def row_of(job: FineTuneJob) -> Row:
    """Return a row for one snapshot."""
    exit_code = exit_code_of(job) if job.is_terminal else None
    return Row(job_id=job.job_id, since=time.monotonic(), job=job, exit_code=exit_code)


@click.command(
    epilog="Exit codes: 0 the job was read, whatever its status; 2 usage, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. For an exit code that depends on the status, use: wait --timeout 0 ID."
)
@one_job
@service_options
@timeout_option
def get(job_id: str, timeout: float, **service: Any) -> None:
    """Show one job as it is now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. If stdout is not a terminal, or with
    --json, the job is one JSON object on one line.
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
        async with time_limit(timeout, f"no answer within {timeout:g} s.", job_id):
            job = await client.get(job_id)
    except DashScopeFTError as error:
        return tracker.record_error(job_id, error)
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


@click.command("list", epilog=f"Exit codes: 0 the jobs were read, even if there are none; {OTHER_CODES}")
@service_options
@timeout_option
@click.option("--model", metavar="NAME", help="Only jobs that train this model.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in JobStatus], case_sensitive=False),
    multiple=True,
    help="Only jobs with this status. May be given again.",
)
@click.option(
    "--page", type=click.IntRange(min=1), metavar="N", help="Read only page N of the list. Default: all."
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

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. If stdout is not a terminal, or with
    --json, each job is one JSON object on one line, as in the output of get. The service has no filter by
    status: --status selects from the jobs that it returned.
    """
    options = ServiceOptions(**service)
    tracker = JobTracker((), time.monotonic())

    async def read_jobs(client: FineTuneClient) -> None:
        async for job in _listed(client, page, page_size, model):
            if statuses and job.status not in statuses:
                continue
            tracker.rows[job.job_id] = row = row_of(job)
            if options.as_json:
                JsonLines().update(row)
        if not options.as_json:
            terminal.print_jobs(Console(), tracker)
            click.echo(tracker.status_summary() or "No jobs.", err=True)

    raise SystemExit(call_service(options, timeout, read_jobs))


@click.command(epilog=f"Exit codes: 0 the service accepted the request to cancel; {OTHER_CODES}")
@one_job
@service_options
@timeout_option
def cancel(job_id: str, timeout: float, **service: Any) -> None:
    """Ask the service to cancel a job.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. When the command returns, the job has
    not ended yet: its status is CANCELING, and it may still succeed or fail. Use wait to see how it ends.
    """
    options = ServiceOptions(**service)

    async def cancel_job(client: FineTuneClient) -> None:
        await client.cancel(job_id)
        _report_done(options, "cancel_accepted", job_id, "cancel accepted")

    uncertainty = "The job may have been canceled. Use get to see its status."
    raise SystemExit(call_service(options, timeout, cancel_job, job_id, uncertainty))


@click.command(epilog=f"Exit codes: 0 the job was deleted, 1 not confirmed, {OTHER_CODES}")
@one_job
@service_options
@timeout_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(job_id: str, timeout: float, yes: bool, **service: Any) -> None:
    """Delete a job. A running job cannot be deleted.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. The deletion cannot be undone. The
    command asks for confirmation; if stdout is not a terminal, --yes is required.
    """
    options = ServiceOptions(**service)
    if not yes:
        if options.as_json:
            raise click.UsageError("--yes is required with --json, and if stdout is not a terminal.")
        if not click.confirm(f"Delete {printable(job_id)}?", err=True):
            raise SystemExit(ExitCode.FAILED)

    async def delete_job(client: FineTuneClient) -> None:
        await client.delete(job_id)
        _report_done(options, "deleted", job_id, "deleted")

    uncertainty = "The job may have been deleted. Use get to see whether it still exists."
    raise SystemExit(call_service(options, timeout, delete_job, job_id, uncertainty))


def _report_done(options: ServiceOptions, event: str, job_id: str, text: str) -> None:
    if options.as_json:
        write_event(event, job_id)
    else:
        click.echo(f"{printable(job_id)}: {text}")
