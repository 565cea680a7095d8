"""The command `create`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.job_ids import decoded
from dashscope_ft_async.cli.jobs import OTHER_CODES, row_of
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import ServiceOptions, call_service, service_options, timeout_option
from dashscope_ft_async.cli.output import JsonLines

_DATASET_FORM = """Write it as '{"data_source_type": "file_id", "file_id": "ID"}', or @FILE with that."""
_OBJECT_FORM = """Write it as '{"NAME": VALUE}', or @FILE with that."""
# Numbers as Python and people write them, which JSON does not allow: .9, 1., +5, 007.
_NUMBER = re.compile(r"[+-]?(\d+(?P<decimals>\.\d*)?|(?P<fraction>\.\d+))(?P<exponent>[eE][+-]?\d+)?")
_BOOLEANS = {"true": True, "false": False}
_AMBIGUOUS = {"none": "null", "null": "null"}
_NOT_FINITE = frozenset({"nan", "inf", "infinity"})


def _hyper_parameters(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, Any] | None:
    parameters: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter("write it as NAME=VALUE.")
        parameters[name] = _value(name, value)
    return parameters or None


def _value(name: str, text: str) -> object:
    """Return the value that `text` means: JSON, a number or a boolean in another notation, or text."""

    def refuse(reason: str) -> NoReturn:
        raise click.BadParameter(f"{printable(name)}: {reason}")

    def refuse_constant(_: str) -> NoReturn:
        refuse("must be a finite number.")

    word = text.strip()
    try:
        return cast("object", json.loads(word, parse_constant=refuse_constant))
    except RecursionError:
        refuse("is nested too deep.")
    except ValueError as error:
        if word.startswith(("{", "[", '"')):
            refuse(f"is not valid JSON: {error}.")
    if word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    if word.lower() in _AMBIGUOUS:
        refuse(f"""write {name}=null for no value, or {name}='"{word}"' for that text.""")
    if word.lower().lstrip("+-") in _NOT_FINITE:
        refuse("must be a finite number.")
    number = _NUMBER.fullmatch(word)
    if number is None:
        return text
    is_whole = not any(number.group("decimals", "fraction", "exponent"))
    return int(word) if is_whole else float(word)


def _all_objects(
    context: click.Context, parameter: click.Parameter, given: Sequence[str]
) -> list[dict[str, object]] | None:
    if context.resilient_parsing:
        return None
    form = _OBJECT_FORM if parameter.name == "rewards" else _DATASET_FORM
    return [item for text in given for item in _objects(text, form)] or None


def _one_object(context: click.Context, _: click.Parameter, given: str | None) -> dict[str, object] | None:
    if given is None or context.resilient_parsing:
        return None
    objects = _objects(given, _OBJECT_FORM)
    if len(objects) != 1:
        raise click.BadParameter(f"give one JSON object, not {len(objects)}.")
    return objects[0]


def _objects(text: str, form: str) -> list[dict[str, object]]:
    """Return the JSON objects in `text`, or in FILE if it is ``@FILE``. Errors end with `form`."""
    try:
        value: object = json.loads(decoded(Path(text[1:]).read_bytes()) if text[:1] == "@" else text)
    except OSError as error:
        raise click.BadParameter(f"{text[1:]}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{text[1:]} is neither UTF-8 nor UTF-16 text.") from None
    except RecursionError:
        raise click.BadParameter(f"not valid JSON: it is nested too deep. {form}") from None
    except ValueError as error:
        raise click.BadParameter(f"not valid JSON: {error}. {form}") from None
    found = cast("list[object]", value) if isinstance(value, list) else [value]
    objects = [cast("dict[str, object]", item) for item in found if isinstance(item, dict) and item]
    if len(objects) != len(found):
        raise click.BadParameter(f"not a JSON object with fields. {form}")
    return objects


@click.command(epilog=f"Exit codes: 0 the job was created; {OTHER_CODES}")
@service_options
@timeout_option
@click.option("--model", required=True, metavar="NAME", help="Model to train.")
@click.option(
    "--training-file",
    "training_file_ids",
    multiple=True,
    metavar="ID",
    help="Id or URL of an uploaded training file. May be given again.",
)
@click.option(
    "--training-dataset",
    "training_datasets",
    multiple=True,
    callback=_all_objects,
    metavar="JSON",
    help="A data set instead of a file: a JSON object, or @FILE with one object or a list of them. "
    "May be given again.",
)
@click.option(
    "--validation-file",
    "validation_file_ids",
    multiple=True,
    metavar="ID",
    help="Id or URL of an uploaded validation file. May be given again.",
)
@click.option(
    "--validation-dataset",
    "validation_datasets",
    multiple=True,
    callback=_all_objects,
    metavar="JSON",
    help="A data set instead of a validation file, written as for --training-dataset.",
)
@click.option(
    "--hyper-parameter",
    "hyper_parameters",
    multiple=True,
    callback=_hyper_parameters,
    metavar="NAME=VALUE",
    help="VALUE is JSON, a number, true or false; anything else is sent as text. May be given again.",
)
@click.option("--training-type", metavar="TYPE", help="sft, efficient_sft, cpt, dpo_full, dpo_lora, …")
@click.option("--job-name", metavar="TEXT", help="Name of the job, by which you find it again.")
@click.option("--model-name", metavar="TEXT", help="Display name of the resulting model.")
@click.option(
    "--finetuned-output-suffix", metavar="TEXT", help="Suffix of the resulting model's name (older API)."
)
@click.option(
    "--rollout",
    callback=_one_object,
    metavar="JSON",
    help="The function that samples answers (reinforcement learning).",
)
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    callback=_all_objects,
    metavar="JSON",
    help="A function that rates answers (reinforcement learning). May be given again.",
)
@click.option(
    "--resource-config",
    callback=_one_object,
    metavar="JSON",
    help='Resources and billing, such as {"charge_type": "mtu_postpaid"}.',
)
@click.option("--teacher-model", metavar="NAME", help="Model that the trained one learns from.")
@click.option("--priority", metavar="TEXT", help="Priority of the job.")
@click.option(
    "--extra-body",
    callback=_one_object,
    metavar="JSON",
    help="Further fields of the request: a JSON object, or @FILE with one. They replace other options.",
)
def create(
    training_file_ids: Sequence[str],
    validation_file_ids: Sequence[str],
    training_datasets: Sequence[Mapping[str, object]] | None,
    validation_datasets: Sequence[Mapping[str, object]] | None,
    timeout: float,
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    proxy: str | None,
    json: bool,
    verbose: bool,
    **fields: Any,
) -> None:
    """Create a job.

    A job needs a model and training data: --training-file with the id of an uploaded file, or
    --training-dataset with an object such as {"data_source_type": "file_id", "file_id": "ID"}, which is
    sent unchanged.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key. If stdout is not a terminal, or with
    --json, the job is one JSON object on one line, as in the output of get. If the command fails, the
    error says whether the job may have been created. If so, look for it with list before you try again.
    """
    options = ServiceOptions(base_url, region, workspace, proxy, json, verbose)
    sources = bool(training_file_ids) + bool(training_datasets)
    if sources > 1 or (sources == 0 and not fields["extra_body"]):
        raise click.UsageError("give either --training-file or --training-dataset.")
    if validation_file_ids and validation_datasets:
        raise click.UsageError("give --validation-file or --validation-dataset, not both.")

    async def create_job(client: FineTuneClient) -> None:
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

    uncertainty = "The job may have been created. Look for it with list before you create it again."
    raise SystemExit(call_service(options, timeout, create_job, uncertainty=uncertainty))
