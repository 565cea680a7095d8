"""The commands: options in, exit code out. What they mean is decided in the modules beside this one."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from dashscope_ft_async._version import __version__
from dashscope_ft_async.cli import view
from dashscope_ft_async.cli.access import (
    SILENT,
    Access,
    access_options,
    no_key,
    patience,
    run_to_exit,
    seconds,
)
from dashscope_ft_async.cli.board import Board, Row
from dashscope_ft_async.cli.checkpoints import checkpoints, export
from dashscope_ft_async.cli.create import create
from dashscope_ft_async.cli.demo import INTRODUCTION, play
from dashscope_ft_async.cli.jobs import cancel, delete, list_jobs
from dashscope_ft_async.cli.lines import JsonLines, write_json
from dashscope_ft_async.cli.logs import DAY, logs
from dashscope_ft_async.cli.outcome import Exit, exit_of, go_on_line
from dashscope_ft_async.cli.show import show, terminals
from dashscope_ft_async.cli.simulate import simulate
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import DashScopeFTError, WaitTimeoutError


class _Group(click.Group):
    """Ctrl-C and a pipe whose reader has gone end a command without a traceback, at any point of it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            # The interpreter flushes stdout once more on its way out.
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            ctx.exit(Exit.READER_GONE)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dashscope-ft")
def dashscope_ft() -> None:
    """Follow fine-tuning jobs of Alibaba Cloud Model Studio (DashScope).

    The API key is read from DASHSCOPE_API_KEY or from the key file ~/.dashscope/api_key. There is no
    option for it: other users of a machine can read command lines.
    """


# --- from the modules beside this one

for _command in (list_jobs, logs, cancel, delete, create, checkpoints, export, simulate):
    dashscope_ft.add_command(_command)


# --- wait -------------------------------------------------------------------------------------------


@dashscope_ft.command(
    epilog="Exit codes: 0 all SUCCEEDED, 1 one FAILED, 2 usage, 3 one CANCELED, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. Of several, the first in the order 1, 3, 2, 5, 6, 4."
)
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, callback=no_key)
@access_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=seconds,
    metavar="SECONDS",
    help="Give up after so many seconds, 86400 by default; 0 asks once.",
)
@click.option("--no-timeout", is_flag=True, help="Never give up.")
def wait(job_ids: Sequence[str], timeout: float | None, no_timeout: bool, **access: Any) -> None:
    """Wait until all jobs have ended.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. On a terminal the jobs are shown
    live; into a pipe, or with --json, every change is one JSON object per line. Interrupting touches
    no job.
    """
    if no_timeout and timeout is not None:
        raise click.UsageError("--timeout and --no-timeout exclude each other.")
    options = Access(**access)
    board = Board(job_ids, time.monotonic())
    limit = None if no_timeout else DAY if timeout is None else timeout
    console = Console(stderr=True)
    as_json = options.json or not terminals().stdout

    async def run() -> Exit:
        async with options.client() as client:
            await show(client, board, console, as_json=as_json, timeout=limit)
        return board.exit

    with view.logs(console, options.log_level):
        code = run_to_exit(run, console)
    if not as_json:
        Console().print(view.final_table(board))
    if code is Exit.INTERRUPTED and board.pending:
        words = options.words()
        words += (
            ["--no-timeout"] if no_timeout else [] if timeout is None else ["--timeout", f"{timeout:.15g}"]
        )
        click.echo("Interrupted; the jobs go on. To go on waiting:", err=True)
        click.echo(f"  {go_on_line(words, board.pending)}", err=True)
    raise SystemExit(code)


# --- get --------------------------------------------------------------------------------------------


@dashscope_ft.command(
    epilog="Exit codes: 0 the job was read, whatever its status; 2 usage, 4 timed out, 5 refused, "
    "6 unreachable, 130 interrupted. For a code by status: wait --timeout 0 ID."
)
@click.argument("job_id", metavar="ID", callback=no_key)
@access_options
@patience
def get(job_id: str, timeout: float, **access: Any) -> None:
    """Show one job as it is now.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, the job
    is one JSON object on one line.
    """
    options = Access(**access)
    console = Console(stderr=True)
    as_json = options.json or not terminals().stdout
    board = Board([job_id], time.monotonic())

    async def run() -> Exit:
        async with options.client() as client:
            row = await _read(client, board, job_id, timeout)
        if row.error is not None:
            view.complain(console, row.error)
        if as_json:
            JsonLines().tell(row)
        elif row.job is not None:
            Console().print(view.details(row.job))
        return Exit.SUCCEEDED if row.error is None else exit_of(row.error)

    with view.logs(console, options.log_level):
        raise SystemExit(run_to_exit(run, console))


async def _read(client: FineTuneClient, board: Board, job_id: str, timeout: float) -> Row:
    now = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            job = await client.get(job_id)
    except DashScopeFTError as error:  # first: some of these are a TimeoutError as well
        return board.gave_up(job_id, error)
    except TimeoutError:
        return board.gave_up(job_id, WaitTimeoutError("no answer", job_id=job_id, elapsed=timeout))
    return board.ended(job, now) if job.is_terminal else board.seen(job, now)


# --- demo -------------------------------------------------------------------------------------------


@dashscope_ft.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
@click.option("--speed", type=click.FloatRange(min=0.1, max=100), default=1.0, hidden=True)
def demo(as_json: bool, speed: float) -> None:
    """Follow six simulated jobs through a stormy quarter of a minute.

    Needs no key and no network: the service is simulated in this process, on 127.0.0.1.
    """
    console = Console(stderr=True)

    if not as_json:
        click.echo(INTRODUCTION)

    async def run() -> Exit:
        report = await play(console, as_json=as_json, speed=speed)
        if as_json:
            write_json(report.json())
        else:
            click.echo("\n".join(report.text()))
        return report.exit

    # The faults are part of the play: they are counted at the end, not logged one by one.
    with view.logs(console, SILENT):
        raise SystemExit(run_to_exit(run, console))
