"""Whole answers that are no job: pages, redirects, refusals, codes."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Literal

import attrs

from bench.contenders import KEY
from bench.faults._row import (
    CARRY_ON,
    DEADLINE,
    DONE,
    ELSEWHERE,
    RUNNING,
    Row,
    at_first,
    for_ever,
    stopped,
    survived,
)
from bench.faults.judging import Want
from tests.support.adversary import Answer, elsewhere, job_body, whole

_JOB = job_body()
_HTML = b"<!doctype html><title>Bad Gateway</title><h1>nginx</h1>"


def _html(status: str) -> Answer:
    return whole(_HTML, status, kind="text/html")


def _coded(code: str, status: str = "200 OK", **headers: str) -> Answer:
    return whole(b'{"code":"%s","message":"m","request_id":"r"}' % code.encode(), status, **headers)


_NO_JOB = "Status 200, and no job"

_NO_JOB_ROWS = (
    survived(_NO_JOB, "empty", whole()),
    survived(_NO_JOB, "204", whole(status="204 No Content")),
    survived(_NO_JOB, "202, and an empty object", whole(b"{}", "202 Accepted")),
    survived(_NO_JOB, "a page in HTML", _html("200 OK")),
    survived(_NO_JOB, "a page in HTML, five times in a row", *[_html("200 OK")] * 5),
    at_first(_NO_JOB, "a page in HTML, at the first request", _html("200 OK")),
    survived(_NO_JOB, "JSON that breaks off", whole(_JOB[:-9])),
    survived(_NO_JOB, "JSON with more behind it", whole(_JOB + b"}")),
    survived(_NO_JOB, "two objects", whole(_JOB + _JOB)),
    survived(_NO_JOB, "a list", whole(b"[" + _JOB + b"]")),
    survived(_NO_JOB, "a text", whole(b'"SUCCEEDED"')),
    survived(_NO_JOB, "a number", whole(b"1")),
    survived(_NO_JOB, "null", whole(b"null")),
    survived(_NO_JOB, "an empty object", whole(b"{}")),
    survived(_NO_JOB, "output is null", whole(b'{"output":null}')),
    survived(_NO_JOB, "output is a list", whole(b'{"output":[]}')),
    survived(_NO_JOB, "output is a text", whole(b'{"output":"SUCCEEDED"}')),
    survived(_NO_JOB, "output is empty", whole(b'{"output":{}}')),
    survived(_NO_JOB, "another service's health", whole(b'{"status":"SUCCEEDED"}')),
    survived(_NO_JOB, "UTF-16", whole(_JOB.decode().encode("utf-16"))),
    survived(_NO_JOB, "100,000 brackets", whole(b"[" * 100_000)),
)

_AWAY = "Redirects"


def _redirected(status: str) -> Row:
    number = int(status[:3])
    want = Want(kind="stop", told_as=("APIStatusError",), status=number, requests=2)
    return Row(_AWAY, f"{number} to elsewhere", (RUNNING, elsewhere(status, ELSEWHERE), DONE), want)


_AWAY_ROWS = (
    *map(_redirected, ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")),
    stopped(
        _AWAY,
        "302 to itself",
        "APIStatusError",
        302,
        whole(status="302 Found", location="/api/v1/fine-tunes/ft-1"),
    ),
    stopped(_AWAY, "302 to nowhere", "APIStatusError", 302, whole(status="302 Found")),
    stopped(
        _AWAY,
        "302 to a page of sign-in, from the start",
        "APIStatusError",
        302,
        elsewhere("302 Found", ELSEWHERE),
        seen=False,
    ),
)

_PASSING = "Refusals that pass"

_PASSING_ROWS = (
    survived(_PASSING, "408", whole(status="408 Request Timeout")),
    survived(_PASSING, "425", whole(status="425 Too Early")),
    survived(_PASSING, "429 Throttling", _coded("Throttling", "429 Too Many")),
    survived(_PASSING, "429 Throttling.RateQuota", _coded("Throttling.RateQuota", "429 Too Many")),
    survived(_PASSING, "429, empty", whole(status="429 Too Many")),
    survived(_PASSING, "429, HTML", _html("429 Too Many")),
    at_first(_PASSING, "429, at the first request", _coded("Throttling", "429 Too Many")),
    survived(_PASSING, "429, three times in a row", *[_coded("Throttling", "429 Too Many")] * 3),
    survived(_PASSING, "500 InternalError", _coded("InternalError", "500 Error")),
    survived(_PASSING, "500, empty", whole(status="500 Error")),
    at_first(_PASSING, "500, at the first request", _coded("InternalError", "500 Error")),
    survived(_PASSING, "500, five times in a row", *[_coded("InternalError", "500 Error")] * 5),
    survived(_PASSING, "500, truncated JSON", whole(b'{"code":"Inter', "500 Error")),
    survived(_PASSING, "502, HTML", _html("502 Bad Gateway")),
    survived(_PASSING, "503 ModelUnavailable", _coded("ModelUnavailable", "503 Unavailable")),
    survived(_PASSING, "503, HTML", _html("503 Unavailable")),
    survived(_PASSING, "504 GatewayTimeout", _coded("GatewayTimeout", "504 Timeout")),
    survived(_PASSING, "507, empty", whole(status="507 Storage")),
    survived(_PASSING, "520, HTML", _html("520 Unknown")),
    survived(_PASSING, "524, HTML", _html("524 Timeout")),
    survived(_PASSING, "404, HTML: a deploy", _html("404 Not Found")),
    survived(_PASSING, "404 NotFound once, midway", _coded("NotFound", "404 Not Found")),
    survived(
        _PASSING,
        "a bad minute: 502, reset page, 500, 429, cut JSON",
        _html("502 Bad Gateway"),
        _html("200 OK"),
        _coded("InternalError", "500 Error"),
        _coded("Throttling", "429 Too Many"),
        whole(_JOB[:-9]),
    ),
)

_FINAL = "Refusals that do not"


def _refused(name: str, told_as: str, status: str, code: str, *, seen: bool = True) -> Row:
    return stopped(_FINAL, name, told_as, int(status[:3]), _coded(code, status), seen=seen)


_FINAL_ROWS = (
    _refused("400 InvalidParameter", "BadRequestError", "400 Bad", "InvalidParameter", seen=False),
    _refused("401 InvalidApiKey", "AuthenticationError", "401 No", "InvalidApiKey", seen=False),
    _refused("401, the key is revoked midway", "AuthenticationError", "401 No", "InvalidApiKey"),
    stopped(_FINAL, "401, HTML", "AuthenticationError", 401, _html("401 No"), seen=False),
    _refused("403 AccessDenied", "PermissionDeniedError", "403 No", "AccessDenied", seen=False),
    _refused("403, rights are withdrawn midway", "PermissionDeniedError", "403 No", "AccessDenied"),
    _refused("404 NotFound", "NotFoundError", "404 Not Found", "NotFound", seen=False),
    attrs.evolve(
        stopped(_FINAL, "404, the job is deleted midway", "", 404, *[_coded("NotFound", "404 No")] * 2),
        want=Want(kind="stop", told_as=("JobVanishedError", "NotFoundError"), status=404, requests=3),
    ),
    _refused("409 Conflict", "ConflictError", "409 Conflict", "Conflict", seen=False),
    _refused("418", "APIStatusError", "418 Teapot", "Teapot"),
    _refused("429, the bill is overdue", "PermissionDeniedError", "429 Pay", "PostpaidBillOverdue"),
    _refused("400 Arrearage", "PermissionDeniedError", "400 Bad", "Arrearage"),
    stopped(
        _FINAL,
        "400 that repeats the key in its message",
        "BadRequestError",
        400,
        whole(b'{"code":"InvalidParameter","message":"Bearer %s"}' % KEY.encode(), "400 Bad"),
    ),
)

_CODES = "Status 200, and an error code"

_CODE_ROWS = (
    survived(_CODES, "Throttling", _coded("Throttling")),
    survived(_CODES, "Throttling.RateQuota, three times in a row", *[_coded("Throttling.RateQuota")] * 3),
    survived(_CODES, "InternalError", _coded("InternalError")),
    survived(_CODES, "ServiceUnavailable", _coded("ServiceUnavailable")),
    survived(_CODES, "SomethingNew", _coded("SomethingNew")),
    survived(
        _CODES,
        "the code in an error object",
        whole(b'{"error":{"code":"InternalError","message":"m"}}'),
    ),
    stopped(_CODES, "InvalidApiKey", "AuthenticationError", 0, _coded("InvalidApiKey")),
    stopped(_CODES, "AccessDenied", "PermissionDeniedError", 0, _coded("AccessDenied")),
    stopped(_CODES, "Arrearage", "PermissionDeniedError", 0, _coded("Arrearage"), seen=False),
    stopped(_CODES, "InvalidParameter", "BadRequestError", 0, _coded("InvalidParameter"), seen=False),
    stopped(_CODES, "NotFound", "NotFoundError", 0, _coded("NotFound"), seen=False),
    survived(_CODES, "a code of success (200)", whole(b'{"code":"200",' + _JOB[1:])),
    survived(_CODES, "a code of success (Success)", whole(b'{"code":"Success",' + _JOB[1:])),
)

_COME_BACK = "Retry-After"
_SOON = attrs.evolve(CARRY_ON, not_later=3.0)
_STAY_AWAY = attrs.evolve(DEADLINE, requests=2)
_DAY = "Wed, 01 Jan 2020 08:00:0{} GMT"


def _asked(**headers: str) -> Answer:
    return _coded("Throttling", "429 Too Many", **headers)


def _pause(seconds: float) -> Want:
    return attrs.evolve(CARRY_ON, not_before=seconds)


def _until(zone: Literal["GMT", "+0000"]) -> Answer:
    """A date one to two seconds from now, without a Date to compare it with."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        until = formatdate(int(time.time()) + 2, usegmt=True).replace("GMT", zone)
        return await _asked(retry_after=until)(reader, writer)

    return answer


_COME_BACK_ROWS = (
    survived(_COME_BACK, "1", _asked(retry_after="1"), want=_pause(1)),
    survived(_COME_BACK, "a fraction (0.3)", _asked(retry_after="0.3"), want=_pause(0.3)),
    survived(_COME_BACK, "retry-after-ms: 300", _asked(retry_after_ms="300"), want=_pause(0.3)),
    survived(
        _COME_BACK,
        "both, in milliseconds and in seconds",
        _asked(retry_after="9", retry_after_ms="300"),
        want=attrs.evolve(_pause(0.3), not_later=3.0),
    ),
    survived(
        _COME_BACK,
        "0.3 with a 503",
        _coded("ModelUnavailable", "503 Unavailable", retry_after="0.3"),
        want=_pause(0.3),
    ),
    survived(_COME_BACK, "0.3 with code 200", _coded("Throttling", retry_after="0.3"), want=_pause(0.3)),
    survived(_COME_BACK, "an HTTP date", _until("GMT"), want=_pause(1)),
    survived(
        _COME_BACK,
        "an HTTP date, by the server's own clock",
        _asked(retry_after=_DAY.format(1), date=_DAY.format(0)),
        want=_pause(1),
    ),
    survived(
        _COME_BACK,
        "a date that has passed",
        _asked(retry_after="Sun, 06 Nov 1994 08:49:37 GMT"),
        want=_SOON,
    ),
    survived(
        _COME_BACK,
        "a date that has passed, in the form of RFC 850",
        _asked(retry_after="Sunday, 06-Nov-94 08:49:37 GMT"),
        want=_SOON,
    ),
    survived(_COME_BACK, "0", _asked(retry_after="0"), want=_SOON),
    survived(_COME_BACK, "negative", _asked(retry_after="-5"), want=_SOON),
    survived(_COME_BACK, "garbage", _asked(retry_after="soon"), want=_SOON),
    survived(_COME_BACK, "empty", _asked(retry_after=""), want=_SOON),
    survived(_COME_BACK, "NaN", _asked(retry_after="nan"), want=_SOON),
    survived(_COME_BACK, "infinite", _asked(retry_after="inf")),
    survived(_COME_BACK, "a number of 400 digits", _asked(retry_after="9" * 400)),
    survived(_COME_BACK, "garbage for milliseconds", _asked(retry_after_ms="{}"), want=_SOON),
    survived(_COME_BACK, "a date that is none", _asked(retry_after="Tue, 99 Foo 2026"), want=_SOON),
    for_ever(_COME_BACK, "an hour", _asked(retry_after="3600"), want=_STAY_AWAY),
    for_ever(_COME_BACK, "a thousand years", _asked(retry_after="31536000000"), want=_STAY_AWAY),
    for_ever(
        _COME_BACK,
        "a date in the year 2099, in the form of asctime",
        _asked(retry_after="Sun Nov  1 08:49:37 2099"),
        want=_STAY_AWAY,
    ),
)

ANSWERS = (*_NO_JOB_ROWS, *_AWAY_ROWS, *_PASSING_ROWS, *_FINAL_ROWS, *_CODE_ROWS, *_COME_BACK_ROWS)
