"""The command that runs the simulator as a server."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from dashscope_ft_async.cli.access import run_to_exit
from dashscope_ft_async.cli.lines import write_event
from dashscope_ft_async.cli.outcome import Exit
from dashscope_ft_async.cli.show import terminals
from dashscope_ft_async.testing import Simulator


@click.command(epilog="Exit codes: 2 usage, 130 interrupted, which is how it ends.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line on stdout, also on a terminal.")
@click.option("--jobs", type=click.IntRange(0, 10_000), default=3, show_default=True, help="Jobs at first.")
def simulate(as_json: bool, jobs: int) -> None:
    """Run a simulated service on 127.0.0.1 until Ctrl-C, and print its URL.

    It needs no key and takes any. Give the URL as --base-url or DASHSCOPE_BASE_URL. Its jobs end after
    ten seconds, and so do those that are created.
    """

    async def run() -> Exit:
        async with Simulator() as service:
            for _ in range(jobs):
                service.add_job()
            if as_json or not terminals().stdout:
                write_event("simulating", None, base_url=service.base_url)
            else:
                click.echo(service.base_url)
            click.echo("Ctrl-C ends it.", err=True)
            await asyncio.Event().wait()
        return Exit.SUCCEEDED

    raise SystemExit(run_to_exit(run, Console(stderr=True)))
