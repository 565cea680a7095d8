"""Rules of the wire, each as a table: codes, Retry-After, compression, requests, redaction."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async._api.wire import (
    BODY_LIMIT,
    Request,
    Response,
    decode_job,
    inflate,
    job_id_of,
    job_request,
    page_request,
)
from dashscope_ft_async._api.wire.envelope import retry_after, status_error_class
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DashScopeFTError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
)
from dashscope_ft_async.models import redact, safe_word

# --- status and code choose the class together --------------------------------------------------------

BY_STATUS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
    500: InternalServerError,
    501: InternalServerError,
    502: InternalServerError,
    503: ServiceUnavailableError,
    504: InternalServerError,
    520: InternalServerError,
    599: InternalServerError,
    **dict.fromkeys((100, 200, 204, 301, 302, 304, 307, 402, 405, 408, 418, 422, 425, 430), APIStatusError),
}


@pytest.mark.parametrize("code", [None, "", "Brand.New", "..."])
@pytest.mark.parametrize("status", BY_STATUS)
def test_without_a_known_code_the_status_chooses(status: int, code: str | None) -> None:
    assert status_error_class(status, code) is BY_STATUS[status]


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *(
            (word, RateLimitError)
            for word in ("Throttling", "Throttling.RateQuota", "throttling", "THROTTLING.X.Y")
        ),
        ("Gateway.Throttling", RateLimitError),
        *(
            (word, PermissionDeniedError)
            for word in ("Arrearage", "arrearage", "PostpaidBillOverdue", "postpaid_bill_overdue")
        ),
        *(
            (word, PermissionDeniedError)
            for word in ("PrepaidBillOverdue", "Commodity Not Purchased", "X.Arrearage")
        ),
        *((word, AuthenticationError) for word in ("InvalidApiKey", "invalid_api_key", "INVALID API KEY")),
    ],
)
def test_these_codes_choose_whatever_the_status(status: int, code: str, kind: type[APIStatusError]) -> None:
    assert status_error_class(status, code) is kind


@pytest.mark.parametrize("code", ["NotFound", "InternalError", "Conflict", "InvalidParameter"])
def test_other_codes_do_not_overrule_the_status(code: str) -> None:
    assert status_error_class(403, code) is PermissionDeniedError


@pytest.mark.parametrize("code", ["NotThrottling", "ThrottlingX", "a.Throttling.b", "Bill.Overdue"])
def test_a_code_is_compared_as_a_whole_by_its_first_and_last_part(code: str) -> None:
    assert status_error_class(400, code) is BadRequestError


# --- Retry-After --------------------------------------------------------------------------------------

DATE = "Sun, 06 Nov 1994 08:49:27 GMT"


@pytest.fixture(params=["UTC", "Asia/Shanghai", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's time zone."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    "form",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 16:49:37 +0800",
    ],
)
@pytest.mark.usefixtures("zone")
def test_every_form_of_a_date_is_understood_in_every_zone(form: str) -> None:
    assert retry_after(Response(429, {"retry-after": form, "date": DATE}, b"")) == 10.0


@pytest.mark.usefixtures("zone")
def test_without_a_date_header_or_with_an_odd_one_the_time_of_arrival_counts() -> None:
    arrived = datetime.fromisoformat("1994-11-06T08:49:00+00:00").timestamp()

    for headers in ({"retry-after": DATE}, {"retry-after": DATE, "date": "yesterday"}):
        assert retry_after(Response(429, headers, b"", arrived)) == 27.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0.5", 0.5),
        ("5.", 5.0),
        ("007", 7.0),
        ("1e3", None),
        ("+5", None),
        (".5", None),
        ("\u0665", None),
        ("5 s", None),
        ("5, 6", None),
        ("5\n", 5.0),
        ("", None),
        ("\x00", None),
        ("0 0 0 0:0:0 -", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +9999999", None),
    ],
    ids=repr,
)
def test_odd_numbers_and_dates(header: str, seconds: float | None) -> None:
    assert retry_after(Response(429, {"retry-after": header, "date": DATE}, b"")) == seconds


@pytest.mark.parametrize(
    ("millis", "seconds"),
    [("1500", 1.5), ("0", 0.0), ("-1", 9.0), ("nan", 9.0), ("", 9.0), ("9" * 400, None)],
)
def test_milliseconds_come_first_where_they_can_be_read(millis: str, seconds: float | None) -> None:
    response = Response(429, {"retry-after-ms": millis, "retry-after": "9"}, b"")

    assert retry_after(response) == seconds


@given(st.text(max_size=60), st.text(max_size=60), st.floats(0, 4e9))
def test_any_header_is_no_value_or_a_finite_time_that_is_not_negative(
    wait: str, date: str, at: float
) -> None:
    found = retry_after(Response(429, {"retry-after": wait, "date": date}, b"", at))

    assert found is None or 0.0 <= found < float("inf")


# --- compression --------------------------------------------------------------------------------------

PLAIN = b'{"output": {}}' * 100


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip ", "deflate"])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_either_compression_is_understood_under_either_name(encoding: str, pack: Any) -> None:
    assert inflate(pack(PLAIN), encoding) == PLAIN


@pytest.mark.parametrize("parts", [1, 2, 100])
def test_a_body_in_parts_is_one_body(parts: int) -> None:
    assert inflate(gzip.compress(PLAIN) * parts, "gzip") == PLAIN * parts


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "utf-8"])
def test_a_body_that_is_not_compressed_is_read_whatever_its_header_says(encoding: str) -> None:
    assert inflate(b'{"output": {}}', encoding) == b'{"output": {}}'


def test_a_body_of_the_greatest_size_is_taken_and_one_byte_more_is_not() -> None:
    assert len(inflate(gzip.compress(b"\0" * BODY_LIMIT), "gzip")) == BODY_LIMIT
    with pytest.raises(APIResponseValidationError, match=f"larger than {BODY_LIMIT}"):
        inflate(gzip.compress(b"\0" * BODY_LIMIT + b"\0"), "gzip")


def test_a_body_of_very_many_empty_parts_is_refused_at_once() -> None:
    body = gzip.compress(b"") * (BODY_LIMIT // 20)
    began = time.process_time()

    with pytest.raises(APIResponseValidationError, match="more than 100 compressed parts"):
        inflate(body, "gzip")

    assert time.process_time() - began < 2.0


def test_a_bomb_takes_little_memory() -> None:
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(APIResponseValidationError, match="larger"):
            inflate(bomb, "deflate")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * BODY_LIMIT


@pytest.mark.parametrize("cut", [1, 10, 11, -1, -8, -9])
def test_a_body_that_is_cut_is_broken(cut: int) -> None:
    with pytest.raises(APIResponseValidationError, match="broken compression"):
        inflate(gzip.compress(PLAIN)[:cut], "gzip")


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"\x00", gzip.compress(PLAIN) + b"junk", gzip.compress(PLAIN) + b"\0"],
    ids=["HTML", "a zero", "junk behind", "a zero behind"],
)
def test_what_is_not_compressed_is_broken(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match="broken compression"):
        inflate(body, "gzip")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "", "identity"])
def test_an_encoding_that_was_not_asked_for_is_named(encoding: str) -> None:
    with pytest.raises(APIResponseValidationError, match=f"unknown Content-Encoding {encoding!r}"):
        inflate(gzip.compress(PLAIN), encoding)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br"]))
def test_any_bytes_inflate_or_are_one_of_our_errors(body: bytes, encoding: str) -> None:
    with suppress(APIResponseValidationError):
        assert isinstance(inflate(body, encoding), bytes)


# --- requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job_id", ["ft-202410291653-1c7f", "quant-1", "a", "a.b", "..a", "ft_1~2", "職", "a+b&c=d;"]
)
def test_any_plain_text_is_a_job_id(job_id: str) -> None:
    snapshot = FineTuneJob(job_id=job_id, status=JobStatus.RUNNING, raw_status="RUNNING")

    assert job_id_of(job_id) == job_id
    assert job_id_of(snapshot) == job_id


@pytest.mark.parametrize(
    "job_id",
    [
        *(
            "",
            ".",
            "..",
            "...",
            "a/b",
            "/",
            "../deployments",
            "a\\b",
            "a?x=1",
            "a#b",
            "a%2fb",
            " ",
            "a b",
            "a ",
            " a",
        ),
        *(
            "a\n",
            "a\r\nX: 1",
            "a\tb",
            "a\x00",
            "a\x7f",
            "a\u00a0b",
            "a\u3000b",
            "a\u200bb",
            "a\ud800",
            "a\u2028",
        ),
    ],
    ids=ascii,
)
def test_an_id_that_would_reach_something_else_is_refused(job_id: str) -> None:
    with pytest.raises(ConfigurationError, match="is no job id"):
        job_id_of(job_id)
    with pytest.raises(ConfigurationError, match="is no job id"):
        job_id_of(FineTuneJob(job_id=job_id, status=JobStatus.RUNNING, raw_status="RUNNING"))


@given(st.text(max_size=30) | st.text("./\\%?#;@:&=+ a\u2024\uff0f\u2215\ud800", max_size=6))
def test_any_text_is_refused_as_an_id_or_sent_as_exactly_one_segment(text: str) -> None:
    try:
        path = job_request(job_id_of(text)).path
    except ConfigurationError:
        return
    sent = URL("https://a.example/api/v1" + path)  # as the HTTP library reads it
    *front, segment = sent.raw_path.split("/")
    assert front == ["", "api", "v1", "fine-tunes"]
    assert unquote(segment) == text
    assert (sent.host, sent.query_string, sent.fragment) == ("a.example", "", "")


@pytest.mark.parametrize("job_id", [None, 5, b"ft-1", ["ft-1"], True])
def test_an_id_that_is_no_text_is_refused(job_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="a job id is text, not"):
        job_id_of(job_id)


@pytest.mark.parametrize(
    ("job_id", "path"), [("ft-1", "ft-1"), ("a+b&c=d;", "a%2Bb%26c%3Dd%3B"), ("職", "%E8%81%B7")]
)
def test_the_id_is_one_segment_of_the_path(job_id: str, path: str) -> None:
    assert job_request(job_id) == Request("GET", f"/fine-tunes/{path}")


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((1, 10, None), "page_no=1&page_size=10"),
        ((10**9, 100, None), "page_no=1000000000&page_size=100"),
        ((2, 1, "qwen3-14b"), "page_no=2&page_size=1&model=qwen3-14b"),
        ((1, 10, "a b&page_no=9/ü"), "page_no=1&page_size=10&model=a+b%26page_no%3D9%2F%C3%BC"),
    ],
)
def test_a_page_is_asked_for_by_query(arguments: tuple[int, int, str | None], query: str) -> None:
    assert page_request(*arguments) == Request("GET", f"/fine-tunes?{query}")


NO_NUMBERS: list[Any] = [0, -1, True, 1.0, "1", None, float("nan"), 10**9 + 1]


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_page_number_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(ConfigurationError, match="page_no must be a whole number from 1 to 1000000000"):
        page_request(number, 10, None)


@pytest.mark.parametrize("size", [*NO_NUMBERS, 101])
def test_a_page_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="page_size must be a whole number from 1 to 100"):
        page_request(1, size, None)


@pytest.mark.parametrize("model", ["", "a\n", "\x00", 5, b"qwen", ["qwen"]])
def test_a_model_that_is_none_is_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="model must be the name of a model"):
        page_request(1, 10, model)


# --- text of the service's ----------------------------------------------------------------------------

KEY = "sk-0123456789abcdefSECRET"


@pytest.mark.parametrize("key", [KEY, "sk-sp-0123.4567_89-x", "sk-0123"])
@pytest.mark.parametrize(
    "around",
    ["{}", "key={}&", "'{}'", "Bearer {}, again {}", "key%3D{}", "key%3d{}", r"a\n{}", "Ключ{}", "1{}"],
)
def test_what_looks_like_a_key_is_struck_out(key: str, around: str) -> None:
    assert redact(around.format(key, key)) == around.format("sk-***", "sk-***")


@pytest.mark.parametrize(
    "text", ["", "sk-", "sk-abc", "task-", "no key here", "task-0123", "disk-full", "Risk-based"]
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert safe_word(text) == text


def test_a_word_shows_what_cannot_be_printed() -> None:
    assert safe_word("RUN\nNING\x1b[2J") == r"'RUN\nNING\x1b[2J'"
    assert len(safe_word("\n" * 999)) == 80


@pytest.mark.parametrize(
    "response",
    [
        Response(401, {}, json.dumps({"code": KEY, "message": f"bad {KEY}", "request_id": KEY}).encode()),
        Response(401, {"x-request-id": KEY}, b"{}"),
        Response(400, {}, json.dumps({"error": {"message": f"{KEY}\n{KEY}"}}).encode()),
        Response(200, {"content-type": KEY}, KEY.encode()),
        Response(200, {}, json.dumps({"output": {"job_id": KEY, "status": "RUNNING"}}).encode()),
        Response(200, {}, json.dumps({"output": {"job_id": "ft-1", "status": [KEY]}}).encode()),
        Response(200, {}, json.dumps({"code": f"Odd.{KEY}", "output": None}).encode()),
        Response(200, {}, b"x" * 150 + KEY.encode()),
    ],
)
def test_no_error_of_an_answer_shows_a_key_that_the_service_echoed(response: Response) -> None:
    with pytest.raises(DashScopeFTError) as caught:
        decode_job(response, "ft-1")

    shown = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert KEY not in shown
    assert KEY[:9] not in shown


@pytest.mark.parametrize("text", ["line\nbreak", "\x1b[31mred\x1b[0m", "\u202egnp", "x" * 100_000])
def test_an_error_is_one_printable_line_of_bounded_length(text: str) -> None:
    body = json.dumps({"code": text, "message": text, "request_id": text}).encode()

    with pytest.raises(APIStatusError) as caught:
        decode_job(Response(400, {}, body), "ft-1")

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000
