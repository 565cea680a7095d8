"""Decode answers about checkpoints, their export and their validation samples.

All decoders raise `APIStatusError` for an error, and `APIResponseValidationError` for an answer that is not
as documented.
"""

from __future__ import annotations

from typing import TypeVar, cast

from dashscope_ft_async._api.wire.envelope import (
    Json,
    check_depth,
    malformed,
    output_as,
    output_of,
    payload_of,
    request_id_of,
)
from dashscope_ft_async._api.wire.messages import Response
from dashscope_ft_async._api.wire.structure import count_of, structure
from dashscope_ft_async.models import (
    Checkpoint,
    CheckpointStatus,
    ValidationPage,
    ValidationResult,
    ValidationSample,
)

_T = TypeVar("_T", Checkpoint, ValidationResult, ValidationSample)
_PAGE_FIELDS = ("page_no", "page_size", "total", "list")
_STATUSES = {status.value: status for status in CheckpointStatus}


def decode_checkpoints(response: Response) -> tuple[Checkpoint, ...]:
    """Return the checkpoints in the order of the answer, which is a list or an object with a list."""
    output = output_as(response, payload_of(response), "a list", list, dict)
    rows = cast("Json", output).get("checkpoints") if isinstance(output, dict) else output
    return _read_rows(response, Checkpoint, rows)


def decode_exported(response: Response) -> bool:
    """Return whether the export was accepted."""
    return output_as(response, payload_of(response), "true or false", bool) is True


def decode_validation_results(response: Response) -> tuple[ValidationResult, ...]:
    """Return the checkpoints that have samples; none until the samples are ready."""
    return _read_rows(response, ValidationResult, output_as(response, payload_of(response), "a list", list))


def decode_validation_page(response: Response, page_no: int, page_size: int) -> ValidationPage:
    """Return the page of samples in an answer."""
    payload = payload_of(response)
    output = output_of(response, payload)
    check_depth(response, output)
    return ValidationPage(
        page_no=count_of(output, "page_no") or page_no,
        page_size=count_of(output, "page_size") or page_size,
        total=count_of(output, "total"),
        samples=_read_rows(response, ValidationSample, output.get("list") or []),
        request_id=request_id_of(response, payload),
        extra={name: value for name, value in output.items() if name not in _PAGE_FIELDS},
    )


def _read_rows(response: Response, kind: type[_T], rows: object) -> tuple[_T, ...]:
    if not isinstance(rows, list):
        raise malformed(response, f"expected a list, found {type(rows).__name__} @ $.output")
    return tuple(
        structure(response, kind, row, f"$.output[{n}]", **(_status(row) if kind is Checkpoint else {}))
        for n, row in enumerate(cast("list[object]", rows))
    )


def _status(row: object) -> Json:
    word = cast("Json", row).get("status") if isinstance(row, dict) else None
    raw_status = word if isinstance(word, str) else ""
    status = _STATUSES.get(raw_status.strip().upper(), CheckpointStatus.UNRECOGNIZED)
    return {"status": status, "raw_status": raw_status}
