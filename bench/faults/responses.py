"""Rows with whole responses that are not a job: pages, redirects, errors, codes."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import attrs

from bench.contenders import KEY
from bench.faults.judging import Expected
from bench.faults.row import (
    ELSEWHERE,
    RETURN,
    RUNNING,
    TIME_OUT,
    Row,
    first,
    forever,
    group,
    job,
    midway,
    raises,
)
from tests.support.adversary import Answer, elsewhere, whole

_JOB = job()
_HTML = b"<!doctype html><title>Bad Gateway</title><h1>nginx</h1>"


def _html(status: str) -> Answer:
    return whole(_HTML, status, kind="text/html")


def _error(status: str, code: str, **headers: str) -> Answer:
    return whole(b'{"code":"%s","message":"m","request_id":"r"}' % code.encode(), status, **headers)


def _code(code: str, **headers: str) -> Answer:
    return _error("200 OK", code, **headers)


def _raises(status: str, code: str, error: str, *, attempts: int = 1, note: str = "") -> Row:
    """An error with the service's JSON: midway if there is a note, else from the start."""
    return raises(
        f"{status.split()[0]} {code}{note}",
        error,
        int(status[:3]),
        _error(status, code),
        at_first=not note,
        attempts=attempts,
    )


def _throttled(**headers: str) -> Answer:
    return _error("429 Too Many", "Throttling", **headers)


def _throttled_until(zone: str) -> Answer:
    """A Retry-After with a date one to two seconds from now, and no Date header to compare it with."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        date = formatdate(int(time.time()) + 2, usegmt=True).replace("GMT", zone)
        return await _throttled(retry_after=date)(reader, writer)

    return answer


def _after(name: str, response: Answer, seconds: float, not_later: float | None = None) -> Row:
    """The next request may be sent after so many seconds."""
    return midway(name, response, expected=attrs.evolve(RETURN, not_before=seconds, not_later=not_later))


def _soon(name: str, **headers: str) -> Row:
    """The header asks for no pause that makes sense, so the next request is sent soon."""
    return midway(name, _throttled(**headers), expected=attrs.evolve(RETURN, not_later=3.0))


def _not_again(name: str, retry_after: str) -> Row:
    """The pause asked for is longer than the deadline."""
    return forever(name, _throttled(retry_after=retry_after), expected=attrs.evolve(TIME_OUT, requests=2))


_VANISHED = Expected("raise", errors=("JobVanishedError", "NotFoundError"), http_status=404, requests=3)
_DAY = "Wed, 01 Jan 2020 08:00:0{} GMT"

RESPONSES = (
    *group(
        "Status 200 without a job",
        midway("empty", whole()),
        midway("204", whole(status="204 No Content")),
        midway("202 with an empty object", whole(b"{}", "202 Accepted")),
        midway("HTML", _html("200 OK")),
        midway("HTML, five times in a row", *[_html("200 OK")] * 5),
        first("HTML, at the first request", _html("200 OK")),
        midway("JSON cut", whole(_JOB[:-9])),
        midway("JSON with more text after it", whole(_JOB + b"}")),
        midway("two objects", whole(_JOB + _JOB)),
        midway("a list", whole(b"[" + _JOB + b"]")),
        midway("a string", whole(b'"SUCCEEDED"')),
        midway("a number", whole(b"1")),
        midway("null", whole(b"null")),
        midway("an empty object", whole(b"{}")),
        midway("output is null", whole(b'{"output":null}')),
        midway("output is a list", whole(b'{"output":[]}')),
        midway("output is a string", whole(b'{"output":"SUCCEEDED"}')),
        midway("output is empty", whole(b'{"output":{}}')),
        midway("the health check of another service", whole(b'{"status":"SUCCEEDED"}')),
        midway("UTF-16", whole(_JOB.decode().encode("utf-16"))),
        midway("100,000 brackets", whole(b"[" * 100_000)),
    ),
    *group(
        "Redirects",
        *(
            midway(f"{status[:3]} to another host, once", elsewhere(status, ELSEWHERE))
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")
        ),
        forever("302 to itself", whole(status="302 Found", location="/api/v1/fine-tunes/ft-1")),
        forever("302 without a location", whole(status="302 Found")),
        raises(
            "302 to a sign-in page, from the start",
            "APIStatusError or OutageError",
            302,
            elsewhere("302 Found", ELSEWHERE),
            at_first=True,
            attempts=4,
        ),
    ),
    *group(
        "Transient errors",
        midway("408", whole(status="408 Request Timeout")),
        midway("425", whole(status="425 Too Early")),
        midway("429 Throttling", _throttled()),
        midway("429 Throttling.RateQuota", _error("429 Too Many", "Throttling.RateQuota")),
        midway("429, empty", whole(status="429 Too Many")),
        midway("429 with HTML", _html("429 Too Many")),
        first("429, at the first request", _throttled()),
        midway("429, three times in a row", *[_throttled()] * 3),
        midway("500 InternalError", _error("500 Error", "InternalError")),
        midway("500, empty", whole(status="500 Error")),
        first("500, at the first request", _error("500 Error", "InternalError")),
        midway("500, five times in a row", *[_error("500 Error", "InternalError")] * 5),
        midway("500 with JSON cut", whole(b'{"code":"Inter', "500 Error")),
        midway("502 with HTML", _html("502 Bad Gateway")),
        midway("503 ModelUnavailable", _error("503 Unavailable", "ModelUnavailable")),
        midway("503 with HTML", _html("503 Unavailable")),
        midway("504 GatewayTimeout", _error("504 Timeout", "GatewayTimeout")),
        midway("507, empty", whole(status="507 Storage")),
        midway("520 with HTML", _html("520 Unknown")),
        midway("524 with HTML", _html("524 Timeout")),
        midway("401 InvalidApiKey, once (keys are rotated)", _error("401 No", "InvalidApiKey")),
        midway("403 AccessDenied, once", _error("403 No", "AccessDenied")),
        midway("403 with HTML, once (a CDN)", _html("403 Forbidden")),
        midway("404 with HTML, once (a deployment)", _html("404 Not Found")),
        midway("404 NotFound, once", _error("404 Not Found", "NotFound")),
        midway("405 with HTML, once (a firewall)", _html("405 Not Allowed")),
        midway(
            "502, HTML, 500, 429 and cut JSON in a row",
            _html("502 Bad Gateway"),
            _html("200 OK"),
            _error("500 Error", "InternalError"),
            _throttled(),
            whole(_JOB[:-9]),
        ),
    ),
    *group(
        "Permanent errors",
        _raises("400 Bad", "InvalidParameter", "BadRequestError"),
        _raises("401 No", "InvalidApiKey", "AuthenticationError"),
        _raises(
            "401 No", "InvalidApiKey", "AuthenticationError", attempts=2, note=", midway (key revoked)"
        ),
        raises("401 with HTML", "AuthenticationError", 401, _html("401 No"), at_first=True),
        _raises("403 No", "AccessDenied", "PermissionDeniedError"),
        _raises("403 No", "AccessDenied", "PermissionDeniedError", attempts=2, note=", midway"),
        _raises("404 Not Found", "NotFound", "NotFoundError"),
        Row("404 NotFound, midway (job deleted)", (RUNNING, _error("404 No", "NotFound")), _VANISHED),
        _raises("409 Conflict", "Conflict", "ConflictError"),
        _raises("418 Teapot", "Teapot", "APIStatusError", note=", midway"),
        _raises("429 Pay", "PostpaidBillOverdue", "PermissionDeniedError", note=", midway"),
        _raises("400 Bad", "Arrearage", "PermissionDeniedError", note=", midway"),
        raises(
            "400 with the API key in its message",
            "BadRequestError",
            400,
            whole(b'{"code":"InvalidParameter","message":"Bearer %s"}' % KEY.encode(), "400 Bad"),
        ),
    ),
    *group(
        "Status 200 with an error code",
        midway("Throttling", _code("Throttling")),
        midway("Throttling.RateQuota, three times in a row", *[_code("Throttling.RateQuota")] * 3),
        midway("InternalError", _code("InternalError")),
        midway("ServiceUnavailable", _code("ServiceUnavailable")),
        midway("a code that is not documented", _code("SomethingNew")),
        midway("the code in an error object", whole(b'{"error":{"code":"InternalError","message":"m"}}')),
        raises("InvalidApiKey", "AuthenticationError", 0, _code("InvalidApiKey"), attempts=2),
        raises("AccessDenied", "PermissionDeniedError", 0, _code("AccessDenied"), attempts=2),
        raises("Arrearage", "PermissionDeniedError", 0, _code("Arrearage"), at_first=True),
        raises("InvalidParameter", "BadRequestError", 0, _code("InvalidParameter"), at_first=True),
        raises("NotFound", "NotFoundError", 0, _code("NotFound"), at_first=True),
        midway("the job with code 200", whole(b'{"code":"200",' + _JOB[1:])),
        midway("the job with code Success", whole(b'{"code":"Success",' + _JOB[1:])),
    ),
    *group(
        "Retry-After",
        _after("1", _throttled(retry_after="1"), 1),
        _after("a fraction (0.3)", _throttled(retry_after="0.3"), 0.3),
        _after("retry-after-ms: 300", _throttled(retry_after_ms="300"), 0.3),
        _after(
            "both, in milliseconds and in seconds",
            _throttled(retry_after="9", retry_after_ms="300"),
            0.3,
            not_later=3.0,
        ),
        _after("0.3 with a 503", _error("503 Unavailable", "ModelUnavailable", retry_after="0.3"), 0.3),
        _after("0.3 with status 200", _code("Throttling", retry_after="0.3"), 0.3),
        _after("an HTTP date", _throttled_until("GMT"), 1),
        _after(
            "an HTTP date, by the server's clock",
            _throttled(retry_after=_DAY.format(1), date=_DAY.format(0)),
            1,
        ),
        _soon("a date in the past", retry_after="Sun, 06 Nov 1994 08:49:37 GMT"),
        _soon("a date in the past, as in RFC 850", retry_after="Sunday, 06-Nov-94 08:49:37 GMT"),
        _soon("0", retry_after="0"),
        _soon("negative", retry_after="-5"),
        _soon("a word", retry_after="soon"),
        _soon("empty", retry_after=""),
        _soon("NaN", retry_after="nan"),
        midway("infinite", _throttled(retry_after="inf")),
        midway("a number of 400 digits", _throttled(retry_after="9" * 400)),
        _soon("retry-after-ms: {}", retry_after_ms="{}"),
        _soon("an impossible date", retry_after="Tue, 99 Foo 2026"),
        _not_again("an hour", "3600"),
        _not_again("a thousand years", "31536000000"),
        _not_again("a date in the year 2099, as in asctime", "Sun Nov  1 08:49:37 2099"),
    ),
)
