"""The command that shows what a job writes while it trains."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import click

from dashscope_ft_async._engine.log_position import LogPosition
from dashscope_ft_async.cli.access import (
    DAY,
    GET_PATIENCE,
    Access,
    access_options,
    answered,
    seconds,
)
from dashscope_ft_async.cli.board import printable
from dashscope_ft_async.cli.jobs import ASKS
from dashscope_ft_async.cli.lines import write_event
from dashscope_ft_async.cli.outcome import Exit
from dashscope_ft_async.cli.targets import one_job
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.models import LogPage


def pages_of(client: FineTuneClient, job_id: str) -> Callable[[int], Awaitable[LogPage]]:
    """Asks for the longest page of the log at an offset."""
    return lambda offset: client.logs(job_id, offset=offset, lines=1000)


async def so_far(page_at: Callable[[int], Awaitable[LogPage]], after: int = 0) -> AsyncGenerator[str, None]:
    """The lines of the log as it is now; `page_at` asks for what is at an offset."""
    position = LogPosition(after)
    while True:
        page = await page_at(position.offset)
        for line in position.take(page.lines, page.total):
            yield line
        if position.at_end:
            return


@click.command(epilog=f"Exit codes: 0 the log was read, with --follow to its end; {ASKS}")
@one_job
@access_options
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Leave out the first N lines.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=seconds,
    metavar="SECONDS",
    help="Give up after so many seconds: 60 by default, 86400 with --follow.",
)
def logs(job_id: str, follow: bool, after: int, timeout: float | None, **access: Any) -> None:
    """Show the log of a job, as it is now or until the job ends.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each
    line is one JSON object with its number.
    """
    options = Access(**access)
    limit = timeout or (DAY if follow else GET_PATIENCE)
    number = after

    async def question(client: FineTuneClient) -> None:
        nonlocal number
        followed = client.follow_logs(job_id, after=after, timeout=limit) if follow else None
        async with aclosing(followed or so_far(pages_of(client, job_id), after)) as lines:
            async for line in lines:
                number += 1
                if options.as_json:
                    write_event("log", job_id, number=number, line=line)
                else:
                    click.echo(printable(line))

    # Following keeps its own time, so that what ends it says where it stood.
    code = answered(options, None if follow else limit, question, job_id)
    if code is Exit.INTERRUPTED and follow:
        words = [*options.words(), "--follow", "--after", str(number)]
        words += [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
        click.echo("Interrupted; the job goes on. To go on reading:", err=True)
        click.echo(f"  {shlex.join(['dashscope-ft', 'logs', *words, '--', job_id])}", err=True)
    raise SystemExit(code)
