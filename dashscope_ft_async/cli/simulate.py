"""The command that runs the simulator as a server."""

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
from dashscope_ft_async.testing import Simulator
from dashscope_ft_async.testing.simulator import USUAL_LIFE

_USUAL_SECONDS = float(USUAL_LIFE[-1][0])
_LOSSES = 40
_CODE, _MESSAGE = "InvalidTrainingData", "line 17 is not valid JSON"
_MEMORY = 60.0


@click.command(
    short_help="Run a simulated service on 127.0.0.1.",
    epilog="Exit codes: 2 usage, as where the port is taken; 130 interrupted, which is how it ends.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON line on stdout, also on a terminal.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default="any that is free",
    metavar="N",
    help="Port to listen on.",
)
@click.option(
    "--jobs",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    metavar="N",
    help="Jobs at first.",
)
@click.option(
    "--job-seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    default=_USUAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a job takes from its creation to its end.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    callback=check_finite,
    default=0.0,
    metavar="SECONDS",
    help="Answer each request only after so long.",
)
@click.option(
    "--rate-limit",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    metavar="N",
    help="Answer what goes beyond N requests per second with a 429.",
)
def simulate(
    as_json: bool, port: int, jobs: int, job_seconds: float, latency: float, rate_limit: float | None
) -> None:
    """Run a simulated service on 127.0.0.1 until Ctrl-C, and print its URL.

    It needs no key and takes any. Give the URL as --base-url or DASHSCOPE_BASE_URL to the other commands
    or to a program. Its jobs train with about 40 losses in their logs, and succeed; of those at first,
    every third fails.
    """
    life = [(at * job_seconds / _USUAL_SECONDS, status) for at, status in USUAL_LIFE]
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
                told = os.strerror(error.errno) if error.errno else str(error)
                raise click.BadParameter(f"{port}: {told}.", param_hint="--port") from None
            for number in range(1, jobs + 1):
                if number % 3:
                    service.add_job(life)
                else:
                    service.add_job([*life[:-1], (job_seconds, "FAILED")], code=_CODE, message=_MESSAGE)
            if as_json or not terminals().stdout:
                write_event("simulating", None, base_url=service.base_url)
            else:
                click.echo(service.base_url)
            click.echo("Ctrl-C ends it.", err=True)
            await forgetting(service)

    raise SystemExit(run_async(run, Console(stderr=True)))


async def forgetting(service: Simulator) -> NoReturn:
    """Let `service` run until cancelled, without an ever longer record of requests that nobody reads."""
    while True:
        await asyncio.sleep(_MEMORY)
        service.requests.clear()
