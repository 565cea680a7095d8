"""Commands about jobs that ask once: `get`, `list`, and what can be done to a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console

from dashscope_ft_async.cli import view
from dashscope_ft_async.cli.access import Access, access_options, ask, patience, run_to_exit
from dashscope_ft_async.cli.board import Board, Row, printable
from dashscope_ft_async.cli.lines import JsonLines, write_event
from dashscope_ft_async.cli.outcome import Exit, NoAnswerError, exit_of
from dashscope_ft_async.cli.targets import one_job
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus

ASKS = "2 usage, 4 timed out, 5 refused, 6 unreachable, 130 interrupted."


_DOUBT = "It may have been carried out all the same:"


def row_of(job: FineTuneJob) -> Row:
    """What one snapshot says, as a row."""
    ended = exit_of(job) if job.is_terminal else None
    return Row(job_id=job.job_id, since=time.monotonic(), job=job, exit=ended)


@click.command(
    epilog="Exit codes: 0 the job was read, whatever its status; 2 usage, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. For a code by status: wait --timeout 0 ID."
)
@one_job
@access_options
@patience
def get(job_id: str, timeout: float, **access: Any) -> None:
    """Show one job as it is now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, the job
    is one JSON object on one line.
    """
    options = Access(**access)
    console = Console(stderr=True)
    board = Board([job_id], time.monotonic())

    async def run() -> Exit:
        async with options.client() as client:
            row = await _read(client, board, job_id, timeout)
        if row.error is not None:
            view.complain(console, row.error)
        if options.as_json:
            JsonLines().tell(row)
        elif row.job is not None:
            Console().print(view.details(row.job))
        return Exit.SUCCEEDED if row.error is None else exit_of(row.error)

    with view.logs(console, options.log_level):
        raise SystemExit(run_to_exit(run, console, as_json=options.as_json))


async def _read(client: FineTuneClient, board: Board, job_id: str, timeout: float) -> Row:
    now = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            job = await client.get(job_id)
    except DashScopeFTError as error:  # first: some of these are a TimeoutError as well
        return board.gave_up(job_id, error)
    except TimeoutError:
        return board.gave_up(job_id, NoAnswerError(f"no answer within {timeout:g} s.", job_id=job_id))
    return board.ended(job, now) if job.is_terminal else board.seen(job, now)


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
@access_options
@patience
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
    **access: Any,
) -> None:
    """List the jobs of the account.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each job
    is one JSON object on one line, as of get. The service knows no filter by status: --status chooses
    among the jobs it gave.
    """
    options = Access(**access)
    board = Board((), time.monotonic())

    async def question(client: FineTuneClient) -> None:
        async for job in _listed(client, page, page_size, model):
            if statuses and job.status not in statuses:
                continue
            board.rows[job.job_id] = row = row_of(job)
            if options.as_json:
                JsonLines().tell(row)
        if not options.as_json and board.rows:
            Console().print(view.final_table(board))
        if not options.as_json:
            click.echo(board.tally() or "No jobs.", err=True)

    ask(options, timeout, question)


@click.command(epilog=f"Exit codes: 0 the cancel was accepted; {ASKS}")
@one_job
@access_options
@patience
def cancel(job_id: str, timeout: float, **access: Any) -> None:
    """Ask the service to cancel a job.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. That it was accepted does not end the
    job: it is CANCELING, and may yet end in any way. Wait for it to know.
    """
    options = Access(**access)

    async def question(client: FineTuneClient) -> None:
        await client.cancel(job_id)
        _done(options, "cancel_accepted", job_id, "cancel accepted")

    ask(options, timeout, question, job_id, f"{_DOUBT} get tells how the job is.")


@click.command(epilog=f"Exit codes: 0 the job was deleted, 1 answered with no, {ASKS}")
@one_job
@access_options
@patience
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
def delete(job_id: str, timeout: float, yes: bool, **access: Any) -> None:
    """Delete a job; one in training cannot be deleted.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. It cannot be undone, so --yes is
    needed where nobody can be asked.
    """
    options = Access(**access)
    if not yes:
        if options.as_json:
            raise click.UsageError("--yes is needed where stdout is no terminal, and with --json.")
        if not click.confirm(f"Delete {printable(job_id)}?", err=True):
            raise SystemExit(Exit.FAILED)

    async def question(client: FineTuneClient) -> None:
        await client.delete(job_id)
        _done(options, "deleted", job_id, "deleted")

    ask(options, timeout, question, job_id, f"{_DOUBT} get tells whether the job is there.")


def _done(options: Access, name: str, job_id: str, words: str) -> None:
    if options.as_json:
        write_event(name, job_id)
    else:
        click.echo(f"{printable(job_id)}: {words}")
