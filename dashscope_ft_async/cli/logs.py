"""The command `logs`."""

from __future__ import annotations

import shlex
from contextlib import aclosing
from typing import Any

import click

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.job_ids import one_job
from dashscope_ft_async.cli.jobs import OTHER_CODES
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import (
    REQUEST_TIMEOUT,
    WAIT_TIMEOUT,
    ServiceOptions,
    call_service,
    check_finite,
    service_options,
)
from dashscope_ft_async.cli.output import write_event


@click.command(epilog=f"Exit codes: 0 the log was read, with --follow to its end; {OTHER_CODES}")
@one_job
@service_options
@click.option("-f", "--follow", is_flag=True, help="Continue until the job has ended.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Omit the first N lines.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    metavar="SECONDS",
    help="Give up after this many seconds. Default: 60, with --follow 86400.",
)
def logs(job_id: str, follow: bool, after: int, timeout: float | None, **service: Any) -> None:
    """Show the log of a job: as it is now, or with --follow until the job ends.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. If stdout is not a terminal, or with
    --json, each line of the log is one JSON object that holds the number of the line.
    """
    options = ServiceOptions(**service)
    limit = timeout or (WAIT_TIMEOUT if follow else REQUEST_TIMEOUT)
    number = after

    async def read_log(client: FineTuneClient) -> None:
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

    # follow_logs has its own time limit, whose error holds the last snapshot of the job.
    code = call_service(options, None if follow else limit, read_log, job_id)
    if code is ExitCode.INTERRUPTED and follow:
        arguments = [*options.to_arguments(), "--follow", "--after", str(number)]
        arguments += [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
        click.echo("Interrupted. The job continues. To read the rest of the log:", err=True)
        click.echo(f"  {shlex.join(['dashscope-ft', 'logs', *arguments, '--', job_id])}", err=True)
    raise SystemExit(code)
