"""Requests that may not be repeated, names that move, and closing: with an owned and a borrowed session."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ClientClosedError,
    FineTuneClient,
    RetryPolicy,
)
from dashscope_ft_async._api.config import Secret, settings
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.wire import Request
from tests.conftest import KEY
from tests.support.adversary import (
    JOB_ID,
    Adversary,
    good,
    good_and_closed,
    hang_up,
    head,
    job_body,
    reset,
    then_silent,
    whole,
)

ONE_TRY = RetryPolicy(attempts=1)
NEW_JOB: dict[str, Any] = {"model": "qwen", "training_file_ids": ["file-1"]}


@pytest.fixture(params=["owned", "borrowed"])
async def borrowed(request: pytest.FixtureRequest) -> AsyncIterator[aiohttp.ClientSession | None]:
    if request.param == "owned":
        yield None
        return
    async with aiohttp.ClientSession(headers={"X-Theirs": "1"}) as session:
        yield session


class Names(AbstractResolver):
    """A name server that does not answer, or whose answer changes."""

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        self.asked = 0

    def made(self, **_: object) -> Names:
        """Itself, in the place of a new one."""
        return self

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if not self.ports:
            await asyncio.Event().wait()
        port = self.ports.pop(0) if len(self.ports) > 1 else self.ports[0]
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def client_with(names: Names, *, kind: str) -> AsyncGenerator[FineTuneClient]:
    url = "http://service.example:80"
    options: dict[str, Any] = {
        "base_url": url, "allow_insecure_http": True, "retry": ONE_TRY, "timeout": 3.0,
    }  # fmt: skip
    if kind == "borrowed":
        connector = aiohttp.TCPConnector(resolver=names)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            FineTuneClient(KEY, session=session, **options) as client,
        ):
            yield client
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiohttp.connector.DefaultResolver", names.made)
        async with FineTuneClient(KEY, **options) as client:
            yield client


# --- requests that may not be repeated ----------------------------------------------------------------


async def test_a_create_after_a_connection_was_closed_leaves_no_doubt(
    borrowed: aiohttp.ClientSession | None,
) -> None:
    """It failed in 30 of 30 tries with `maybe_created`, although nothing had been sent."""
    close = asyncio.Event()
    answers = [good_and_closed(close), good] * 30
    async with (
        Adversary(*answers) as server,
        FineTuneClient(KEY, base_url=server.base_url, session=borrowed, retry=ONE_TRY) as client,
    ):
        for _ in range(30):
            close.clear()
            await client.get(JOB_ID)
            close.set()  # the client has not noticed it when it sends
            assert (await client.create(**NEW_JOB)).job_id == JOB_ID
        posts = [head for head in server.heads if head.startswith("POST")]
        assert len(posts) == 30


@pytest.mark.parametrize("fault", [reset, hang_up], ids=["reset", "closed"])
async def test_a_broken_export_is_sent_once(fault: Any, borrowed: aiohttp.ClientSession | None) -> None:
    """It is a GET, which aiohttp sends again."""
    async with (
        Adversary(fault, whole(b'{"output": []}')) as server,
        FineTuneClient(KEY, base_url=server.base_url, session=borrowed, retry=ONE_TRY) as client,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await client.export_checkpoint(JOB_ID, "checkpoint-1", model_name="m", timeout=5)
        exports = [head for head in server.heads if "/export/" in head]
        assert len(exports) == 1
        assert not caught.value.never_connected


async def test_a_new_connection_has_all_options_of_the_session() -> None:
    created = whole(job_body())
    async with (
        Adversary(created) as proxy,
        aiohttp.ClientSession(headers={"X-Theirs": "1"}, proxy=proxy.base_url) as session,
        FineTuneClient(KEY, base_url="http://127.0.0.1:1", session=session) as client,
    ):
        await client.create(**NEW_JOB)
        await client.create(**NEW_JOB)
        assert proxy.heads[0].startswith("POST http://127.0.0.1:1/api/v1/fine-tunes HTTP/1.1")
        assert proxy.header("X-Theirs") == "1"
        assert proxy.header("Authorization") == f"Bearer {KEY}"
        assert proxy.connections == 2
        await proxy.left(0)
        assert not session.closed


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["owned", "borrowed"])
async def test_a_create_whose_host_name_is_never_resolved_was_not_sent(kind: str) -> None:
    async with client_with(Names(), kind=kind) as client:
        with pytest.raises(APITimeoutError) as caught:
            await client.create(**NEW_JOB)
    assert caught.value.never_connected
    assert not caught.value.maybe_created


@pytest.mark.parametrize("kind", ["owned", "borrowed"])
async def test_an_address_that_has_changed_is_looked_up_after_any_failure(kind: str) -> None:
    """It was unseen for five minutes, if the old address still took connections."""
    async with Adversary(hang_up) as old, Adversary(good) as new:
        names = Names(old.port, new.port)
        async with client_with(names, kind=kind) as client:
            with pytest.raises(APIError):
                await client.get(JOB_ID)
            assert (await client.get(JOB_ID)).succeeded
            await client.create(**NEW_JOB)
        assert names.asked == 2


# --- closing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True], ids=["get", "create"])
async def test_closing_ends_the_requests_in_flight(
    fresh: bool, borrowed: aiohttp.ClientSession | None
) -> None:
    async with Adversary(then_silent()) as server:
        client = FineTuneClient(KEY, base_url=server.base_url, session=borrowed)
        request = asyncio.create_task(client.create(**NEW_JOB) if fresh else client.get(JOB_ID))
        await server.arrived()
        await client.close()
        async with asyncio.timeout(1):
            with pytest.raises(ClientClosedError, match="closed"):
                await request
            await server.left(0)
        assert borrowed is None or not borrowed.closed


async def test_closing_ends_an_event_stream(borrowed: aiohttp.ClientSession | None) -> None:
    raw = head(kind="text/event-stream", transfer_encoding="chunked") + b"8\r\ndata:a\n\n\r\n"
    async with Adversary(then_silent(raw)) as server:
        place = settings(api_key=Secret(KEY), base_url=server.base_url)
        session = Session(place, timeout=5.0, user_agent="t", borrowed=borrowed)
        async with aclosing(session.stream(Request("GET", "/fine-tunes/ft-1/stream"), 60.0)) as pieces:
            assert await anext(pieces) == b"data:a\n\n"
            following = asyncio.ensure_future(anext(pieces))
            await asyncio.sleep(0)
            await session.close()
            async with asyncio.timeout(1):
                with pytest.raises(ClientClosedError):
                    await following
        await server.left(0)


@pytest.mark.parametrize("cancels", [1, 2, 5])
@pytest.mark.parametrize("turns", range(4))
async def test_a_client_is_closed_although_its_closing_is_cancelled(turns: int, cancels: int) -> None:
    made: list[aiohttp.ClientSession] = []
    original = aiohttp.ClientSession.__init__

    def seen(self: aiohttp.ClientSession, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        made.append(self)

    async def use(client: FineTuneClient, leaving: asyncio.Event) -> None:
        async with client:
            await client.get(JOB_ID)
            await client.create(**NEW_JOB)
            leaving.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "__init__", seen)
        async with Adversary(good) as server:
            leaving = asyncio.Event()
            task = asyncio.create_task(use(FineTuneClient(KEY, base_url=server.base_url), leaving))
            await leaving.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            for _ in range(cancels):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(task, return_exceptions=True)
            assert made
            assert all(session.closed for session in made)
            await server.left(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
