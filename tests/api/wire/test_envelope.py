"""Answers of all endpoints: the envelope, and bodies that are not quite JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import FineTuneJob
from dashscope_ft_async._api.wire import (
    Response,
    decode_checkpoints,
    decode_job,
    decode_logs,
    decode_page,
    decode_validation_page,
    scan_page,
)
from dashscope_ft_async._api.wire.envelope import reason_in_envelope
from dashscope_ft_async.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    DashScopeFTError,
)
from dashscope_ft_async.policy import is_transient


def job(response: Response) -> object:
    return decode_job(response, "ft-1")


def page(response: Response) -> object:
    return decode_page(response, 1, 10)


def scanned(response: Response) -> object:
    return [row.job() for row in scan_page(response, 10).rows]


def samples(response: Response) -> object:
    return decode_validation_page(response, 1, 10)


DECODERS: list[Callable[[Response], object]] = [
    job, page, scanned, samples, decode_logs, decode_checkpoints
]  # fmt: skip


def answer(body: object, status: int = 200, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


# --- answers that are not quite JSON ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"row 3:\tx", "row 3:\tx"),
        (b"row 3:\n\x01x", "row 3:\n\x01x"),
        (b"bad example \\ud83d", "bad example ?"),
        ("完成".encode()[:-1], "完\N{REPLACEMENT CHARACTER}"),
        (b'", "usage": NaN, "group": "', None),
        (b'", "usage": -Infinity, "group": "', None),
        (b'", "usage": 1e999, "group": "', None),
        (b'", "usage": ' + b"9" * 400 + b', "group": "', None),
    ],
    ids=[
        "raw tab", "raw control characters", "emoji cut in half", "character cut in half",
        "NaN", "infinity", "1e999", "an integer of 400 digits",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_the_end_of_a_job_is_read_in_spite_of(mark: bytes, message: bytes, expected: str | None) -> None:
    body = mark + b'{"output":{"job_id":"ft-1","status":"FAILED","message":"%s"}}' % message

    found = decode_job(answer(body), "ft-1")

    assert (found.raw_status, found.message, found.usage) == ("FAILED", expected, None)
    assert FineTuneJob.from_dict(json.loads(found.to_json())) == found


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [300, 1020, 100_000])
@pytest.mark.parametrize(
    ("decode", "output"),
    [
        (job, '{"job_id": "ft-1", "status": "FAILED", "new": %s}'),
        (job, '{"job_id": "ft-1", "status": "FAILED", "message": %s}'),
        (job, '{"job_id": "ft-1", "status": "FAILED", "hyper_parameters": {"a": %s}}'),
        (job, '{"job_id": "ft-1", "status": "FAILED", "training_datasets": [{"a": %s}]}'),
        (page, '{"jobs": [], "new": %s}'),
        (page, '{"jobs": [%s]}'),
        (scanned, '{"jobs": [{"job_id": "ft-1", "status": "FAILED", "code": %s}]}'),
        (decode_logs, '{"logs": [%s]}'),
        (decode_checkpoints, '[{"checkpoint": "c", "metrics": %s}]'),
        (samples, '{"list": [{"prompt": %s}]}'),
    ],
)
def test_an_answer_nested_very_deep_is_our_error(
    decode: Callable[[Response], object], output: str, depth: int
) -> None:
    deep = "[" * depth + "]" * depth

    with pytest.raises(APIResponseValidationError) as caught:
        decode(answer(f'{{"output": {output % deep}}}'.encode()))

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "json_body"),
    [(b"<html>", False), (b"", False), (b"[1]", False), (b' \xef\xbb\xbf{"output', True), (b"{}", True)],
)
def test_an_unreadable_answer_says_whether_it_begins_like_json(body: bytes, json_body: bool) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        decode_job(answer(body), "ft-1")

    assert caught.value.json_body is json_body


@pytest.mark.parametrize(
    ("around", "reason"),
    [
        ({}, None),
        ({"code": "", "message": ""}, None),
        ({"code": " Success ", "message": "fine"}, None),
        ({"code": "200"}, None),
        ({"code": "DataError", "message": "no rows"}, {"code": "DataError", "message": "no rows"}),
        ({"code": "DataError"}, {"code": "DataError", "message": None}),
        ({"message": "no rows"}, {"code": None, "message": "no rows"}),
    ],
)
def test_the_reason_next_to_the_output(
    around: Mapping[str, str], reason: Mapping[str, str | None] | None
) -> None:
    found = reason_in_envelope(dict(around) | {"output": {}})

    assert found == ({} if reason is None else {"envelope": reason})


# --- any answer ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
FIELDS = [
    "code",
    "message",
    "msg",
    "request_id",
    "error",
    "output",
    "data",
    "jobs",
    "logs",
    "list",
    "total",
]
BODIES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
# The HTTP library decodes header values so: bytes that are not UTF-8 become surrogates.
HEADERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["retry-after", "retry-after-ms", "x-request-id", "content-type", "date"],
        st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    ),
)


@given(
    status=st.integers(100, 599),
    headers=HEADERS,
    body=st.binary(max_size=200)
    | BODIES.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"", b"<html>", b"{}", b'{"code": "Throttling", "message": "m"}']),
)
def test_any_answer_is_a_value_or_an_error_of_printable_facts(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    for decode in DECODERS:
        try:
            decode(Response(status, headers, body))
        except APIError as error:
            assert isinstance(error, APIStatusError | APIResponseValidationError)
            assert error.status == status
            assert str(error).isprintable()
            str(error).encode()
            assert error.retry_after is None or 0.0 <= error.retry_after < float("inf")
            for fact in (error.request_id, getattr(error, "code", None)):
                assert fact is None or (fact.isprintable() and len(fact) <= 200)
            assert is_transient(error) in (True, False)


@given(
    jobs=st.lists(VALUES | st.fixed_dictionaries({"job_id": VALUES, "status": VALUES}), max_size=4)
    | VALUES,
    numbers=st.fixed_dictionaries({"page_no": VALUES, "page_size": VALUES, "total": VALUES}),
)
def test_the_numbers_of_any_page_are_possible(jobs: object, numbers: dict[str, object]) -> None:
    response = Response(200, {}, json.dumps({"output": {"jobs": jobs, **numbers}}).encode())

    rows = scan_page(response, 10)
    assert rows.page_size >= 1
    assert rows.total is None or rows.total >= 0
    for row in rows.rows:
        with suppress(APIResponseValidationError):
            assert row.job().job_id == row.job_id
    with suppress(APIResponseValidationError):
        read = decode_page(response, 2, 10)
        assert min(read.page_no, read.page_size) >= 1
        assert read.total is None or read.total >= 0


KEY = "sk-0123456789abcdefSECRET"


@pytest.mark.parametrize(
    "response",
    [
        answer({"code": KEY, "message": f"bad {KEY}", "request_id": KEY}, 401),
        answer({}, 401, x_request_id=KEY),
        answer({"error": {"message": f"{KEY}\n{KEY}"}}, 400),
        answer(KEY.encode(), content_type=KEY),
        answer({"output": {"job_id": KEY, "status": "RUNNING"}}),
        answer({"output": {"job_id": "ft-1", "status": [KEY]}}),
        answer({"code": f"Odd.{KEY}", "output": None}),
        answer(b"x" * 150 + KEY.encode()),
    ],
)
def test_no_error_shows_a_key_that_the_service_echoed(response: Response) -> None:
    with pytest.raises(DashScopeFTError) as caught:
        decode_job(response, "ft-1")

    assert KEY[:9] not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("text", ["line\nbreak", "\x1b[31mred\x1b[0m", "\u202egnp", "x" * 100_000])
def test_an_error_is_one_printable_line_of_limited_length(text: str) -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(
            answer(orjson.dumps(dict.fromkeys(("code", "message", "request_id"), text)), 400), "ft-1"
        )

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000
