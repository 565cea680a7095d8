"""A session of the caller's: used as it is, never closed, and none of its habits can break us."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dashscope_ft_async import (
    APIStatusError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    NotFoundError,
    RetryPolicy,
)
from tests.conftest import KEY, OLD_AIOHTTP
from tests.support.adversary import JOB_ID, Adversary, good, job_body, trickle, whole
from tests.support.adversary import head as head_of

ONE_TRY = RetryPolicy(attempts=1)
MISSING = whole(b'{"code": "NotFound", "message": "no such job"}', "404 Not Found")


async def test_a_borrowed_session_stays_open() -> None:
    async with Adversary() as server, aiohttp.ClientSession() as session:
        async with FineTuneClient(KEY, base_url=server.base_url, session=session) as client:
            await client.get(JOB_ID)
        assert not session.closed
        async with session.get(server.base_url) as response:
            assert response.status == 200
        assert server.connections == 1


HABITS: list[tuple[str, dict[str, Any]]] = [
    ("raise_for_status", {"raise_for_status": True}),
    ("a total time-out", {"timeout": aiohttp.ClientTimeout(total=0.001)}),
    ("an Authorization header", {"headers": {"Authorization": "Bearer sk-other", "User-Agent": "theirs"}}),
    ("lower-case headers", {"headers": {"authorization": "Basic eA==", "accept-encoding": "br"}}),
    ("cookies", {"cookies": {"a": "b"}}),
    ("no decompression", {"auto_decompress": False}),
    ("trust_env", {"trust_env": True}),
]
BASE_URL: dict[str, Any] = {"base_url": "http://127.0.0.1:1/elsewhere/"}
if not OLD_AIOHTTP:
    HABITS.append(("a base_url", BASE_URL))


async def test_what_an_old_aiohttp_cannot_override_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp, "__version__", "3.11.18")
    async with aiohttp.ClientSession(**BASE_URL) as session:
        with pytest.raises(ConfigurationError, match="with a base_url"):
            FineTuneClient(KEY, session=session)


@pytest.mark.looptime
@pytest.mark.parametrize("habit", [habit for _, habit in HABITS], ids=[name for name, _ in HABITS])
async def test_a_habit_of_the_borrowed_session_changes_nothing(habit: dict[str, Any]) -> None:
    slow = trickle(head_of(length=len(job_body())), job_body(), every=0.01)
    async with Adversary(slow, MISSING, good) as server, aiohttp.ClientSession(**habit) as session:
        async with FineTuneClient(KEY, base_url=server.base_url, session=session, retry=ONE_TRY) as client:
            job = await client.get(JOB_ID)
            with pytest.raises(NotFoundError, match="no such job"):
                await client.get(JOB_ID)
        assert job.succeeded
        assert server.header("Authorization") == f"Bearer {KEY}"
        assert server.header("Accept-Encoding") == "gzip, deflate"
        assert str(server.header("User-Agent")).startswith("dashscope-ft-async/")
        assert server.heads[0].count("uthorization:") == 1


async def test_a_redirect_is_not_followed_on_a_borrowed_session() -> None:
    async with Adversary() as target:
        away = whole(status="302 Found", location=target.base_url)
        async with Adversary(away) as server, aiohttp.ClientSession() as session:
            client = FineTuneClient(KEY, base_url=server.base_url, session=session)
            with pytest.raises(APIStatusError, match="HTTP 302"):
                await client.get(JOB_ID)
            await client.close()
        assert target.connections == 0


async def test_the_key_stays_out_of_the_borrowed_sessions_own_requests() -> None:
    async with Adversary() as server, aiohttp.ClientSession() as session:
        async with FineTuneClient(KEY, base_url=server.base_url, session=session) as client:
            await client.get(JOB_ID)
        async with session.get(server.base_url):
            pass
        assert server.header("Authorization") is None
        assert KEY not in str(session.headers)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_a_session_with_an_auth_of_its_own_is_refused() -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("u", "hunter2")) as session:
        with pytest.raises(ConfigurationError, match="auth") as caught:
            FineTuneClient(KEY, base_url="http://127.0.0.1", session=session)
    assert "hunter2" not in str(caught.value)


def _netrc(text: str, place: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / (".netrc" if place == "HOME" else "other")
    file.write_text(text)
    file.chmod(0o600)
    if place == "NETRC":
        monkeypatch.setenv("NETRC", str(file))


@pytest.mark.parametrize("who", ["machine 127.0.0.1", "default"])
@pytest.mark.parametrize("place", ["NETRC", "HOME"])
async def test_a_session_that_trusts_a_netrc_entry_for_our_host_is_refused(
    who: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _netrc(f"{who} login u password hunter2\n", place, tmp_path, monkeypatch)
    async with aiohttp.ClientSession(trust_env=True) as session:
        with pytest.raises(ConfigurationError, match="netrc") as caught:
            FineTuneClient(KEY, base_url="http://127.0.0.1", session=session)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "trusts"),
    [
        ("machine example.com login u password p\n", True),
        ("not a netrc file\n", True),
        ("machine 127.0.0.1 login u password p\n", False),
    ],
    ids=["an entry for another host", "a broken file", "an entry that nobody trusts"],
)
async def test_a_netrc_file_that_says_nothing_of_us_does_no_harm(
    text: str, trusts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _netrc(text, "NETRC", tmp_path, monkeypatch)
    async with (
        Adversary() as server,
        aiohttp.ClientSession(trust_env=trusts) as session,
        FineTuneClient(KEY, base_url=server.base_url, session=session) as client,
    ):
        await client.get(JOB_ID)
    assert server.header("Authorization") == f"Bearer {KEY}"


async def test_a_closed_session_is_refused() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(ConfigurationError, match="closed"):
        FineTuneClient(KEY, base_url="http://127.0.0.1", session=session)


@pytest.mark.parametrize("method", ["get", "wait_for_terminal", "list"])
async def test_a_session_closed_later_is_a_closed_client(method: str) -> None:
    async with Adversary() as server:
        session = aiohttp.ClientSession()
        client = FineTuneClient(KEY, base_url=server.base_url, session=session)
        await client.get(JOB_ID)
        await session.close()
        with pytest.raises(ClientClosedError, match="borrowed aiohttp session"):
            await getattr(client, method)(*(() if method == "list" else (JOB_ID,)))
        await client.close()


@pytest.mark.looptime
async def test_a_session_closed_during_a_wait_ends_the_wait() -> None:
    async with Adversary(whole(job_body("RUNNING"))) as server:
        session = aiohttp.ClientSession()
        async with FineTuneClient(KEY, base_url=server.base_url, session=session) as client:
            wait = asyncio.create_task(client.wait_for_terminal(JOB_ID))
            await asyncio.sleep(10)
            await session.close()
            with pytest.raises(ClientClosedError, match="borrowed aiohttp session") as caught:
                await wait
        assert caught.value.last_job is not None


@pytest.mark.parametrize(
    "session", ["a text", aiohttp.TCPConnector, object()], ids=["text", "class", "object"]
)
def test_what_is_no_session_is_refused(session: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"aiohttp\.ClientSession"):
        FineTuneClient(KEY, base_url="http://127.0.0.1", session=session)


@pytest.mark.parametrize(
    ("name", "value"),
    [("proxy", "http://127.0.0.1:1"), ("ssl", aiohttp.Fingerprint(bytes(32))), ("trace_configs", [])],
    ids=["proxy", "ssl", "trace_configs"],
)
async def test_what_belongs_to_a_session_cannot_be_given_with_one(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match=f"{name} cannot be given with session="):
            FineTuneClient(KEY, base_url="http://127.0.0.1", session=session, **options)


def test_a_session_of_another_loop_is_a_clear_error() -> None:
    async def elsewhere() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def here(session: aiohttp.ClientSession) -> None:
        async with Adversary() as server:
            async with asyncio.timeout(5):
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await FineTuneClient(KEY, base_url=server.base_url, session=session).get(JOB_ID)
        await session.close()

    asyncio.run(here(asyncio.run(elsewhere())))
