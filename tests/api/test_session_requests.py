"""What a request looks like, on which connection it goes, and from where the client may be used."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest

from dashscope_ft_async import (
    APIConnectionError,
    APIResponseValidationError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    RetryPolicy,
    __version__,
)
from tests.conftest import KEY, OLD_AIOHTTP
from tests.support.adversary import JOB_ID, Adversary, good, job_body, refused_port, whole

PAGE = whole(b'{"output": {"jobs": [], "total": 0}}')


async def test_a_request_carries_the_key_and_says_who_asks() -> None:
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        await client.get(JOB_ID)
    assert server.heads[0].startswith("GET /api/v1/fine-tunes/ft-1 HTTP/1.1\r\n")
    assert server.header("Authorization") == f"Bearer {KEY}"
    assert server.header("User-Agent") == f"dashscope-ft-async/{__version__}"
    assert server.header("Accept") == "application/json"
    assert server.header("Host") == f"127.0.0.1:{server.port}"
    assert server.header("X-DashScope-WorkSpace") is None


async def test_the_workspace_is_a_header() -> None:
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=server.base_url, workspace="llm-w") as client,
    ):
        await client.get(JOB_ID)
    assert server.header("X-DashScope-WorkSpace") == "llm-w"


@pytest.mark.parametrize(
    "form",
    ["", "/", "/api/v1", "/api/v1/", "/api/v1//"],
    ids=["bare", "slash", "with /api/v1", "with /api/v1/", "two slashes"],
)
async def test_every_form_of_a_base_url_asks_for_the_same_path(form: str) -> None:
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url + form) as client:
        await client.get(JOB_ID)
    assert server.heads[0].split(" ")[1] == "/api/v1/fine-tunes/ft-1"


async def test_a_path_in_front_of_the_api_is_kept() -> None:
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=f"{server.base_url}/gw/api/v1") as client,
    ):
        await client.get(JOB_ID)
    assert server.heads[0].split(" ")[1] == "/gw/api/v1/fine-tunes/ft-1"


@pytest.mark.parametrize(
    ("page_no", "page_size", "model", "query"),
    [
        (1, 10, None, "page_no=1&page_size=10"),
        (3, 100, None, "page_no=3&page_size=100"),
        (1, 1, "a b&c=d+é", "page_no=1&page_size=1&model=a+b%26c%3Dd%2B%C3%A9"),
    ],
    ids=["defaults", "numbers", "a model of odd letters"],
)
async def test_a_page_is_asked_for_by_query(
    page_no: int, page_size: int, model: str | None, query: str
) -> None:
    async with Adversary(PAGE) as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        await client.list(page_no, page_size, model=model)
    assert server.heads[0].split(" ")[1] == f"/api/v1/fine-tunes?{query}"


@pytest.mark.parametrize("job_id", ["ft~1_2.3", "ft:é&=+", "..a;b"])
async def test_a_job_id_reaches_the_service_as_one_segment(job_id: str) -> None:
    retry = RetryPolicy(attempts=1)
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url, retry=retry) as client:
        with pytest.raises(APIResponseValidationError, match="about job"):
            await client.get(job_id)
    sent = server.heads[0].split(" ")[1].removeprefix("/api/v1/fine-tunes/")
    assert unquote(sent) == job_id
    assert not set("/?#") & set(sent)


# --- connections ------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_requests_forty_seconds_apart_share_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    # The pool goes by a clock of its own, which virtual time does not move.
    monkeypatch.setattr("aiohttp.connector.monotonic", asyncio.get_running_loop().time)
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        await client.get(JOB_ID)
        await asyncio.sleep(40)
        await client.get(JOB_ID)
        assert (len(server.heads), server.connections) == (2, 1)


async def test_idle_connections_are_probed_by_tcp() -> None:
    options: list[dict[str, int]] = []

    async def made(
        _: aiohttp.ClientSession, __: SimpleNamespace, ___: aiohttp.TraceConnectionCreateEndParams
    ) -> None:
        # The transport is not shown to a trace, but the loop's sockets are.
        options.extend(
            {
                "alive": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                "idle": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            }
            for sock in sockets
        )

    sockets: list[socket.socket] = []
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(made)
    original = socket.socket.connect

    def seen(self: socket.socket, address: Any) -> None:
        sockets.append(self)
        original(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", seen)
        async with (
            Adversary() as server,
            FineTuneClient(KEY, base_url=server.base_url, trace_configs=[trace]) as client,
        ):
            await client.get(JOB_ID)
    assert options == [
        {"alive": 0, "idle": options[0]["idle"]} if OLD_AIOHTTP else {"alive": 1, "idle": 20}
    ]


async def test_a_trace_sees_the_requests() -> None:
    seen: list[str] = []

    async def started(
        _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        seen.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=server.base_url, trace_configs=[trace]) as client,
    ):
        await client.get(JOB_ID)
    assert seen == ["/api/v1/fine-tunes/ft-1"]


async def test_a_bug_in_a_trace_is_not_taken_for_a_lost_connection() -> None:
    async def started(*_: object) -> None:
        raise AttributeError("a typing error")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=server.base_url, trace_configs=[trace]) as client,
    ):
        with pytest.raises(AttributeError, match="a typing error"):
            await client.get(JOB_ID)


async def test_a_netrc_file_does_not_take_the_place_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        await client.get(JOB_ID)
    assert server.header("Authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Adversary() as proxy, Adversary() as server:
        monkeypatch.setenv(name, proxy.base_url)
        async with FineTuneClient(KEY, base_url=server.base_url) as client:
            await client.get(JOB_ID)
        assert (proxy.connections, server.connections) == (0, 1)


async def test_a_proxy_that_is_named_is_used() -> None:
    async with Adversary() as proxy, Adversary() as server:
        async with FineTuneClient(KEY, base_url=server.base_url, proxy=proxy.base_url) as client:
            job = await client.get(JOB_ID)
        assert (job.succeeded, proxy.connections, server.connections) == (True, 1, 0)
        assert proxy.heads[0].startswith(f"GET {server.base_url}/api/v1/fine-tunes/ft-1 HTTP/1.1")


async def test_a_proxy_that_refuses_is_a_failure_to_connect() -> None:
    proxy = f"http://user:hunter2@127.0.0.1:{refused_port()}"
    retry = RetryPolicy(attempts=1)
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=server.base_url, proxy=proxy, retry=retry) as client,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await client.get(JOB_ID)
    assert caught.value.never_connected
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": False},
        {"ssl": True},
        {"ssl": "ca.pem"},
        {"proxy": ""},
        {"proxy": "socks5://127.0.0.1:1"},
        {"proxy": "127.0.0.1:3128"},
        {"proxy": "http://:hunter2@"},
        {"proxy": "http://[hunter2"},
        {"proxy": 3128},
        {"trace_configs": 5},
        {"trace_configs": ["verbose"]},
    ],
    ids=repr,
)
async def test_options_of_the_wrong_kind_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FineTuneClient(KEY, base_url="http://127.0.0.1", **options)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": ssl.create_default_context()},
        {"ssl": aiohttp.Fingerprint(bytes(32))},
        {"proxy": "http://p:1"},
    ],
    ids=["context", "fingerprint", "proxy"],
)
async def test_options_of_the_right_kind_are_taken(options: dict[str, Any]) -> None:
    async with FineTuneClient(KEY, **options):
        pass


# --- at home ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "wait_for_terminal", "wait_for_success", "list", "close"])
def test_another_loop_is_a_clear_error(method: str) -> None:
    client = FineTuneClient(KEY, base_url="http://127.0.0.1:1")
    asyncio.run(_awaited(client.__aenter__))
    arguments = () if method in ("list", "close") else (JOB_ID,)
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(_awaited(lambda: getattr(client, method)(*arguments)))


@pytest.mark.parametrize("method", ["get", "wait_for_terminal", "list", "close"])
async def test_another_process_is_a_clear_error(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FineTuneClient(KEY, base_url="http://127.0.0.1:1")
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    arguments = () if method in ("list", "close") else (JOB_ID,)
    with pytest.raises(ConfigurationError, match="fork"):
        await getattr(client, method)(*arguments)


@pytest.mark.parametrize("method", ["get", "wait_for_terminal", "wait_for_success", "list"])
async def test_a_closed_client_says_so(method: str) -> None:
    async with Adversary(good) as server:
        client = FineTuneClient(KEY, base_url=server.base_url)
        await client.close()
        await client.close()
        with pytest.raises(ClientClosedError, match="closed"):
            await getattr(client, method)(*(() if method == "list" else (JOB_ID,)))
        with pytest.raises(ClientClosedError):
            async with client:
                pass
        assert server.connections == 0


async def test_no_connection_is_made_before_the_first_request() -> None:
    async with Adversary(whole(job_body())) as server:
        async with FineTuneClient(KEY, base_url=server.base_url):
            await asyncio.sleep(0)
        assert server.connections == 0


async def _awaited(make: Callable[[], Any]) -> None:
    await make()
