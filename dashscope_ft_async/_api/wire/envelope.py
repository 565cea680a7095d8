"""What holds for every answer: the envelope around the output, and how an answer tells an error."""

from __future__ import annotations

import json
from typing import Any, TypeAlias, TypeVar, cast

import orjson

from dashscope_ft_async._api.wire.codes import status_error_class
from dashscope_ft_async._api.wire.headers import retry_after
from dashscope_ft_async._api.wire.messages import Request, Response
from dashscope_ft_async._api.wire.structure import converter, optional_int
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    APIStatusError,
    EndpointNotFoundError,
    NotFoundError,
)
from dashscope_ft_async.models.redact import shown

Json: TypeAlias = dict[str, Any]
_T = TypeVar("_T")


def payload_of(response: Response) -> Json:
    """The JSON object of a good answer; raises for everything else."""
    payload = json_object(response.body)
    if not 200 <= response.status <= 299:
        raise status_error(response, payload)
    if payload is None:
        kind = response.headers.get("content-type", "no content type")
        start = shown(response.body[:160].decode("utf-8", "replace"), 80)
        raise malformed(
            response,
            f"not a JSON object ({shown(kind)}, {len(response.body)} bytes: {start!r}) @ $",
        )
    return payload


def output_of(response: Response, payload: Json) -> Json:
    """The object under ``output``; raises for an error in its place, and for anything else."""
    return cast("Json", output_as(response, payload, "an object", dict))


def output_as(response: Response, payload: Json, what: str, *kinds: type) -> object:
    """What is under ``output``, if it is one of `kinds`; raises as `output_of` does, which names `what`."""
    found = [payload[name] for name in ("output", "data") if isinstance(payload.get(name), kinds)]
    code = text_of(payload.get("code"))
    failed = code is not None and code.strip().lower() not in _SUCCESS_CODES
    if not (found and found[0]) and (failed or isinstance(payload.get("error"), dict)):
        raise status_error(response, payload)
    if found:
        return found[0]
    met = type(payload["output"]).__name__ if "output" in payload else "nothing"
    raise malformed(response, f"expected {what}, found {met} @ $.output")


def reason_around(payload: Json) -> Json:
    """The code and message beside the output, as a field of it; nothing where there are none."""
    code, message = text_of(payload.get("code")), text_of(payload.get("message"))
    if (code is None and message is None) or (code or "-").strip().lower() in _SUCCESS_CODES:
        return {}
    return {"envelope": {"code": code, "message": message}}


_SUCCESS_CODES = frozenset({"", "0", "200", "ok", "success"})


def status_error(response: Response, payload: Json | None) -> APIStatusError:
    """The error an answer tells, `payload` being its JSON object, if it is one."""
    body: Json = payload or {}
    nested = body.get("error")
    if isinstance(nested, dict):
        body = {**body, **cast("Json", nested)}
    code = text_of(body.get("code"))
    message = text_of(body.get("message")) or text_of(body.get("msg"))
    if message is None and payload is None and response.body:
        message = f"{len(response.body)} bytes that are not the service's JSON"
    return status_error_class(response.status, code)(
        None if message is None else shown(message, 2000),
        status=response.status,
        code=None if code is None else shown(code),
        request_id=request_id_of(response, payload or {}),
        retry_after=retry_after(response),
        json_body=payload is not None,
    )


def endpoint_error(error: APIStatusError, request: Request, base_url: str) -> APIStatusError:
    """`error`; where it says that there is no such endpoint, an error that names it and the host."""
    # One code, NotFound, stands for a missing job and for a missing path: only the text tells them apart.
    no_path = "request path not found" in (error.message or "").lower()
    if error.status != 405 and not (isinstance(error, NotFoundError) and (no_path or not error.json_body)):
        return error
    path = request.path.partition("?")[0]
    return EndpointNotFoundError(
        f"{request.method} {path} is not there at {base_url}: {error.message or 'no reason given'}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        json_body=error.json_body,
    )


def malformed(response: Response, message: str) -> APIResponseValidationError:
    """The error for a 2xx answer that is not as documented; `message` says where (``@ $.output``)."""
    return APIResponseValidationError(
        message,
        status=response.status,
        request_id=request_id_of(response, json_object(response.body) or {}),
        retry_after=retry_after(response),
    )


def json_object(body: bytes) -> Json | None:
    """The JSON object that `body` is, or `None`."""
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


def request_id_of(response: Response, payload: Json) -> str | None:
    """The id of the request, from the body, else from the headers."""
    found = text_of(payload.get("request_id")) or response.headers.get("x-request-id")
    return None if found is None else shown(found)


def text_of(value: object) -> str | None:
    """`value` as text, where it is text or a number; ``""`` is absent."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def structured(response: Response, raw: object, kind: type[_T], path: str = "$.output") -> _T:
    """`raw`, found at `path`, as a model. Raises `APIResponseValidationError` naming what is wrong."""
    if not isinstance(raw, dict):
        raise malformed(response, f"expected an object, found {type(raw).__name__} @ {path}")
    try:
        return converter().structure(raw, kind)
    except ExceptionGroup as errors:  # as cattrs tells them
        from cattrs import transform_error

        where = "; ".join(transform_error(errors, path=path)[:3])
        raise malformed(response, where) from None


def count_of(output: Json, name: str) -> int | None:
    """The number from 0 under `name`, or `None`."""
    try:
        count = optional_int(output.get(name), int)
    except TypeError:
        return None
    return count if count is None or count >= 0 else None
