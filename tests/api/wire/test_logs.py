"""Answers about logs: pages of lines, and the event stream."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import APIResponseValidationError
from dashscope_ft_async._api.config import Mask, Secret
from dashscope_ft_async._api.wire import Event, EventParser, Response, decode_logs
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


def test_unknown_fields_are_kept() -> None:
    assert decode_logs(answered({"logs": [], "next": 7})).extra == {"next": 7}


@pytest.mark.parametrize("output", [{"logs": 7}, {"logs": {"a": 1}}, ["a"], True, None])
def test_an_answer_without_lines_is_malformed(output: object) -> None:
    with pytest.raises(APIResponseValidationError, match=r"\$\.output"):
        decode_logs(answered(output))


# --- the event stream ---------------------------------------------------------------------------------

FIXTURE = FIXTURES / "raw" / "stream.sse.txt"


def events_of(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_the_recorded_stream() -> None:
    connected, succeeded, failed = events_of(FIXTURE.read_bytes())

    assert connected == Event("connect success, now start to follow ft-202601051030-a1b2")
    assert succeeded == Event("2026-01-05 10:52:38,689 - INFO - finetune-job succeeded")
    assert failed.is_error
    assert failed.status == 500
    assert "stream broken" in failed.data


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"", []),
        (b"data:a\ndata:b\n\n", [Event("a"), Event("b")]),
        (b"data: a\n", [Event(" a")]),
        (b"data:a\ndata:b", [Event("a")]),
        (b"data:\n", [Event("")]),
        (b"data:a\r", [Event("a")]),
        (b"data:a\r\ndata:b\rdata:c\n", [Event("a"), Event("b"), Event("c")]),
        (b": heartbeat\nid:7\nretry:3\nnonsense\ndata:a\n", [Event("a")]),
        (b"event: error\ndata:a\ndata:b\n", [Event("a", is_error=True), Event("b")]),
        (b"event:error\nstatus: 429 \ndata:a\n", [Event("a", is_error=True, status=429)]),
        (b"event:error\nstatus:often\ndata:a\n", [Event("a", is_error=True)]),
        (b"event:message\nstatus:200\ndata:a\n", [Event("a")]),
        (b"data:\xff\n", [Event("�")]),
        ("data:中文\n".encode(), [Event("中文")]),
    ],
)
def test_lines_become_events(text: bytes, events: list[Event]) -> None:
    assert events_of(text) == events


STREAMS = st.lists(
    st.sampled_from(
        [b"data:", b"event:error", b"status:", b"500", b"\r", b"\n", b"a", b"\xe4", b"\xb8\xad", b":"]
    ),
    max_size=30,
).map(b"".join)


@given(STREAMS | st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_the_events_do_not_depend_on_the_pieces(text: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]

    assert events_of(*pieces) == events_of(text)


def test_an_endless_line_takes_limited_memory() -> None:
    parser = EventParser()
    for _ in range(40):
        parser.feed(b"data:" + b"x" * 1_000_000)

    (event,) = parser.feed(b"\n")

    assert len(event.data) < 1_100_000


@given(
    st.lists(st.sampled_from(["sk-secret", "sk-sec", "ret", "sk-", "s", "k", "x", "\n"]), max_size=20),
    st.integers(1, 5),
)
def test_a_key_is_masked_also_across_pieces(parts: list[str], size: int) -> None:
    text = "".join(parts).encode()
    mask = Mask(Secret("sk-secret"))
    pieces = [mask.feed(text[at : at + size]) for at in range(0, len(text), size)]

    assert b"".join([*pieces, mask.end()]) == text.replace(b"sk-secret", b"***")


def test_a_mask_delays_only_what_may_be_a_key() -> None:
    mask = Mask(Secret("sk-secret"))

    assert mask.feed(b"data:line\n") == b"data:line\n"
    assert mask.feed(b"data:sk-") == b"data:"
    assert mask.feed(b"x") == b"sk-x"
