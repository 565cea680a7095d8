"""The event stream as the official SDK reads it, however it is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async._api.config import Mask, Secret
from dashscope_ft_async._api.wire.logs import Event, EventParser
from tests.support.paths import FIXTURES

FIXTURE = FIXTURES / "raw" / "stream.sse.txt"


def read(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_the_recorded_stream() -> None:
    connected, succeeded, failed = read(FIXTURE.read_bytes())

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
    assert read(text) == events


BYTES = st.lists(
    st.sampled_from(
        [b"data:", b"event:error", b"status:", b"500", b"\r", b"\n", b"a", b"\xe4", b"\xb8\xad", b":"]
    ),
    max_size=30,
).map(b"".join)


@given(BYTES | st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_cuts_make_no_difference(text: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]

    assert read(*pieces) == read(text)


def test_a_line_without_end_takes_no_more_memory() -> None:
    parser = EventParser()
    for _ in range(40):
        parser.feed(b"data:" + b"x" * 1_000_000)

    (event,) = parser.feed(b"\n")

    assert len(event.data) < 1_100_000


@given(
    st.lists(st.sampled_from(["sk-secret", "sk-sec", "ret", "sk-", "s", "k", "x", "\n"]), max_size=20),
    st.integers(1, 5),
)
def test_a_key_is_masked_however_it_is_cut(parts: list[str], size: int) -> None:
    text = "".join(parts).encode()
    mask = Mask(Secret("sk-secret"))
    pieces = [mask.feed(text[at : at + size]) for at in range(0, len(text), size)]

    assert b"".join([*pieces, mask.end()]) == text.replace(b"sk-secret", b"***")


def test_a_mask_holds_back_nothing_that_cannot_be_a_key() -> None:
    mask = Mask(Secret("sk-secret"))

    assert mask.feed(b"data:line\n") == b"data:line\n"
    assert mask.feed(b"data:sk-") == b"data:"
    assert mask.feed(b"x") == b"sk-x"
