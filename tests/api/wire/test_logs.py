"""Answers about logs: whatever they are, lines or one of our errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import APIError, APIResponseValidationError, ConfigurationError, NotFoundError
from dashscope_ft_async._api.wire import Request, Response, decode_logs, logs_request, stream_request
from tests.support.paths import FIXTURES


def answered(output: object, status: int = 200) -> Response:
    return Response(status, {}, json.dumps({"request_id": "r", "output": output}).encode())


def test_the_documented_answer() -> None:
    page = decode_logs(Response(200, {}, (FIXTURES / "logs.json").read_bytes()))

    assert page.total == 20
    assert len(page.lines) == 5
    assert page.lines[1] == " Uploaded checkpoint!"
    assert page.is_complete
    assert page.request_id is not None


def test_a_log_that_is_one_text() -> None:
    page = decode_logs(Response(200, {}, (FIXTURES / "logs-single-string.json").read_bytes()))

    assert page.lines == ("one line",)
    assert not page.is_complete


@pytest.mark.parametrize(
    ("output", "lines", "total"),
    [
        ({}, (), None),
        ({"logs": None, "total": None}, (), None),
        ({"logs": [], "total": 0}, (), 0),
        ({"logs": ["a", "", None, 7, {"x": 1}], "total": "5"}, ("a", "", "", "7", '{"x":1}'), 5),
        ({"logs": ["a\nb"], "total": -1}, ("a\nb",), None),
        ({"logs": "a\nb\n"}, ("a", "b"), None),
    ],
)
def test_each_entry_is_one_line(output: object, lines: tuple[str, ...], total: int | None) -> None:
    page = decode_logs(answered(output))

    assert (page.lines, page.total) == (lines, total)


def test_what_is_unknown_is_kept() -> None:
    assert decode_logs(answered({"logs": [], "next": 7})).extra == {"next": 7}


@pytest.mark.parametrize("output", [{"logs": 7}, {"logs": {"a": 1}}, ["a"], True, None])
def test_what_is_no_log_is_told(output: object) -> None:
    with pytest.raises(APIResponseValidationError, match=r"\$\.output"):
        decode_logs(answered(output))


def test_an_error_is_an_error() -> None:
    body = (FIXTURES / "error-404-not-found.json").read_bytes()
    with pytest.raises(NotFoundError):
        decode_logs(Response(404, {}, body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["output", "logs", "total", "code", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_a_page_or_one_of_our_errors(status: int, body: bytes) -> None:
    try:
        page = decode_logs(Response(status, {}, body))
    except APIError:
        return
    assert all(isinstance(line, str) for line in page.lines)


def test_requests() -> None:
    assert logs_request("ft-ü/a", 7, 100) == Request(
        "GET", "/fine-tunes/ft-%C3%BC%2Fa/logs?offset=7&line=100"
    )
    assert stream_request("ft/1") == Request("GET", "/fine-tunes/ft%2F1/stream")


@pytest.mark.parametrize(("offset", "lines"), [(0, 1), (10**9, 1000)])
def test_numbers_at_the_bounds(offset: int, lines: int) -> None:
    assert logs_request("ft-1", offset, lines).path.endswith(f"?offset={offset}&line={lines}")


@pytest.mark.parametrize(
    ("offset", "lines"), [(-1, 1), (10**9 + 1, 1), (0, 0), (0, 1001), (True, 1), (0, 1.0)]
)
def test_numbers_the_service_would_refuse(offset: int, lines: int) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^(offset|lines) must be a whole number from [01] to 10+, "
    ):
        logs_request("ft-1", offset, lines)
