"""What is done to jobs: the requests that create, cancel and delete one, and what they are answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, cast
from urllib.parse import quote

import orjson

from dashscope_ft_async._api.wire.answers import job_in
from dashscope_ft_async._api.wire.envelope import Json, malformed, output_of, payload_of, text_of
from dashscope_ft_async._api.wire.messages import Request, Response
from dashscope_ft_async.errors import APIResponseValidationError, ConfigurationError
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.models.checks import is_number
from dashscope_ft_async.models.redact import shown


def create_request(arguments: Mapping[str, object]) -> Request:
    """``POST /fine-tunes``; `arguments` are those of `FineTuneClient.create`, `None` for absent ones.

    Raises `ConfigurationError` for what the service could not read.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if ("training_file_ids" in given) == ("training_datasets" in given):
        raise ConfigurationError("give training_file_ids or training_datasets: one, and not both.")
    if "validation_file_ids" in given and "validation_datasets" in given:
        raise ConfigurationError("give validation_file_ids or validation_datasets, not both.")
    try:
        body = {name: _RULES[name](name, value) for name, value in ({"model": None} | given).items()}
        return Request("POST", "/fine-tunes", orjson.dumps(body))
    except orjson.JSONEncodeError as error:  # a number beyond 64 bits, half of a surrogate pair
        raise ConfigurationError(f"the job cannot be written as JSON: {error}") from None
    except RecursionError:
        raise ConfigurationError("the job cannot be written as JSON: it is nested too deep.") from None


def cancel_request(job_id: str) -> Request:
    """``POST /fine-tunes/{job_id}/cancel``."""
    return Request("POST", f"/fine-tunes/{quote(job_id, safe='')}/cancel")


def delete_request(job_id: str) -> Request:
    """``DELETE /fine-tunes/{job_id}``."""
    return Request("DELETE", f"/fine-tunes/{quote(job_id, safe='')}")


def decode_created(response: Response) -> FineTuneJob:
    """The job that was created; of an old service only its id and status."""
    try:
        return job_in(response)
    except APIResponseValidationError as error:
        error.job_id = _id_at_least(response)
        raise


def _id_at_least(response: Response) -> str | None:
    try:
        return text_of(output_of(response, payload_of(response)).get("job_id"))
    except APIResponseValidationError:
        return None


def decode_done(response: Response) -> None:
    """Nothing, where the action succeeded; its ``status`` is the action's own, not the job's."""
    status = text_of(output_of(response, payload_of(response)).get("status"))
    if status is not None and status.strip().lower() != "success":
        raise malformed(response, f"expected 'success', found {shown(status)!r} @ $.output.status")


# --- arguments as JSON --------------------------------------------------------------------------------


def _shown(value: object) -> str:
    return shown(repr(value))  # it may be a key, given in the wrong place


def _line(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{where} must be text of one line, not {_shown(value)}.")
    return value


def _lines(where: str, value: object) -> list[str]:
    return [_line(f"{where}[{n}]", item) for n, item in enumerate(_several(where, value))]


def _mappings(where: str, value: object) -> list[Json]:
    return [_mapping(f"{where}[{n}]", item) for n, item in enumerate(_several(where, value))]


def _several(where: str, value: object) -> Sequence[object]:
    if not _is_list(value) or not value:
        raise ConfigurationError(f"{where} must be a list with something in it, not {_shown(value)}.")
    return value


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _mapping(where: str, value: object) -> Json:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} must be a mapping, not {_shown(value)}.")
    plain: Json = {}
    for key, item in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str):
            raise ConfigurationError(f"the keys of {where} must be text, not {_shown(key)}.")
        plain[key] = _plain(f"{where}.{key}", item)
    return plain


def _plain(where: str, value: object) -> object:
    # orjson would write NaN as null, and dates and dataclasses in forms of its own.
    match value:
        case None | bool() | str():
            return value
        case int() | float() if is_number(value):
            return value
        case Mapping():
            return _mapping(where, cast("object", value))
        case _ if _is_list(value):
            return [_plain(f"{where}[{n}]", item) for n, item in enumerate(value)]
        case _:
            raise ConfigurationError(f"{where} cannot be written as JSON: {_shown(value)}.")


_RULES: Mapping[str, Callable[[str, object], object]] = {
    "model": _line,
    "training_file_ids": _lines,
    "training_datasets": _mappings,
    "validation_file_ids": _lines,
    "validation_datasets": _mappings,
    "hyper_parameters": _mapping,
    "training_type": _line,
    "job_name": _line,
    "model_name": _line,
}
