"""The command that creates a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import click
from rich.console import Console

from dashscope_ft_async.cli import view
from dashscope_ft_async.cli.access import Access, access_options, ask, patience
from dashscope_ft_async.cli.jobs import ASKS, row_of
from dashscope_ft_async.cli.lines import JsonLines
from dashscope_ft_async.client import FineTuneClient


def _hyper_parameters(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter("write it as NAME=VALUE.")
        try:
            found[name] = cast("object", json.loads(value))
        except ValueError:
            found[name] = value
    return found or None


@click.command(epilog=f"Exit codes: 0 the job was created; {ASKS}")
@access_options
@patience
@click.option("--model", required=True, metavar="NAME", help="Model to tune.")
@click.option(
    "--training-file",
    "training",
    multiple=True,
    required=True,
    metavar="ID",
    help="Id or URL of a training file; may be given again.",
)
@click.option(
    "--validation-file",
    "validation",
    multiple=True,
    metavar="ID",
    help="Id or URL of a validation file; may be given again.",
)
@click.option(
    "--hyper-parameter",
    "hyper_parameters",
    multiple=True,
    callback=_hyper_parameters,
    metavar="NAME=VALUE",
    help="VALUE is JSON where it can be read as such, else text; may be given again.",
)
@click.option("--training-type", metavar="TYPE", help="sft, efficient_sft, cpt, dpo_full, dpo_lora, …")
@click.option("--job-name", metavar="TEXT", help="A name of your own makes a job easy to find again.")
@click.option("--model-name", metavar="TEXT", help="Display name of the resulting model.")
def create(
    training: Sequence[str],
    validation: Sequence[str],
    timeout: float,
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    json: bool,
    verbose: bool,
    **fields: Any,
) -> None:
    """Create a job.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, the job
    is one JSON object on one line, as of get. Where no good answer came, the error says whether the job
    may be there all the same: then look with list before you try again.
    """
    options = Access(base_url, region, workspace, json, verbose)

    async def question(client: FineTuneClient) -> None:
        job = await client.create(
            training_file_ids=training, validation_file_ids=validation or None, **fields
        )
        if options.as_json:
            JsonLines().tell(row_of(job))
        else:
            Console().print(view.details(job))

    ask(options, timeout, question)
