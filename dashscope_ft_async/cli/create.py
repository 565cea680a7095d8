"""The command that creates a job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.jobs import ASKS, row_of
from dashscope_ft_async.cli.options import ServiceOptions, ask, service_options, timeout_option
from dashscope_ft_async.cli.output import JsonLines


def _hyper_parameters(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter("write it as NAME=VALUE.")
        try:
            found[name] = cast("object", json.loads(value))
        except (ValueError, RecursionError):
            found[name] = value
    return found or None


def _datasets(
    context: click.Context, _: click.Parameter, given: Sequence[str]
) -> list[dict[str, object]] | None:
    if context.resilient_parsing:
        return None
    found: list[dict[str, object]] = []
    for text in given:
        try:
            read: object = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
        except OSError as error:
            raise click.BadParameter(f"{text[1:]}: {error.strerror}.") from None
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"no JSON: {error}. {_SHAPE}") from None
        for item in cast("list[object]", read) if isinstance(read, list) else [read]:
            if not isinstance(item, dict):
                raise click.BadParameter(f"no JSON object. {_SHAPE}")
            found.append(cast("dict[str, object]", item))
    return found or None


_SHAPE = """Write it as '{"data_source_type": "file_id", "file_id": "ID"}', or @FILE with that."""


@click.command(epilog=f"Exit codes: 0 the job was created; {ASKS}")
@service_options
@timeout_option
@click.option("--model", required=True, metavar="NAME", help="Model to tune.")
@click.option(
    "--training-file",
    "training_file_ids",
    multiple=True,
    metavar="ID",
    help="Id or URL of a training file; may be given again.",
)
@click.option(
    "--training-dataset",
    "training_datasets",
    multiple=True,
    callback=_datasets,
    metavar="JSON",
    help="A data set instead: a JSON object, or @FILE with one or a list; may be given again.",
)
@click.option(
    "--validation-file",
    "validation_file_ids",
    multiple=True,
    metavar="ID",
    help="Id or URL of a validation file; may be given again.",
)
@click.option(
    "--validation-dataset",
    "validation_datasets",
    multiple=True,
    callback=_datasets,
    metavar="JSON",
    help="As --training-dataset, instead of --validation-file.",
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
    training_file_ids: Sequence[str],
    validation_file_ids: Sequence[str],
    training_datasets: Sequence[Mapping[str, object]] | None,
    validation_datasets: Sequence[Mapping[str, object]] | None,
    timeout: float,
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    json: bool,
    verbose: bool,
    **fields: Any,
) -> None:
    """Create a job.

    It needs a model, and files or data sets to train it with: --training-file with the id of an uploaded
    file, or --training-dataset with an object such as {"data_source_type": "file_id", "file_id": "ID"},
    sent as it is.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. Into a pipe, or with --json, the job
    is one JSON object on one line, as of get. Where no good answer came, the error says whether the job
    may be there all the same: then look with list before you try again.
    """
    options = ServiceOptions(base_url, region, workspace, json, verbose)
    if bool(training_file_ids) == bool(training_datasets):
        raise click.UsageError("give --training-file or --training-dataset: one, and not both.")
    if validation_file_ids and validation_datasets:
        raise click.UsageError("give --validation-file or --validation-dataset, not both.")

    async def question(client: FineTuneClient) -> None:
        job = await client.create(
            training_file_ids=training_file_ids or None,
            training_datasets=training_datasets,
            validation_file_ids=validation_file_ids or None,
            validation_datasets=validation_datasets,
            **fields,
        )
        if options.as_json:
            JsonLines().update(row_of(job))
        else:
            Console().print(terminal.details(job))

    doubt = "The job may have been created all the same: look with list before you create it again."
    ask(options, timeout, question, doubt=doubt)
