"""The class and the facts of an error that the service answers with, and Retry-After."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async._api.wire import Request, Response, decode_job, endpoint_error
from dashscope_ft_async._api.wire.envelope import retry_after, status_error_class
from dashscope_ft_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    EndpointNotFoundError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
)

# --- the class of an error ----------------------------------------------------------------------------

BY_STATUS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
    503: ServiceUnavailableError,
    **dict.fromkeys((500, 501, 502, 504, 520, 599), InternalServerError),
    **dict.fromkeys(
        (100, 200, 204, 301, 302, 304, 307, 402, 405, 408, 418, 422, 425, 430, 600), APIStatusError
    ),
}
UNDER_EACH_STATUS: dict[type[APIStatusError], tuple[str, ...]] = {
    RateLimitError: (
        "Throttling",
        "Throttling.RateQuota",
        "throttling",
        "THROTTLING.X.Y",
        "Gateway.Throttling",
    ),
    PermissionDeniedError: (
        *("Arrearage", "arrearage", "PostpaidBillOverdue", "postpaid_bill_overdue", "PrepaidBillOverdue"),
        *("Commodity Not Purchased", "X.Arrearage"),
    ),
    AuthenticationError: ("InvalidApiKey", "invalid_api_key", "INVALID API KEY"),
}


@pytest.mark.parametrize("code", [None, "", "Brand.New", "..."])
@pytest.mark.parametrize("status", BY_STATUS)
def test_without_a_known_code_the_status_chooses_the_class(status: int, code: str | None) -> None:
    assert status_error_class(status, code) is BY_STATUS[status]


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("kind", UNDER_EACH_STATUS)
def test_some_codes_choose_the_class_under_each_status(status: int, kind: type[APIStatusError]) -> None:
    assert {status_error_class(status, code) for code in UNDER_EACH_STATUS[kind]} == {kind}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        *((403, code, PermissionDeniedError) for code in ("NotFound", "InternalError", "Conflict")),
        *((400, code, BadRequestError) for code in ("NotThrottling", "ThrottlingX", "a.Throttling.b")),
        (200, "NotFound", NotFoundError),
        (299, "NotFound", NotFoundError),
        (300, "NotFound", APIStatusError),
    ],
)
def test_other_codes_choose_the_class_under_2xx_only(
    status: int, code: str, kind: type[APIStatusError]
) -> None:
    assert status_error_class(status, code) is kind


def test_an_error_has_the_pause_that_was_asked_for_and_at_most_2000_characters() -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(
            Response(429, {"retry-after": "7"}, json.dumps({"message": "x" * 3000}).encode()), "ft-1"
        )

    assert caught.value.retry_after == 7
    assert len(caught.value.message or "") == 2000


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            NotFoundError(status=404, code="NotFound", request_id="r-1", retry_after=3.0, json_body=False),
            None,
        ),
        (NotFoundError("Request path not found.", status=404, code="NotFound"), "Request path not found."),
        (APIStatusError("no", status=405), "no"),
    ],
)
def test_a_missing_endpoint_is_named_without_its_query(error: APIStatusError, reason: str | None) -> None:
    named = endpoint_error(error, Request("GET", "/fine-tunes/a/logs?line=1"), "https://a.example/api/v1")

    assert isinstance(named, EndpointNotFoundError)
    assert (named.status, named.code, named.request_id, named.retry_after, named.json_body) == (
        error.status, error.code, error.request_id, error.retry_after, error.json_body,
    )  # fmt: skip
    place = "GET /fine-tunes/a/logs does not exist at https://a.example/api/v1: "
    assert place + (reason or "no reason given") in str(named)


def test_a_missing_job_is_no_missing_endpoint() -> None:
    error = NotFoundError("job not found", status=404)

    assert endpoint_error(error, Request("GET", "/fine-tunes/a"), "https://a.example/api/v1") is error


# --- Retry-After --------------------------------------------------------------------------------------

DATE = "Sun, 06 Nov 1994 08:49:27 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        *(
            ({"retry-after": text, "date": DATE}, seconds)
            for text, seconds in {
                "20": 20, " 1.5 ": 1.5, "0": 0, "0.5": 0.5, "5.": 5, "007": 7, "86400": 86400, "5\n": 5,
                **dict.fromkeys(
                    (
                        "-5", "soon", "nan", "inf", "9" * 400, "1e3", "+5", ".5", "\u0665", "5 s",
                        "5, 6", "",
                        "\x00", "0 0 0 0:0:0 -", "Wed, 99 Oct 2026 12:00:30 GMT",
                        "Mon, 01 Jan 99999 00:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 +9999999",
                    )
                ),
                "Sun, 06 Nov 1994 08:00:00 GMT": 0,
            }.items()
        ),
        *(
            ({"retry-after-ms": text, "retry-after": "9"}, seconds)
            for text, seconds in {
                "250": 0.25, "1500": 1.5, "0": 0, "-1": 9, "nan": 9, "": 9, "x": 9, "9" * 400: None,
            }.items()
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_retry_after_in_seconds_and_milliseconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Response(429, headers, b"")) == seconds


@pytest.fixture(params=["UTC", "Asia/Shanghai", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's time zone."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 16:49:37 +0800",
    ],
)
@pytest.mark.usefixtures("zone")
def test_retry_after_as_a_date_in_every_format(date: str) -> None:
    assert retry_after(Response(429, {"retry-after": date, "date": DATE}, b"")) == 10.0


@pytest.mark.usefixtures("zone")
def test_a_date_is_compared_with_the_time_of_arrival_if_the_answer_has_no_date() -> None:
    arrived = datetime.fromisoformat("1994-11-06T08:49:00+00:00").timestamp()

    for headers in ({"retry-after": DATE}, {"retry-after": DATE, "date": "yesterday"}):
        assert retry_after(Response(429, headers, b"", arrived)) == 27.0


@given(st.text(max_size=60), st.text(max_size=60), st.floats(0, 4e9))
def test_any_header_is_none_or_a_finite_time(wait: str, date: str, at: float) -> None:
    found = retry_after(Response(429, {"retry-after": wait, "date": date}, b"", at))

    assert found is None or 0.0 <= found < float("inf")
