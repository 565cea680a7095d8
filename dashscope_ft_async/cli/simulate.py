"""The command `simulate`: the simulator as a server."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import NoReturn

import click
from rich.console import Console

from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.options import check_finite, run_async
from dashscope_ft_async.cli.output import write_event
from dashscope_ft_async.cli.views import terminals
from dashscope_ft_async.testing import DEFAULT_TIMELINE, Simulator

_DEFAULT_SECONDS = float(DEFAULT_TIMELINE[-1][0])
_LOSSES = 40
_CODE, _MESSAGE = "InvalidTrainingData", "line 17 is not valid JSON"
_CLEAR_EVERY = 60.0


@click.command(
    short_help="Run a simulated service on 127.0.0.1.",
    epilog="Exit codes: 2 usage, or the port is in use; 130 interrupted, which is how the command ends.",
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON line to stdout, on a terminal too.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default="a free port",
    metavar="N",
    help="Port to listen on.",
)
@click.option(
    "--jobs",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    metavar="N",
    help="Number of jobs at the start.",
)
@click.option(
    "--job-seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    default=_DEFAULT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Time from the creation of a job to its end.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    callback=check_finite,
    default=0.0,
    metavar="SECONDS",
    help="Delay of each answer.",
)
@click.option(
    "--rate-limit",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    metavar="N",
    help="Answer requests beyond N per second with status 429.",
)
def simulate(
    as_json: bool, port: int, jobs: int, job_seconds: float, latency: float, rate_limit: float | None
) -> None:
    """Run a simulated service on 127.0.0.1 until Ctrl-C, and print its URL.

    It needs no key and accepts any key. Pass the URL to other commands or programs as --base-url or
    DASHSCOPE_BASE_URL. The jobs write about 40 losses to their logs and succeed. Of the jobs at the start,
    every third fails.
    """
    life = [(at * job_seconds / _DEFAULT_SECONDS, status) for at, status in DEFAULT_TIMELINE]
    service = Simulator(
        latency=latency,
        rate_limit=rate_limit,
        new_jobs=life,
        loss_every=(life[-1][0] - life[-2][0]) / _LOSSES,
        port=port,
    )

    async def run() -> ExitCode:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(service)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise click.BadParameter(f"{port}: {reason}.", param_hint="--port") from None
            for number in range(1, jobs + 1):
                if number % 3:
                    service.add_job(life)
                else:
                    service.add_job([*life[:-1], (job_seconds, "FAILED")], code=_CODE, message=_MESSAGE)
            if as_json or not terminals().stdout:
                write_event("simulating", None, base_url=service.base_url)
            else:
                click.echo(service.base_url)
            click.echo("Press Ctrl-C to stop it.", err=True)
            await clear_requests(service)

    raise SystemExit(run_async(run, Console(stderr=True)))


async def clear_requests(service: Simulator) -> NoReturn:
    """Empty the list of requests that `service` keeps, again and again, until cancelled."""
    while True:
        await asyncio.sleep(_CLEAR_EVERY)
        service.requests.clear()
