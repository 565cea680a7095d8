"""Commands about what a job saves."""

from __future__ import annotations

import shlex
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import completion
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.job_ids import no_key, one_job
from dashscope_ft_async.cli.jobs import ASKS
from dashscope_ft_async.cli.options import (
    WAIT_TIMEOUT,
    ServiceOptions,
    answered,
    ask,
    check_finite,
    service_options,
    timeout_option,
)
from dashscope_ft_async.cli.output import write_event
from dashscope_ft_async.cli.tracker import printable
from dashscope_ft_async.models import Checkpoint


def _tell(job_id: str, checkpoint: Checkpoint) -> None:
    write_event("checkpoint", job_id, checkpoint=checkpoint.to_dict())


@click.command(epilog=f"Exit codes: 0 the checkpoints were read, even if there are none; {ASKS}")
@one_job
@service_options
@timeout_option
def checkpoints(job_id: str, timeout: float, **service: Any) -> None:
    """List the checkpoints of a job, the newest first.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each
    checkpoint is one JSON object on one line.
    """
    options = ServiceOptions(**service)

    async def question(client: FineTuneClient) -> None:
        found = await client.checkpoints(job_id)
        if options.as_json:
            for checkpoint in found:
                _tell(job_id, checkpoint)
        elif found:
            Console().print(_table(found))
        else:
            click.echo("No checkpoints.", err=True)

    ask(options, timeout, question, job_id)


@click.command(
    epilog="Exit codes: 0 the model is there, 2 usage, 4 timed out, 5 refused or the export failed, "
    "6 unreachable, 130 interrupted."
)
@one_job
@click.argument("checkpoint", metavar="CHECKPOINT", callback=no_key, shell_complete=completion.checkpoints)
@service_options
@click.option("--model-name", required=True, metavar="TEXT", help="Name for the model.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    default=WAIT_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so many seconds; the export goes on.",
)
def export(job_id: str, checkpoint: str, model_name: str, timeout: float, **service: Any) -> None:
    """Make a model of a checkpoint, and wait until it is there.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. On a terminal the name to deploy is
    written; into a pipe, or with --json, the checkpoint as one JSON object, as of checkpoints.
    """
    options = ServiceOptions(**service)

    async def question(client: FineTuneClient) -> None:
        done = await client.export_checkpoint(job_id, checkpoint, model_name=model_name, timeout=timeout)
        if options.as_json:
            _tell(job_id, done)
        else:
            click.echo(printable(done.model_name or ""))

    code = answered(options, None, question, job_id)
    if code is ExitCode.INTERRUPTED:
        click.echo("Interrupted; an export that has begun goes on. To see it:", err=True)
        words = ["dashscope-ft", "checkpoints", *options.to_arguments(), "--", job_id]
        click.echo(f"  {shlex.join(words)}", err=True)
    raise SystemExit(code)


def _table(found: tuple[Checkpoint, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Checkpoint", "Export", "Saved", "Model"):
        table.add_column(name, overflow="fold")
    for each in found:
        saved = "" if each.create_time is None else str(each.create_time)
        words = (each.checkpoint, each.raw_status, saved, each.model_name or "")
        table.add_row(*(Text(printable(word)) for word in words))
    return table
