"""The session against servers that misbehave, over real aiohttp: the documented class, in bounded time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    EndpointNotFoundError,
    FineTuneClient,
    RetryPolicy,
)
from tests.conftest import KEY, OLD_AIOHTTP
from tests.support.adversary import (
    JOB_ID,
    Adversary,
    Answer,
    good,
    good_and_closed,
    gzipped,
    hang_up,
    head,
    job_body,
    kept,
    refused_port,
    reset,
    swallowing_port,
    then_closed,
    then_silent,
    trickle,
    whole,
)

BODY = job_body()
MIB = 1024 * 1024
ONE_TRY = RetryPolicy(attempts=1)


@pytest.fixture(autouse=True)
async def nothing_left_running() -> AsyncIterator[None]:
    """No task outlives a test."""
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def client_of(server: Adversary, timeout: float = 3.0) -> FineTuneClient:
    return FineTuneClient(KEY, base_url=server.base_url, timeout=timeout, retry=ONE_TRY)


MANY_HEADERS = APIResponseValidationError if OLD_AIOHTTP else APIConnectionError
FAULTS: list[tuple[str, Answer, type[APIError]]] = [
    ("stalled before the headers", then_silent(), APITimeoutError),
    ("stalled in the headers", then_silent(b"HTTP/1.1 200 OK\r\nContent-"), APITimeoutError),
    ("stalled in the body", then_silent(head(length=len(BODY)) + BODY[:20]), APITimeoutError),
    ("trickling headers", trickle(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a" * 99, every=1), APITimeoutError),
    ("trickling body", trickle(head(length=99), b" " * 99, every=1), APITimeoutError),
    (
        "trickling chunks",
        trickle(head(transfer_encoding="chunked"), b"1\r\n \r\n" * 9, every=1),
        APITimeoutError,
    ),
    ("cut in the headers", then_closed(b"HTTP/1.1 200 OK\r\nContent-"), APIConnectionError),
    ("cut body", then_closed(head(length=len(BODY)) + BODY[:20]), APIConnectionError),
    ("cut chunks", then_closed(head(transfer_encoding="chunked") + b'5\r\n{"out'), APIConnectionError),
    ("too short a Content-Length", kept(head(length=10) + BODY), APIConnectionError),
    ("too long a Content-Length", then_closed(head(length=len(BODY) + 9) + BODY), APIConnectionError),
    (
        "too long a Content-Length, kept open",
        then_silent(head(length=len(BODY) + 9) + BODY),
        APITimeoutError,
    ),
    ("no number as Content-Length", kept(head(content_length="many") + BODY), APIConnectionError),
    ("negative Content-Length", kept(head(content_length="-1") + BODY), APIConnectionError),
    ("garbage for a status line", then_closed(b"SSH-2.0-OpenSSH_9.7\r\n\r\n"), APIConnectionError),
    ("binary garbage", then_closed(bytes(range(256)) * 9), APIConnectionError),
    ("status out of range", then_closed(b"HTTP/1.1 99999 OK\r\n\r\n"), APIConnectionError),
    ("headers too large", then_closed(head(x_long="a" * 100_000)), APIConnectionError),
    ("too many headers", then_closed(head()[:-2] + b"X-A: b\r\n" * 40_000 + b"\r\n"), MANY_HEADERS),
    (
        "garbage for chunks",
        then_closed(head(transfer_encoding="chunked") + b"zz\r\n" + BODY),
        APIConnectionError,
    ),
    (
        "broken gzip",
        whole(b"\x1f\x8b\x08" + bytes(99), content_encoding="gzip"),
        APIResponseValidationError,
    ),
    ("gzip that is none", whole(b"<html>", content_encoding="gzip"), APIResponseValidationError),
    ("cut gzip", whole(gzip.compress(BODY)[:-9], content_encoding="gzip"), APIResponseValidationError),
    ("unknown encoding", whole(gzip.compress(BODY), content_encoding="br"), APIResponseValidationError),
    ("gzip bomb", gzipped(bytes(80 * MIB)), APIResponseValidationError),
    ("8 MiB and a byte, inflated", gzipped(b" " * (8 * MIB + 1)), APIResponseValidationError),
    ("8 MiB and a byte, plain", whole(b" " * (8 * MIB + 1)), APIResponseValidationError),
    ("endless body", then_silent(head(length=100 * MIB) + b" " * (9 * MIB)), APIResponseValidationError),
    ("empty 200", whole(), APIResponseValidationError),
    ("204", whole(status="204 No Content"), APIResponseValidationError),
    ("HTML 200", whole(b"<html>Sign in</html>", kind="text/html"), APIResponseValidationError),
    ("HTML 404", whole(b"<html>gone</html>", "404 Not Found", kind="text/html"), EndpointNotFoundError),
    ("connection reset", reset, APIConnectionError),
    ("connection closed", hang_up, APIConnectionError),
]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("fault", "kind"), [(fault, kind) for _, fault, kind in FAULTS], ids=[name for name, *_ in FAULTS]
)
async def test_a_fault_is_its_documented_class_in_time_and_leaves_the_pool_usable(
    fault: Answer, kind: type[APIError]
) -> None:
    # aiohttp itself sends a GET again once when the connection is dropped, hence some faults twice.
    twice = (fault, fault) if fault in (reset, hang_up) or kind is APIConnectionError else (fault,)
    loop = asyncio.get_running_loop()
    async with Adversary(*twice, good) as server:
        async with client_of(server) as client:
            began = loop.time()
            with pytest.raises(kind) as caught:
                await client.get(JOB_ID)
            took = loop.time() - began
            seen = len(server.heads)
            if seen < len(twice):
                with pytest.raises(kind):
                    await client.get(JOB_ID)

            after = await client.get(JOB_ID)

            assert type(caught.value) is kind
            assert took <= 3.01
            assert (took >= 2.9) == (kind is APITimeoutError)
            assert caught.value.job_id == JOB_ID
            assert seen <= 2
            assert after.succeeded
            await server.left(1)
        await server.left(0)


@pytest.mark.looptime
@pytest.mark.parametrize(("timeout", "pause"), [(20.0, 16.5), (60.0, 50.0)])
async def test_an_answer_that_begins_late_is_read(timeout: float, pause: float) -> None:
    """With ``timeout=60``, an answer after 16.5 s was never read."""
    late = trickle(b"", (head(length=len(BODY)) + BODY)[:1], every=pause)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await late(reader, writer)
        writer.write((head(length=len(BODY)) + BODY)[1:])
        return True

    async with Adversary(answer) as server, client_of(server, timeout=timeout) as client:
        assert (await client.get(JOB_ID)).succeeded
        assert len(server.heads) == 1


@pytest.mark.looptime
@pytest.mark.parametrize("pause", [2.9999, 3.0, 3.0001])
async def test_a_cancellation_at_the_moment_of_the_timeout_is_not_swallowed(pause: float) -> None:
    async with Adversary(then_silent()) as server, client_of(server, timeout=3.0) as client:
        request = asyncio.create_task(client.get(JOB_ID))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(pause, request.cancel)
        with pytest.raises((asyncio.CancelledError, APITimeoutError)):
            await request
        assert request.cancelled() or pause > 3


@pytest.mark.looptime
async def test_each_of_many_requests_has_the_whole_timeout() -> None:
    """They share one timer."""
    loop = asyncio.get_running_loop()

    async def seconds_of(client: FineTuneClient, start: float) -> float:
        await asyncio.sleep(start)
        began = loop.time()
        with pytest.raises(APITimeoutError):
            await client.get(JOB_ID)
        return loop.time() - began

    async with Adversary(then_silent()) as server, client_of(server) as client:
        took = await asyncio.gather(*(seconds_of(client, start) for start in (0.0, 1.0, 2.5, 2.5, 7.0)))
    assert took == pytest.approx([3.0] * 5, abs=0.01)


@pytest.mark.parametrize(
    "headers",
    [{"X-Long": "x" * 10_000}, {f"X-{n}": "x" for n in range(150)}],
    ids=["one of 10 KB", "150 of them"],
)
@pytest.mark.skipif(OLD_AIOHTTP, reason="aiohttp 3.11 has no option for the number of headers")
async def test_large_headers_of_a_network_are_read(headers: dict[str, str]) -> None:
    answer = whole(BODY, **headers)
    async with Adversary(answer) as server, client_of(server) as client:
        assert (await client.get(JOB_ID)).job_id == JOB_ID


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (hang_up, "the server closed the connection without an answer"),
        (reset, "the connection was lost: connection reset by peer"),
        (then_closed(head(length=99) + b"{"), "the connection was closed in the middle of the answer"),
        (
            then_closed(b"SSH-2.0-OpenSSH\r\n\r\n"),
            "the answer is not valid HTTP, or its headers are too large",
        ),
    ],
    ids=["closed", "reset", "cut", "not HTTP"],
)
async def test_what_became_of_an_answer_is_named_in_a_few_literal_words(fault: Answer, text: str) -> None:
    async with Adversary(fault) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.get(JOB_ID)
    assert str(caught.value).startswith(text)
    assert "Error" not in str(caught.value)


async def test_what_a_proxy_did_is_named_in_a_few_literal_words() -> None:
    refused = f"http://127.0.0.1:{refused_port()}"
    texts: list[str] = []
    async with Adversary(whole(b"", "407 Proxy Authentication Required")) as proxy:
        for way in (proxy.base_url, refused):
            url = "https://service.example"
            async with FineTuneClient(KEY, base_url=url, proxy=way, retry=ONE_TRY) as client:
                with pytest.raises(APIConnectionError) as caught:
                    await client.get(JOB_ID)
                assert caught.value.never_connected
                texts.append(str(caught.value).partition(" (")[0])
    assert texts == [
        "the proxy refused to connect: HTTP 407 Proxy Authentication Required",
        f"cannot connect to the proxy {refused.removeprefix('http://')}: connection refused",
    ]


async def test_a_refused_connection_is_told_in_a_few_literal_words() -> None:
    async with FineTuneClient(KEY, base_url="http://127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(
            APIConnectionError, match=r"^cannot connect to 127\.0\.0\.1:1: connection refused"
        ):
            await client.get(JOB_ID)


@pytest.mark.looptime
async def test_one_timeout_covers_headers_and_body_together() -> None:
    loop = asyncio.get_running_loop()
    slow_all_the_way = trickle(b"", head(length=len(BODY)) + BODY, every=0.1)
    async with Adversary(slow_all_the_way) as server, client_of(server, timeout=10.0) as client:
        began = loop.time()
        with pytest.raises(APITimeoutError, match="no complete answer within 10 s") as caught:
            await client.get(JOB_ID)
        assert loop.time() - began == pytest.approx(10, abs=0.05)
        assert not caught.value.never_connected


@pytest.mark.parametrize(
    "answer",
    [
        gzipped(BODY),
        whole(gzip.compress(BODY[:30]) + gzip.compress(BODY[30:]), content_encoding="GZIP"),
        whole(BODY, content_encoding="identity"),
        whole(b" " * (8 * MIB - len(BODY)) + BODY),
        kept(head(transfer_encoding="chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
        then_closed(head() + BODY),
    ],
    ids=[
        "gzip",
        "two gzip members",
        "identity",
        "exactly 8 MiB",
        "chunked",
        "until the end of the connection",
    ],
)
async def test_an_unusual_but_whole_answer_is_read(answer: Answer) -> None:
    async with Adversary(answer) as server, client_of(server) as client:
        job = await client.get(JOB_ID)
    assert job.succeeded


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_a_redirect_is_an_error_and_its_target_never_hears_of_us(status: str) -> None:
    async with Adversary(good) as target:
        away = whole(status=status, location=f"{target.base_url}/api/v1/fine-tunes/{JOB_ID}")
        async with Adversary(away) as server, client_of(server) as client:
            with pytest.raises(APIStatusError) as caught:
                await client.get(JOB_ID)
        assert (caught.value.status, target.connections) == (int(status[:3]), 0)


async def test_a_refused_port_is_a_failure_to_connect() -> None:
    async with FineTuneClient(KEY, base_url=f"http://127.0.0.1:{refused_port()}", retry=ONE_TRY) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.get(JOB_ID)
    assert type(caught.value) is APIConnectionError
    assert caught.value.never_connected


@pytest.mark.parametrize("fault", [reset, hang_up], ids=["reset", "closed"])
async def test_a_connection_dropped_under_a_request_is_no_failure_to_connect(fault: Answer) -> None:
    async with Adversary(fault) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.get(JOB_ID)
    assert not caught.value.never_connected


async def test_a_connection_that_was_closed_while_idle_is_replaced_unseen() -> None:
    close = asyncio.Event()
    async with Adversary(good_and_closed(close), good) as server, client_of(server) as client:
        await client.get(JOB_ID)
        close.set()  # the next request may meet the dead connection; aiohttp then sends it again
        job = await client.get(JOB_ID)
        assert (job.succeeded, server.connections) == (True, 2)


async def test_a_connection_reset_at_the_second_request_is_replaced_unseen() -> None:
    async with Adversary(good, reset, good) as server, client_of(server) as client:
        await client.get(JOB_ID)
        job = await client.get(JOB_ID)
        assert (job.succeeded, len(server.heads), server.connections) == (True, 3, 2)


@pytest.mark.looptime
async def test_a_host_that_swallows_connections_is_a_failure_to_connect() -> None:
    with swallowing_port() as port:
        async with FineTuneClient(
            KEY, base_url=f"http://127.0.0.1:{port}", timeout=3.0, retry=ONE_TRY
        ) as client:
            with pytest.raises(APITimeoutError, match="no connection") as caught:
                await client.get(JOB_ID)
    assert caught.value.never_connected


# --- cancelling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [then_silent(), then_silent(b"HTTP/1.1 200 OK\r\nCont"), then_silent(head(length=99) + b"{")],
    ids=["before the headers", "in the headers", "in the body"],
)
async def test_cancelling_is_prompt_closes_the_connection_and_leaves_the_pool_usable(
    answer: Answer,
) -> None:
    async with Adversary(answer, good) as server:
        async with client_of(server) as client:
            request = asyncio.create_task(client.get(JOB_ID))
            await server.arrived()
            await asyncio.sleep(0)
            request.cancel()
            async with asyncio.timeout(1):
                with pytest.raises(asyncio.CancelledError):
                    await request
                await server.left(0)
                job = await client.get(JOB_ID)
            assert job.succeeded
        await server.left(0)


async def test_cancelling_while_connecting_is_prompt() -> None:
    with swallowing_port() as port:
        async with FineTuneClient(KEY, base_url=f"http://127.0.0.1:{port}") as client:
            request = asyncio.create_task(client.get(JOB_ID))
            await _turns(20)
            request.cancel()
            async with asyncio.timeout(1):
                with pytest.raises(asyncio.CancelledError):
                    await request


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
