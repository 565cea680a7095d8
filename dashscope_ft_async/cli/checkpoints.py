"""The commands `checkpoints` and `export`."""

from __future__ import annotations

import shlex
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashscope_ft_async import Checkpoint, FineTuneClient
from dashscope_ft_async.cli import completion
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.job_ids import check_not_key, one_job
from dashscope_ft_async.cli.jobs import OTHER_CODES
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import (
    WAIT_TIMEOUT,
    ServiceOptions,
    call_service,
    check_finite,
    service_options,
    timeout_option,
)
from dashscope_ft_async.cli.output import write_event


def _write_json(job_id: str, checkpoint: Checkpoint) -> None:
    write_event("checkpoint", job_id, checkpoint=checkpoint.to_dict())


def _checkpoint_name(_: click.Context, __: click.Parameter, value: str) -> str:
    check_not_key(value)
    return value


@click.command(epilog=f"Exit codes: 0 the checkpoints were read, even if there are none; {OTHER_CODES}")
@one_job
@service_options
@timeout_option
def checkpoints(job_id: str, timeout: float, **service: Any) -> None:
    """List the checkpoints of a job, newest first.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. If stdout is not a terminal, or with
    --json, each checkpoint is one JSON object on one line.
    """
    options = ServiceOptions(**service)

    async def read_checkpoints(client: FineTuneClient) -> None:
        found = await client.checkpoints(job_id)
        if options.as_json:
            for checkpoint in found:
                _write_json(job_id, checkpoint)
        elif found:
            Console().print(_table(found))
        else:
            click.echo("No checkpoints.", err=True)

    raise SystemExit(call_service(options, timeout, read_checkpoints, job_id))


@click.command(
    epilog="Exit codes: 0 the model exists, 2 usage, 4 timed out, 5 refused or the export failed, "
    "6 unreachable, 130 interrupted."
)
@one_job
@click.argument(
    "checkpoint", metavar="CHECKPOINT", callback=_checkpoint_name, shell_complete=completion.checkpoints
)
@service_options
@click.option("--model-name", required=True, metavar="TEXT", help="Name of the new model.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_finite,
    default=WAIT_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Stop waiting after this many seconds. The export continues.",
)
def export(job_id: str, checkpoint: str, model_name: str, timeout: float, **service: Any) -> None:
    """Export a checkpoint as a model, and wait until the export is over.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. On a terminal the command prints the
    model name to deploy. If stdout is not a terminal, or with --json, it prints the checkpoint as one JSON
    object, as checkpoints does.
    """
    options = ServiceOptions(**service)

    async def export_checkpoint(client: FineTuneClient) -> None:
        exported = await client.export_checkpoint(
            job_id, checkpoint, model_name=model_name, timeout=timeout
        )
        if options.as_json:
            _write_json(job_id, exported)
        else:
            click.echo(printable(exported.model_name or ""))

    code = call_service(options, None, export_checkpoint, job_id)
    if code is ExitCode.INTERRUPTED:
        click.echo("Interrupted. If the export has started, it continues. To see its status:", err=True)
        arguments = ["dashscope-ft", "checkpoints", *options.to_arguments(), "--", job_id]
        click.echo(f"  {shlex.join(arguments)}", err=True)
    raise SystemExit(code)


def _table(found: tuple[Checkpoint, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Checkpoint", "Export", "Saved", "Model"):
        table.add_column(name, overflow="fold")
    for each in found:
        saved = "" if each.create_time is None else str(each.create_time)
        texts = (each.checkpoint, each.raw_status, saved, each.model_name or "")
        table.add_row(*(Text(printable(text)) for text in texts))
    return table
