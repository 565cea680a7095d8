"""What an answer means. Total: any status, headers and bytes give a value or one of our errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, cast

import orjson
from cattrs import BaseValidationError, transform_error

from dashscope_ft_async._wire.codes import status_error_class
from dashscope_ft_async._wire.headers import retry_after
from dashscope_ft_async._wire.messages import Response
from dashscope_ft_async._wire.pages import Row, ScannedPage
from dashscope_ft_async._wire.structure import CONVERTER, JSON_PAGE_FIELDS, optional_int
from dashscope_ft_async._wire.text import shown
from dashscope_ft_async.errors import APIResponseValidationError, APIStatusError
from dashscope_ft_async.models import FineTuneJob, JobPage

Json: TypeAlias = dict[str, Any]
_T = TypeVar("_T")


def decode_job(response: Response, job_id: str) -> FineTuneJob:
    """The job an answer describes. Raises `APIStatusError` or `APIResponseValidationError`."""
    payload = _payload(response)
    output = _output(response, payload)
    output = {**output, "request_id": _request_id(response, payload)}
    job = _structured(response, output, FineTuneJob)
    if job.job_id != job_id:
        raise _malformed(response, f"the answer is about job {shown(job.job_id)!r} @ $.output.job_id")
    return job


def decode_page(response: Response, page_no: int, page_size: int) -> JobPage:
    """The page an answer describes. Raises `APIStatusError` or `APIResponseValidationError`."""
    payload = _payload(response)
    output = _output(response, payload)
    raw: Json = {
        "page_no": _count(output, "page_no") or page_no,
        "page_size": _count(output, "page_size") or page_size,
        "total": _count(output, "total"),
        "jobs": output.get("jobs") or [],
        "request_id": _request_id(response, payload),
        "extra": {name: value for name, value in output.items() if name not in JSON_PAGE_FIELDS},
    }
    return _structured(response, raw, JobPage)


def scan_page(response: Response, page_size: int) -> ScannedPage:
    """The page an answer describes, its jobs unread; raises as `decode_page` does, but for no one row."""
    payload = _payload(response)
    output = _output(response, payload)
    request_id = _request_id(response, payload)

    def structure(raw: Mapping[str, Any]) -> FineTuneJob:
        return _structured(response, {**raw, "request_id": request_id}, FineTuneJob)

    jobs: object = output.get("jobs")
    rows = [
        Row(cast("Json", raw), structure)
        for raw in (cast("list[object]", jobs) if isinstance(jobs, list) else ())
        if isinstance(raw, dict) and isinstance(cast("Json", raw).get("job_id"), str)
    ]
    size = _count(output, "page_size") or page_size
    return ScannedPage(size, _count(output, "total"), tuple(rows))


def _count(output: Json, name: str) -> int | None:
    try:
        count = optional_int(output.get(name), int)
    except TypeError:
        return None
    return count if count is None or count >= 0 else None


def _payload(response: Response) -> Json:
    """The JSON object of a good answer; raises for everything else."""
    payload = _json_object(response.body)
    if not 200 <= response.status <= 299:
        raise _status_error(response, payload)
    if payload is None:
        kind = response.headers.get("content-type", "no content type")
        start = shown(response.body[:160].decode("utf-8", "replace"), 80)
        raise _malformed(
            response,
            f"not a JSON object ({shown(kind)}, {len(response.body)} bytes: {start!r}) @ $",
        )
    return payload


def _output(response: Response, payload: Json) -> Json:
    for name in ("output", "data"):
        output = payload.get(name)
        if isinstance(output, dict):
            return cast("Json", output)
    code = _text(payload.get("code"))
    if code is not None and code.strip().lower() not in _SUCCESS_CODES:
        raise _status_error(response, payload)
    if isinstance(payload.get("error"), dict):
        raise _status_error(response, payload)
    # A list, a boolean or nothing: other endpoints answer so, this one does not.
    found = type(payload["output"]).__name__ if "output" in payload else "nothing"
    raise _malformed(response, f"expected an object, found {found} @ $.output")


_SUCCESS_CODES = frozenset({"", "0", "200", "ok", "success"})


def _status_error(response: Response, payload: Json | None) -> APIStatusError:
    body: Json = payload or {}
    nested = body.get("error")
    if isinstance(nested, dict):
        body = {**body, **cast("Json", nested)}
    code = _text(body.get("code"))
    message = _text(body.get("message")) or _text(body.get("msg"))
    if message is None and payload is None and response.body:
        message = f"{len(response.body)} bytes that are not the service's JSON"
    return status_error_class(response.status, code)(
        None if message is None else shown(message, 2000),
        status=response.status,
        code=None if code is None else shown(code),
        request_id=_request_id(response, payload or {}),
        retry_after=retry_after(response),
        json_body=payload is not None,
    )


def _malformed(response: Response, message: str) -> APIResponseValidationError:
    return APIResponseValidationError(
        message,
        status=response.status,
        request_id=_request_id(response, _json_object(response.body) or {}),
        retry_after=retry_after(response),
    )


def _json_object(body: bytes) -> Json | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _lenient(body)
    return cast("Json", value) if isinstance(value, dict) else None


def _lenient(body: bytes) -> object:
    """JSON as many services write it; `None` where it is none at all.

    NaN for a number, a text cut inside a character, a byte order mark: the rest of such an answer is
    whole, and the job's end in it would otherwise never be read. What is odd becomes null or a mark.
    """
    try:
        text = body.decode("utf-8-sig", "replace")
        value = json.loads(text, parse_constant=lambda _: None)
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _request_id(response: Response, payload: Json) -> str | None:
    found = _text(payload.get("request_id")) or response.headers.get("x-request-id")
    return None if found is None else shown(found)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _structured(response: Response, raw: Json, kind: type[_T]) -> _T:
    try:
        return CONVERTER.structure(raw, kind)
    except BaseValidationError as errors:
        where = "; ".join(transform_error(errors, path="$.output")[:3])
        raise _malformed(response, where) from None
