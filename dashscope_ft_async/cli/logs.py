"""The command that shows what a job writes while it trains."""

from __future__ import annotations

import shlex
from contextlib import aclosing
from typing import Any

import click

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.job_ids import one_job
from dashscope_ft_async.cli.jobs import ASKS
from dashscope_ft_async.cli.options import (
    REQUEST_TIMEOUT,
    WAIT_TIMEOUT,
    ServiceOptions,
    answered,
    check_finite,
    service_options,
)
from dashscope_ft_async.cli.output import write_event
from dashscope_ft_async.cli.tracker import printable


@click.command(epilog=f"Exit codes: 0 the log was read, with --follow to its end; {ASKS}")
@one_job
@service_options
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
    callback=check_finite,
    metavar="SECONDS",
    help="Give up after so many seconds: 60 by default, 86400 with --follow.",
)
def logs(job_id: str, follow: bool, after: int, timeout: float | None, **service: Any) -> None:
    """Show the log of a job, as it is now or until the job ends.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each
    line is one JSON object with its number.
    """
    options = ServiceOptions(**service)
    limit = timeout or (WAIT_TIMEOUT if follow else REQUEST_TIMEOUT)
    number = after

    async def question(client: FineTuneClient) -> None:
        nonlocal number
        if follow:
            log = client.follow_logs(job_id, after=after, timeout=limit)
        else:
            log = client.iter_logs(job_id, after=after)
        async with aclosing(log) as lines:
            async for line in lines:
                number += 1
                if options.as_json:
                    write_event("log", job_id, number=number, line=line)
                else:
                    click.echo(printable(line))

    # Following keeps its own time, so that what ends it says where it stood.
    code = answered(options, None if follow else limit, question, job_id)
    if code is ExitCode.INTERRUPTED and follow:
        words = [*options.to_arguments(), "--follow", "--after", str(number)]
        words += [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
        click.echo("Interrupted; the job goes on. To go on reading:", err=True)
        click.echo(f"  {shlex.join(['dashscope-ft', 'logs', *words, '--', job_id])}", err=True)
    raise SystemExit(code)
