"""Totality of the decoders, and the common forms of Retry-After."""

from __future__ import annotations

import gzip

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import (
    APIResponseValidationError,
    APIStatusError,
    DashScopeFTError,
    InternalServerError,
    NotFoundError,
)
from dashscope_ft_async._wire import (
    Response,
    decode_job,
    decode_page,
    inflate,
    scan_page,
)
from dashscope_ft_async._wire.headers import retry_after

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
