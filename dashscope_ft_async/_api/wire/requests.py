"""Build the requests of all endpoints. Invalid arguments raise `ConfigurationError`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TypeGuard, TypeVar, cast
from urllib.parse import quote, urlencode

import orjson

from dashscope_ft_async._api.wire.messages import Request
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import Checkpoint, FineTuneJob, WatchState, looks_like_api_key, safe_text

_T = TypeVar("_T")

# --- ids as parts of a path ---------------------------------------------------------------------------

_LONGEST_ID = 200
# The first group would address another endpoint; the others come from lists, quotes and templates.
_NOT_IN_AN_ID = re.compile(r"""[/\\?#%\s,'"\[\]{}<>]""")


def job_id_of(job: str | FineTuneJob | WatchState) -> str:
    """Return the id of a job. Raises `ConfigurationError` for text that would address another endpoint."""
    job_id = job.job_id if isinstance(job, FineTuneJob | WatchState) else job
    if not isinstance(cast("object", job_id), str):
        raise ConfigurationError(f"a job id is text, not {type(job_id).__name__}.")
    if not job_id.strip():
        raise ConfigurationError("the job id is empty.")
    if looks_like_api_key(job_id):
        raise ConfigurationError("this is an API key and not a job id; it was not sent.")
    if (problem := _problem_of(job_id)) is not None:
        raise ConfigurationError(f"{safe_text(repr(job_id), 80)} is not a job id: {problem}.")
    return job_id


def _problem_of(text: str) -> str | None:
    """Why `text` cannot be the id of a job or the name of a checkpoint; `None` if it can."""
    if text.lower() in ("none", "null"):
        return "it is the text of a missing value"
    if len(text) > _LONGEST_ID:
        return f"it has {len(text)} characters, and an id has at most {_LONGEST_ID}"
    if "," in text or text.startswith("["):
        return "it is a list of ids; pass them one at a time"
    if text[0] in "'\"" and text[-1] == text[0]:
        return "remove the quotes"
    if not text.strip(".") or not text.isprintable() or _NOT_IN_AN_ID.search(text):
        return "blanks, control characters, quotes, brackets and / \\ ? # % are not allowed, nor dots only"
    return None


def checkpoint_name(checkpoint: str | Checkpoint) -> str:
    """Return the name of a checkpoint. Raises `ConfigurationError` if it would address another endpoint."""
    name = checkpoint.checkpoint if isinstance(checkpoint, Checkpoint) else checkpoint
    if (
        not isinstance(cast("object", name), str)
        or not name
        or looks_like_api_key(name)
        or _problem_of(name)
    ):
        raise ConfigurationError(
            "a checkpoint is named by text such as checkpoint-160, without blanks, quotes and / \\ ? # %."
        )
    return name


def _path(job_id: str, *segments: str) -> str:
    return "/".join(("/fine-tunes", quote(job_id, safe=""), *(quote(part, safe="") for part in segments)))


# --- jobs ---------------------------------------------------------------------------------------------


def job_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}``."""
    return Request("GET", _path(job_id))


def page_request(page_no: int, page_size: int, model: str | None) -> Request:
    """``GET /fine-tunes``."""
    query = _page_query(page_no, page_size)
    if model is not None:
        query["model"] = _text("model", model)
    return Request("GET", f"/fine-tunes?{urlencode(query)}")


def cancel_request(job_id: str) -> Request:
    """``POST /fine-tunes/{job_id}/cancel``."""
    return Request("POST", _path(job_id, "cancel"))


def delete_request(job_id: str) -> Request:
    """``DELETE /fine-tunes/{job_id}``."""
    return Request("DELETE", _path(job_id))


def _page_query(page_no: int, page_size: int) -> dict[str, str | int]:
    _check_whole_number("page_no", page_no, 1, 10**9)
    _check_whole_number("page_size", page_size, 1, 100)
    return {"page_no": page_no, "page_size": page_size}


def _check_whole_number(name: str, number: int, least: int, most: int) -> None:
    if type(number) is not int or not least <= number <= most:
        raise ConfigurationError(f"{name} must be a whole number from {least} to {most}, not {number!r}.")


# --- logs ---------------------------------------------------------------------------------------------


def logs_request(job_id: str, offset: int, lines: int) -> Request:
    """``GET /fine-tunes/{job_id}/logs``; the service calls the number of lines ``line``."""
    _check_whole_number("offset", offset, 0, 10**9)
    _check_whole_number("lines", lines, 1, 1000)
    return Request("GET", f"{_path(job_id, 'logs')}?{urlencode({'offset': offset, 'line': lines})}")


def stream_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/stream``."""
    return Request("GET", _path(job_id, "stream"))


# --- checkpoints --------------------------------------------------------------------------------------


def checkpoints_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/checkpoints``."""
    return Request("GET", _path(job_id, "checkpoints"))


def export_request(job_id: str, checkpoint: str, model_name: str) -> Request:
    """``GET /fine-tunes/{job_id}/export/{checkpoint}``, which starts an export although it is a GET."""
    query = urlencode({"model_name": _text("model_name", model_name)})
    return Request("GET", f"{_path(job_id, 'export', checkpoint)}?{query}")


def validation_results_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/validation-results``."""
    return Request("GET", _path(job_id, "validation-results"))


def validation_details_request(job_id: str, checkpoint: str, page_no: int, page_size: int) -> Request:
    """``GET /fine-tunes/{job_id}/validation-details/{checkpoint}``."""
    query = urlencode(_page_query(page_no, page_size))
    return Request("GET", f"{_path(job_id, 'validation-details', checkpoint)}?{query}")


# --- create -------------------------------------------------------------------------------------------


def create_request(arguments: Mapping[str, object]) -> Request:
    """``POST /fine-tunes``. `arguments` are those of `FineTuneClient.create`; `None` is an absent one.

    The entries of the argument ``extra_body`` are added to the body and replace those of other arguments.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    extra = _plain("extra_body", _mapping, given.pop("extra_body", {}))
    names = given.keys() | extra.keys()
    if {"training_file_ids", "training_datasets"} <= names:
        raise ConfigurationError("give either training_file_ids or training_datasets, not both.")
    if not extra and names.isdisjoint({"training_file_ids", "training_datasets"}):
        raise ConfigurationError("give training_file_ids or training_datasets.")
    if {"validation_file_ids", "validation_datasets"} <= names:
        raise ConfigurationError("give either validation_file_ids or validation_datasets, not both.")
    if "model" not in names:
        raise ConfigurationError("give the model to tune.")
    body = {name: _plain(name, _CREATE_RULES[name], value) for name, value in given.items()}
    return Request("POST", "/fine-tunes", orjson.dumps(body | extra))


def _plain(name: str, rule: Callable[[str, object], _T], value: object) -> _T:
    """Return `value` as the `rule` has it, which JSON can hold."""
    try:
        plain = rule(name, value)
        orjson.dumps(plain)
    except (RecursionError, orjson.JSONEncodeError):
        raise ConfigurationError(f"{name} cannot be written as JSON: it is nested too deep.") from None
    return plain


_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _shown(value: object) -> str:
    return safe_text(repr(value))  # without an API key that was given in the wrong place


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or _CONTROL_CHARACTER.search(value):
        raise ConfigurationError(
            f"{name} must be text without line breaks and control characters, not {_shown(value)}."
        )
    return value


def _texts(name: str, value: object) -> list[str]:
    return [_text(f"{name}[{n}]", item) for n, item in enumerate(_items(name, value))]


def _mappings(name: str, value: object) -> list[dict[str, object]]:
    return [_mapping(f"{name}[{n}]", item) for n, item in enumerate(_items(name, value))]


def _items(name: str, value: object) -> Sequence[object]:
    if not _is_list(value) or not value:
        raise ConfigurationError(f"{name} must be a list that is not empty, not {_shown(value)}.")
    return value


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _mapping(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, not {_shown(value)}.")
    plain: dict[str, object] = {}
    for key, item in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str) or _SURROGATE.search(key):
            raise ConfigurationError(f"the keys of {name} must be text, not {_shown(key)}.")
        plain[key] = _json_value(f"{name}.{key}", item)
    return plain


def _json_value(name: str, value: object) -> object:
    # orjson would write NaN as null, and write dates and dataclasses, which the service does not know.
    match value:
        case None | bool():
            return value
        case str() if not _SURROGATE.search(value):
            return value
        case Mapping():
            return _mapping(name, cast("object", value))
        case _ if _is_list(value):
            return [_json_value(f"{name}[{n}]", item) for n, item in enumerate(value)]
        case _ if (number := _number(value)) is not None:
            return number
        case _:
            raise ConfigurationError(f"{name} cannot be written as JSON: {_shown(value)}.")


def _number(value: object) -> float | None:
    """Return a number as Python's own, numbers of numpy included; `None` if JSON cannot hold it."""
    if isinstance(value, str | bytes | bytearray):
        return None
    if type(value).__name__ in ("bool", "bool_"):  # numpy's truth values convert to numbers too
        return bool(value)
    try:
        whole = operator.index(cast("int", value))
    except TypeError:
        try:
            number = float(cast("float", value))
        except (TypeError, ValueError, OverflowError):
            return None
        return number if isfinite(number) else None
    return whole if -(2**63) <= whole < 2**64 else None


_CREATE_RULES: Mapping[str, Callable[[str, object], object]] = {
    "model": _text,
    "training_file_ids": _texts,
    "training_datasets": _mappings,
    "validation_file_ids": _texts,
    "validation_datasets": _mappings,
    "hyper_parameters": _mapping,
    "training_type": _text,
    "job_name": _text,
    "model_name": _text,
    "finetuned_output_suffix": _text,
    "rollout": _mapping,
    "rewards": _mappings,
    "resource_config": _mapping,
    "teacher_model": _text,
    "priority": _text,
}
