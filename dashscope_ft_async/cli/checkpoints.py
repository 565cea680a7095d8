"""Commands about what a job saves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashscope_ft_async.cli.access import Access, access_options, ask, event, no_key, patience
from dashscope_ft_async.cli.board import printable
from dashscope_ft_async.cli.jobs import ASKS
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.models import Checkpoint


def _tell(job_id: str, checkpoint: Checkpoint) -> None:
    facts = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in attrs.asdict(checkpoint, recurse=False).items()
    }
    event("checkpoint", job_id, checkpoint=facts)


@click.command(epilog=f"Exit codes: 0 the checkpoints were read, even if there are none; {ASKS}")
@click.argument("job_id", metavar="ID", callback=no_key)
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


def _table(found: tuple[Checkpoint, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Checkpoint", "Export", "Saved", "Model"):
        table.add_column(name, overflow="fold")
    for each in found:
        saved = "" if each.create_time is None else str(each.create_time)
        words = (each.checkpoint, each.raw_status, saved, each.model_name or "")
        table.add_row(*(Text(printable(word)) for word in words))
    return table
