"""Totality of the decoders, and the common forms of Retry-After."""

from __future__ import annotations

import gzip
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    DashScopeFTError,
    InternalServerError,
    NotFoundError,
)
from dashscope_ft_async._api.wire import (
    Response,
    decode_job,
    decode_page,
    inflate,
    scan_page,
)
from dashscope_ft_async._api.wire.envelope import retry_after
from dashscope_ft_async.policy import is_transient

NOON = "Wed, 21 Oct 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "86400"}, 86400),
        ({"retry-after": "Wed, 21 Oct 2026 12:00:30 GMT", "date": NOON}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 11:00:00 GMT", "date": NOON}, 0),
        ({"retry-after": "Wed, 99 Oct 2026 12:00:30 GMT", "date": NOON}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Response(429, headers, b"")) == seconds


def test_a_date_without_the_answers_own_is_compared_with_our_clock() -> None:
    noon = 1792584000.0

    assert retry_after(Response(429, {"retry-after": NOON}, b"", noon - 60)) == 60


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (b"bad example \\ud83d", "bad example ?"),
        ("完成".encode()[:-1], "完\N{REPLACEMENT CHARACTER}"),
        (b'", "usage": NaN, "group": "', None),
        (b'", "usage": -Infinity, "group": "', None),
    ],
    ids=["a text cut inside an emoji", "a text cut inside a character", "NaN", "infinity"],
)
def test_a_job_is_read_in_spite_of(message: bytes, read: str | None) -> None:
    whole = b'{"output":{"job_id":"ft-1","status":"FAILED","message":"%s"}}' % message

    for mark in (b"", b"\xef\xbb\xbf"):
        job = decode_job(Response(200, {}, mark + whole), "ft-1")

        assert (job.raw_status, job.message, job.usage) == ("FAILED", read, None)


def test_many_small_bombs_are_one() -> None:
    with pytest.raises(APIResponseValidationError, match="larger"):
        inflate(gzip.compress(b"\0" * (1024 * 1024)) * 9, "gzip")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-request-id", "content-type", "date"]), st.text()
)


def _job(response: Response) -> object:
    return decode_job(response, "ft-1")


def _page(response: Response) -> object:
    return decode_page(response, 1, 10)


def _scanned(response: Response) -> object:
    return scan_page(response, 10)


DECODERS = (_job, _page, _scanned)


@given(status=st.integers(100, 599), sent=headers, body=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_of_our_errors(status: int, sent: dict[str, str], body: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(Response(status, sent, body))
        except DashScopeFTError as error:
            assert str(error).isprintable()


@given(
    status=st.sampled_from([200, 404, 500]),
    output=values,
    code=values,
    name=st.sampled_from(["output", "error"]),
)
def test_any_json_is_a_value_or_one_of_our_errors(
    status: int, output: object, code: object, name: str
) -> None:
    try:
        body = orjson.dumps({name: output, "code": code, "message": output})
    except TypeError:
        return
    for decode in DECODERS:
        try:
            decode(Response(status, {}, body))
        except DashScopeFTError as error:
            assert str(error).isprintable()


FIELDS = [
    "status", "job_name", "finetuned_output", "training_file_ids", "hyper_parameters", "create_time",
    "end_time", "usage", "output_cnt", "code", "extra", "raw_status", "request_id", "jobs_name",
]  # fmt: skip


@given(odd=st.dictionaries(st.sampled_from(FIELDS), values, max_size=6))
def test_a_job_with_any_fields_is_a_job_or_one_of_our_errors(odd: dict[str, object]) -> None:
    try:
        body = orjson.dumps({"output": {"job_id": "ft-1", "status": "RUNNING", **odd}})
    except TypeError:
        return
    try:
        job = decode_job(Response(200, {}, body), "ft-1")
    except APIResponseValidationError as error:
        assert "@ $.output" in str(error)
        assert "status" in odd
    else:
        assert job.job_id == "ft-1"


# Header values come as bytes that the HTTP library decodes so: what is no UTF-8 becomes a surrogate.
raw_headers = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(
    status=st.sampled_from([200, 302, 404, 429, 500, 503]),
    sent=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["retry-after", "retry-after-ms", "x-request-id", "date"], raw_headers)
    ),
    body=st.sampled_from([b"", b"<html>", b"{}", b'{"code": "Throttling", "message": "m"}']),
)
def test_any_bytes_in_a_header_stand_in_the_error_as_one_line_of_text(
    status: int, sent: dict[str, str], body: bytes
) -> None:
    for decode in DECODERS:
        with pytest.raises(APIError) as caught:
            decode(Response(status, sent, body))
        error = caught.value
        assert str(error).isprintable()
        assert error.request_id is None or (error.request_id.isprintable() and len(error.request_id) <= 200)
        assert error.retry_after is None or 0.0 <= error.retry_after < float("inf")
        str(error).encode()


@given(
    status=st.sampled_from([200, 302, 400, 401, 404, 409, 429, 500, 503, 599]),
    given=st.dictionaries(
        st.sampled_from(["code", "message", "msg", "request_id", "error", "output", "data"]), values
    ),
)
def test_any_error_body_is_an_error_with_facts_of_text(status: int, given: dict[str, object]) -> None:
    try:
        body = orjson.dumps(given)
    except TypeError:
        return
    try:
        decode_job(Response(status, {}, body), "ft-1")
    except APIError as error:
        assert isinstance(error, APIStatusError | APIResponseValidationError)
        assert error.status == status
        for fact in (error.request_id, getattr(error, "code", None)):
            assert fact is None or (isinstance(fact, str) and fact.isprintable())
        assert is_transient(error) in (True, False)
    else:
        raise AssertionError("no body without a job is a job")


rows = st.lists(values | st.fixed_dictionaries({"job_id": values, "status": values}), max_size=4)


@given(
    jobs=rows | values,
    page_no=values,
    page_size=values,
    total=values,
    name=st.sampled_from(["output", "data"]),
)
def test_any_page_is_a_page_with_sane_numbers_or_one_of_our_errors(
    jobs: object, page_no: object, page_size: object, total: object, name: str
) -> None:
    output = {"jobs": jobs, "page_no": page_no, "page_size": page_size, "total": total}
    try:
        response = Response(200, {}, orjson.dumps({name: output}))
    except TypeError:
        return
    scanned = scan_page(response, 10)
    assert scanned.page_size >= 1
    assert scanned.total is None or scanned.total >= 0
    for row in scanned.rows:
        hash(row.job_id)
        with suppress(APIResponseValidationError):
            assert row.job().job_id == row.job_id
    try:
        page = decode_page(response, 2, 10)
    except APIResponseValidationError as error:
        assert "@ $.output" in str(error)
    else:
        assert page.page_no >= 1
        assert page.page_size >= 1
        assert page.total is None or page.total >= 0


# --- what the mutation check found untested -----------------------------------------------------------


def _answer(body: object, status: int = 200, **headers: str) -> Response:
    return Response(status, headers, orjson.dumps(body))


def test_a_scanned_page_tells_its_size_its_total_and_the_rows_that_have_an_id() -> None:
    rows: list[object] = [{"job_id": "a"}, None, 5, {"job_id": 5}, {"status": "RUNNING"}, {"job_id": "b"}]
    page = scan_page(_answer({"output": {"jobs": rows, "page_size": "20", "total": 0}}), 100)

    assert (page.page_size, page.total, [row.job_id for row in page.rows]) == (20, 0, ["a", "b"])


def test_a_scanned_page_that_tells_no_numbers_has_the_size_asked_for() -> None:
    page = scan_page(_answer({"output": {"jobs": {}}}), 100)

    assert (page.page_size, page.total, page.rows) == (100, None, ())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (299, "NotFound", NotFoundError),
        (300, "NotFound", APIStatusError),
        (599, None, InternalServerError),
        (600, None, APIStatusError),
    ],
)
def test_the_edges_of_the_status_ranges(status: int, code: str | None, kind: type[APIStatusError]) -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(_answer({"code": code}, status), "ft-1")

    assert type(caught.value) is kind


def test_a_refusal_carries_how_long_to_wait_and_not_more_than_2000_characters() -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(_answer({"message": "x" * 3000}, 429, **{"retry-after": "7"}), "ft-1")

    assert caught.value.retry_after == 7
    assert len(caught.value.message or "") == 2000
