"""Requests for checkpoints, their export and validation, and what the answers mean."""

from __future__ import annotations

from typing import Any, TypeVar, cast, get_type_hints
from urllib.parse import quote, urlencode

import attrs

from dashscope_ft_async._api.wire.envelope import (
    Json,
    count_of,
    malformed,
    output_as,
    output_of,
    payload_of,
    request_id_of,
)
from dashscope_ft_async._api.wire.messages import Request, Response
from dashscope_ft_async._api.wire.requests import job_id_of, page_query
from dashscope_ft_async._api.wire.structure import converter
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import (
    Checkpoint,
    CheckpointStatus,
    ValidationPage,
    ValidationResult,
    ValidationSample,
)
from dashscope_ft_async.models.redact import shown

_T = TypeVar("_T", Checkpoint, ValidationResult, ValidationSample)


def checkpoint_of(checkpoint: str | Checkpoint) -> str:
    """The name to ask for. Raises `ConfigurationError` for one that would reach another endpoint."""
    name = checkpoint.checkpoint if isinstance(checkpoint, Checkpoint) else checkpoint
    try:
        return job_id_of(name)  # as a part of a path, it is bound by the same rules
    except ConfigurationError:
        raise ConfigurationError(
            "a checkpoint is named by text such as checkpoint-160, without blanks and any of / \\ ? # %."
        ) from None


def checkpoints_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/checkpoints``."""
    return Request("GET", f"{_path(job_id)}/checkpoints")


def export_request(job_id: str, checkpoint: str, model_name: str) -> Request:
    """``GET /fine-tunes/{job_id}/export/{checkpoint}``, which has an effect although it is a GET."""
    is_text = isinstance(cast("object", model_name), str)
    if not is_text or not model_name.strip() or not model_name.isprintable():
        raise ConfigurationError(f"model_name must be text of one line, not {shown(repr(model_name))}.")
    query = urlencode({"model_name": model_name})
    return Request("GET", f"{_path(job_id)}/export/{quote(checkpoint, safe='')}?{query}")


def validation_results_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/validation-results``."""
    return Request("GET", f"{_path(job_id)}/validation-results")


def validation_details_request(job_id: str, checkpoint: str, page_no: int, page_size: int) -> Request:
    """``GET /fine-tunes/{job_id}/validation-details/{checkpoint}``."""
    query = urlencode(page_query(page_no, page_size))
    return Request("GET", f"{_path(job_id)}/validation-details/{quote(checkpoint, safe='')}?{query}")


def _path(job_id: str) -> str:
    return f"/fine-tunes/{quote(job_id, safe='')}"


def decode_checkpoints(response: Response) -> tuple[Checkpoint, ...]:
    """The checkpoints in the order of the answer, which is a list, or an object that holds one."""
    output = output_as(response, payload_of(response), "a list", list, dict)
    rows = cast("Json", output).get("checkpoints") if isinstance(output, dict) else output
    return tuple(_checkpoint(row) for row in _rows(response, rows, "checkpoint"))


def decode_exported(response: Response) -> bool:
    """Whether the export was accepted."""
    return output_as(response, payload_of(response), "true or false", bool) is True


def decode_validation_results(response: Response) -> tuple[ValidationResult, ...]:
    """The checkpoints with samples; none until they are ready."""
    output = output_as(response, payload_of(response), "a list", list)
    return tuple(_opened(ValidationResult, row) for row in _rows(response, output, "checkpoint"))


def decode_validation_page(response: Response, page_no: int, page_size: int) -> ValidationPage:
    """The samples an answer brings."""
    payload = payload_of(response)
    output = output_of(response, payload)
    known = ("page_no", "page_size", "total", "list")
    return ValidationPage(
        page_no=count_of(output, "page_no") or page_no,
        page_size=count_of(output, "page_size") or page_size,
        total=count_of(output, "total"),
        samples=tuple(
            _opened(ValidationSample, row) for row in _rows(response, output.get("list") or [], None)
        ),
        request_id=request_id_of(response, payload),
        extra={name: value for name, value in output.items() if name not in known},
    )


def _rows(response: Response, rows: object, required: str | None) -> list[Json]:
    """The objects of a list, each with the text that it cannot do without."""
    if not isinstance(rows, list):
        raise malformed(response, f"expected a list, found {type(rows).__name__} @ $.output")
    for number, row in enumerate(cast("list[object]", rows)):
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise malformed(response, f"expected an object, found {kind} @ $.output[{number}]")
        name = required and cast("Json", row).get(required)
        if required and not (isinstance(name, str) and name.strip()):
            raise malformed(response, f"expected text @ $.output[{number}].{required}")
    return cast("list[Json]", rows)


def _checkpoint(row: Json) -> Checkpoint:
    word = row.get("status")
    raw_status = word if isinstance(word, str) else ""
    try:
        status = CheckpointStatus(raw_status.strip().upper())
    except ValueError:
        status = CheckpointStatus.UNRECOGNIZED
    return _opened(Checkpoint, row, status=status, raw_status=raw_status)


def _opened(kind: type[_T], row: Json, **fixed: object) -> _T:
    """`row` as a model. The world is open: what is unknown or unreadable goes to ``extra``."""
    rules = {name: rule for name, rule in _RULES[kind].items() if name not in fixed}
    extra = {name: value for name, value in row.items() if name not in rules and name not in fixed}
    read: Json = {}
    for name, rule in rules.items():
        if name not in row:
            continue
        try:
            read[name] = converter().structure(row[name], rule)
        except (TypeError, ValueError):
            extra[name] = row[name]
    return kind(**read, **cast("Json", fixed), extra=extra)


def _rules(kind: type[attrs.AttrsInstance]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in attrs.fields(kind) if field.name != "extra"}


_RULES: dict[type, dict[str, Any]] = {
    kind: _rules(kind) for kind in (Checkpoint, ValidationResult, ValidationSample)
}
