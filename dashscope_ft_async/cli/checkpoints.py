"""Commands about what a job saves."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

import attrs
import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashscope_ft_async.cli import completion
from dashscope_ft_async.cli.access import (
    DAY,
    Access,
    access_options,
    answered,
    ask,
    patience,
    seconds,
)
from dashscope_ft_async.cli.board import printable
from dashscope_ft_async.cli.jobs import ASKS
from dashscope_ft_async.cli.lines import write_event
from dashscope_ft_async.cli.outcome import Exit
from dashscope_ft_async.cli.targets import no_key, one_job
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.models import Checkpoint


def _tell(job_id: str, checkpoint: Checkpoint) -> None:
    facts = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in attrs.asdict(checkpoint, recurse=False).items()
    }
    write_event("checkpoint", job_id, checkpoint=facts)


@click.command(epilog=f"Exit codes: 0 the checkpoints were read, even if there are none; {ASKS}")
@one_job
@access_options
@patience
def checkpoints(job_id: str, timeout: float, **access: Any) -> None:
    """List the checkpoints of a job, the newest first.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, each
    checkpoint is one JSON object on one line.
    """
    options = Access(**access)

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
@access_options
@click.option("--model-name", required=True, metavar="TEXT", help="Name for the model.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=seconds,
    default=DAY,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so many seconds; the export goes on.",
)
def export(job_id: str, checkpoint: str, model_name: str, timeout: float, **access: Any) -> None:
    """Make a model of a checkpoint, and wait until it is there.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. On a terminal the name to deploy is
    written; into a pipe, or with --json, the checkpoint as one JSON object, as of checkpoints.
    """
    options = Access(**access)

    async def question(client: FineTuneClient) -> None:
        done = await client.export_checkpoint(job_id, checkpoint, model_name=model_name, timeout=timeout)
        if options.as_json:
            _tell(job_id, done)
        else:
            click.echo(printable(done.model_name or ""))

    code = answered(options, None, question, job_id)
    if code is Exit.INTERRUPTED:
        click.echo("Interrupted; an export that has begun goes on. To see it:", err=True)
        words = ["dashscope-ft", "checkpoints", *options.words(), "--", job_id]
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
