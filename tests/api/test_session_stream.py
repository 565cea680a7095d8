"""Event streams over real loopback connections: cut, silent, compressed, echoing the key."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing

import pytest

from dashscope_ft_async import (
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    FineTuneClient,
    PollPolicy,
)
from dashscope_ft_async._api.config import Secret, settings
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.wire import Request
from tests.conftest import KEY
from tests.support.adversary import Adversary, Answer, hang_up, head, reset, then_closed, then_silent, whole
from tests.test_secrets import traces_of

STREAM = Request("GET", "/fine-tunes/ft-1/stream")
LINES = ["a", "b", "c", "d"]
EVENTS = {"kind": "text/event-stream"}


def session_of(server: Adversary, timeout: float = 5.0) -> Session:
    return Session(settings(api_key=Secret(KEY), base_url=server.base_url), timeout=timeout, user_agent="t")


async def read(server: Adversary, *, silence: float = 5.0, timeout: float = 5.0) -> bytes:
    session = session_of(server, timeout)
    try:
        return b"".join([piece async for piece in session.stream(STREAM, silence)])
    finally:
        await session.close()


async def test_a_stream_is_asked_for_as_such() -> None:
    async with Adversary(whole(b"data:a\n\n", **EVENTS)) as server:
        assert await read(server) == b"data:a\n\n"
    assert server.heads[0].startswith("GET /api/v1/fine-tunes/ft-1/stream HTTP/1.1\r\n")
    assert server.header("Accept") == "text/event-stream"
    assert server.header("Accept-Encoding") == "identity"
    assert server.header("Authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"{}"),
        whole(b'{"code": "NotFound"}', "404 Not Found"),
        whole(b"<html>", "502 Bad Gateway", kind="text/html"),
        whole(b"", "302 Found", kind="text/event-stream", location="http://127.0.0.1:1/"),
        whole(b"x", kind="text/event-stream", content_encoding="gzip"),
    ],
    ids=["JSON", "404", "HTML", "redirect", "gzip"],
)
async def test_what_is_no_event_stream_is_told(answer: Answer) -> None:
    async with Adversary(answer) as server:
        with pytest.raises(APIResponseValidationError, match="no event stream"):
            await read(server)


async def test_silence_ends_a_stream() -> None:
    raw = head(kind="text/event-stream", transfer_encoding="chunked") + b"8\r\ndata:a\n\n\r\n"
    async with Adversary(then_silent(raw)) as server:
        session = session_of(server)
        async with aclosing(session.stream(STREAM, 0.05)) as pieces:
            assert await anext(pieces) == b"data:a\n\n"
            with pytest.raises(APITimeoutError):
                await anext(pieces)
        await session.close()


async def test_a_head_that_does_not_come_is_a_timeout() -> None:
    async with Adversary(then_silent()) as server:
        with pytest.raises(APITimeoutError):
            await read(server, timeout=0.1)


async def test_leaving_a_stream_closes_its_connection() -> None:
    raw = head(kind="text/event-stream", transfer_encoding="chunked") + b"8\r\ndata:a\n\n\r\n"
    async with Adversary(then_silent(raw)) as server:
        session = session_of(server)
        async with aclosing(session.stream(STREAM, 5)) as pieces:
            await anext(pieces)
        await server.left(0)
        await session.close()


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_a_key_that_is_echoed_in_pieces_is_masked(size: int) -> None:
    text = f"data:you sent Bearer {KEY}\n\ndata:{KEY}{KEY[:5]}\n\n".encode()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    raw = head(kind="text/event-stream", transfer_encoding="chunked")
    raw += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    async with Adversary(then_closed(raw)) as server:
        got = await read(server)

    assert got == text.replace(KEY.encode(), b"***")


@pytest.mark.parametrize(
    "answer",
    [
        hang_up,
        reset,
        then_closed(f"Bearer {KEY} HTTP/1.1\r\n\r\n".encode()),
        then_closed(head(kind="text/event-stream", length=99) + b"data:a\n"),
        then_closed(head(kind="text/event-stream", transfer_encoding="chunked") + f"{KEY}\r\n".encode()),
        then_silent(head(kind="text/event-stream", length=99) + KEY.encode()),
        whole(KEY.encode(), kind=f"text/{KEY}"),
    ],
    ids=["closed", "reset", "garbage", "cut", "garbage chunk", "silent", "content type"],
)
async def test_an_error_of_a_stream_does_not_show_the_key(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Adversary(answer) as server:
        with pytest.raises(APIError) as caught:
            await read(server, silence=0.05)

    assert traces_of(caught.value, KEY) == []
    assert KEY not in caplog.text


async def test_a_cut_stream_goes_on_in_pages_on_another_connection() -> None:
    def job(status: str) -> Answer:
        return whole(json.dumps({"output": {"job_id": "ft-1", "status": status}}).encode())

    def log(query: str) -> Answer:
        written = LINES if streamed() else LINES[:2]
        page = written[int(query.split("offset=")[1].split("&")[0]) :]
        return whole(json.dumps({"output": {"total": len(written), "logs": page}}).encode())

    def streamed() -> bool:
        return any("/stream" in seen for seen in server.heads)

    raw = head(kind="text/event-stream", transfer_encoding="chunked")
    cut = then_closed(raw + b"8\r\ndata:c\n\n\r\n5\r\ndata:")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path, _, query = server.heads[-1].split()[1].partition("?")
        match path.rsplit("/", 1)[1]:
            case "stream":
                chosen = cut
            case "logs":
                chosen = log(query)
            case _:
                chosen = job("SUCCEEDED" if streamed() else "RUNNING")
        return await chosen(reader, writer)

    async with Adversary(answer) as server:
        poll = PollPolicy(initial=0.02, multiplier=1, max_interval=0.02, jitter=0)
        async with FineTuneClient(KEY, base_url=server.base_url, poll=poll) as client:
            lines = [line async for line in client.stream_events("ft-1")]

    assert lines == LINES
