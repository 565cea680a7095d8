"""What all answers have in common: the envelope around the output, errors, and Retry-After.

Success is ``{"request_id": …, "output": …}``; an error is ``{"code": …, "message": …, "request_id": …}``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeAlias, cast

import orjson

from dashscope_ft_async import errors
from dashscope_ft_async._api.wire.messages import Request, Response
from dashscope_ft_async.models import safe_text

Json: TypeAlias = dict[str, Any]

# --- the envelope -------------------------------------------------------------------------------------


def payload_of(response: Response) -> Json:
    """Return the JSON object of a 2xx answer.

    Raises `APIStatusError` for another status, `APIResponseValidationError` for a body that is no object.
    """
    payload = _json_object(response.body)
    if not 200 <= response.status <= 299:
        raise status_error(response, payload)
    if payload is None:
        kind = response.headers.get("content-type", "no content type")
        start = safe_text(response.body[:160].decode("utf-8", "replace"), 80)
        raise malformed(
            response,
            f"not a JSON object ({safe_text(kind)}, {len(response.body)} bytes: {start!r}) @ $",
            json_body=response.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"),
        )
    return payload


def check_depth(response: Response, value: Json) -> None:
    """Raise `APIResponseValidationError` if `value` is nested so deep that comparing, copying or printing
    it would raise `RecursionError`. Needed for all values that are not read by `structure`."""
    try:
        orjson.dumps(value)  # up to 254 levels; faster than a check in Python
    except orjson.JSONEncodeError:
        raise malformed(response, "the answer is nested too deep @ $") from None


def output_of(response: Response, payload: Json) -> Json:
    """Return the object under ``output``. Raises as `output_as` does."""
    output = payload.get("output")
    if type(output) is dict and output:
        return cast("Json", output)
    return cast("Json", output_as(response, payload, "an object", dict))


def output_as(response: Response, payload: Json, expected: str, *kinds: type) -> object:
    """Return the output if it is one of `kinds`.

    Raises `APIStatusError` for an error in its place, else `APIResponseValidationError`, whose message has
    what is `expected`.
    """
    output = output_or_none(response, payload, *kinds)
    if output is None:
        found = type(payload["output"]).__name__ if "output" in payload else "nothing"
        raise malformed(response, f"expected {expected}, found {found} @ $.output")
    return output


def output_or_none(response: Response, payload: Json, *kinds: type) -> object:
    """Return the value under ``output``, else ``data``, that is one of `kinds`.

    Raises `APIStatusError` if the answer has an error and no output, or an empty one.
    """
    values = (payload.get(name) for name in ("output", "data"))
    output = next((value for value in values if isinstance(value, kinds)), None)
    if not output:
        code = text_of(payload.get("code"))
        failed = code is not None and code.strip().lower() not in _SUCCESS_CODES
        if failed or isinstance(payload.get("error"), dict):
            raise status_error(response, payload)
    return output


_SUCCESS_CODES = frozenset({"", "0", "200", "ok", "success"})


def reason_in_envelope(payload: Json) -> Json:
    """Return the code and message next to the output, as the field ``envelope`` of a job's `extra`; an
    empty dictionary if there are none."""
    code, message = text_of(payload.get("code")), text_of(payload.get("message"))
    if (code is None and message is None) or (code or "-").strip().lower() in _SUCCESS_CODES:
        return {}
    return {"envelope": {"code": code, "message": message}}


def request_id_of(response: Response, payload: Json) -> str | None:
    """Return the id of the request, from the body, else from the headers."""
    found = text_of(payload.get("request_id")) or response.headers.get("x-request-id")
    return None if found is None else safe_text(found)


def text_of(value: object) -> str | None:
    """Return text, or a whole number as text; `None` for ``""`` and everything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _json_object(body: bytes) -> Json | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _tolerant_loads(body)
    return cast("Json", value) if isinstance(value, dict) else None


def _tolerant_loads(body: bytes) -> object:
    """Parse a body that is almost JSON, so that one odd value does not hide the status of a job.

    It may have raw control characters in strings, a byte order mark, and characters cut in half. NaN and
    numbers beyond the range of a float become null, integers of more than 18 digits become text. Returns
    `None` if the body is not even that.
    """
    try:
        value = _TOLERANT.decode(body.decode("utf-8-sig", "replace"))
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _float_or_none(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


_TOLERANT = json.JSONDecoder(
    strict=False,
    parse_constant=lambda _: None,
    parse_float=cast("Any", _float_or_none),
    parse_int=lambda digits: cast("int", digits) if len(digits) > 18 else int(digits),
)

# --- errors -------------------------------------------------------------------------------------------


def malformed(
    response: Response, message: str, *, json_body: bool = True
) -> errors.APIResponseValidationError:
    """Return the error for a 2xx answer that is not as documented; `message` ends with the place."""
    return errors.APIResponseValidationError(
        message,
        status=response.status,
        request_id=request_id_of(response, _json_object(response.body) or {}),
        retry_after=retry_after(response),
        json_body=json_body,
    )


def status_error(response: Response, payload: Json | None) -> errors.APIStatusError:
    """Return the error that an answer describes; `payload` is its JSON object, if it is one."""
    body: Json = payload or {}
    nested = body.get("error")
    if isinstance(nested, dict):
        body = {**body, **cast("Json", nested)}
    code = text_of(body.get("code"))
    message = text_of(body.get("message")) or text_of(body.get("msg"))
    if message is None and payload is None and response.body:
        message = f"the body is not JSON ({len(response.body)} bytes), probably an error page of a proxy"
    return status_error_class(response.status, code)(
        None if message is None else safe_text(message, 2000),
        status=response.status,
        code=None if code is None else safe_text(code),
        request_id=request_id_of(response, payload or {}),
        retry_after=retry_after(response),
        json_body=payload is not None,
    )


def endpoint_error(error: errors.APIStatusError, request: Request, base_url: str) -> errors.APIStatusError:
    """Return `error`, or if it says that the endpoint does not exist, an error that names the endpoint."""
    # The code NotFound stands for a missing job and for a missing path; only the message differs.
    no_path = "request path not found" in (error.message or "").lower()
    is_404 = isinstance(error, errors.NotFoundError)
    if error.status != 405 and not (is_404 and (no_path or not error.json_body)):
        return error
    path = request.path.partition("?")[0]
    return errors.EndpointNotFoundError(
        f"{request.method} {path} does not exist at {base_url}: {error.message or 'no reason given'}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        json_body=error.json_body,
    )


# These codes choose the class under every status, since gateways use other statuses than the service.
_CLASS_BY_CODE: dict[str, type[errors.APIStatusError]] = {
    "arrearage": errors.PermissionDeniedError,
    "commoditynotpurchased": errors.PermissionDeniedError,
    "postpaidbilloverdue": errors.PermissionDeniedError,
    "prepaidbilloverdue": errors.PermissionDeniedError,
    "throttling": errors.RateLimitError,
    "invalidapikey": errors.AuthenticationError,
}
_CLASS_BY_STATUS: dict[int, type[errors.APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    429: errors.RateLimitError,
    503: errors.ServiceUnavailableError,
}
# These codes choose the class only under 2xx, where the status says nothing.
_CODES_UNDER_SUCCESS: dict[type[errors.APIStatusError], str] = {
    errors.BadRequestError: (
        "badrequest datainspectionfailed invalidparameter missingparameter operationdenied "
        "unsupportedoperation"
    ),
    errors.AuthenticationError: "unauthorized",
    errors.PermissionDeniedError: "accessdenied forbidden freetieronly notauthorised notauthorized",
    errors.NotFoundError: "modelnotfound modelnotsupported notfound resourcenotfound workspacenotfound",
    errors.ConflictError: "conflict",
    errors.RateLimitError: "insufficientquota limitburstrate limitrequests quotaexceeded",
    errors.InternalServerError: (
        "gatewaytimeout internalerror modelservicefailed requesttimeout responsetimeout systemerror"
    ),
    errors.ServiceUnavailableError: "modelservingerror modelunavailable serviceunavailable",
}
_CLASS_BY_CODE_UNDER_SUCCESS = {
    code: kind for kind, codes in _CODES_UNDER_SUCCESS.items() for code in codes.split()
}


def status_error_class(status: int, code: str | None) -> type[errors.APIStatusError]:
    """Return the class for an HTTP status and a code; `APIStatusError` itself if none fits.

    Codes are spelled like ``Throttling.RateQuota``, ``invalid_api_key`` or ``NOT AUTHORIZED``. So they are
    compared by their first and last part between dots, without case, underscores and blanks. They are
    listed at https://www.alibabacloud.com/help/en/model-studio/error-code.
    """
    parts = (code or "").casefold().replace("_", "").replace(" ", "").split(".")
    for by_code in (_CLASS_BY_CODE, _CLASS_BY_CODE_UNDER_SUCCESS if 200 <= status <= 299 else {}):
        for part in (parts[0], parts[-1]):
            if part in by_code:
                return by_code[part]
    fallback = errors.InternalServerError if 500 <= status <= 599 else errors.APIStatusError
    return _CLASS_BY_STATUS.get(status, fallback)


_SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?)\s*", re.ASCII)


def retry_after(response: Response) -> float | None:
    """Return the seconds that an answer asks to wait, or `None`.

    It is read from ``retry-after-ms``, else from ``Retry-After`` as seconds or a date; invalid values are
    ignored. A date is compared with the Date of the answer, so that a wrong local clock does not matter; a
    date in the past is 0.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        match = _SECONDS.fullmatch(response.headers.get(name, ""))
        if match is not None:
            seconds = float(match[1]) * scale
            return seconds if isfinite(seconds) else None
    until = _http_date(response.headers.get("retry-after"))
    if until is None:
        return None
    now = _http_date(response.headers.get("date"))
    return max(0.0, until - (response.received_at if now is None else now))


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # The oldest format of HTTP dates names no time zone; it means GMT like the others.
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, IndexError, OverflowError):
        return None
