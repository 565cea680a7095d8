"""Who gets the same client, when it is closed, and that nothing outlives its loop."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import weakref
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dashscope_ft_async import (
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    PollPolicy,
    RetryPolicy,
    shared_client,
)
from dashscope_ft_async.client import shared as room
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY

HERE: dict[str, Any] = {"base_url": "https://host.example", "workspace": "llm-w"}


def entries() -> int:
    """How many clients are shared, in all loops."""
    gc.collect()
    return sum(len(those) for those in list(room._SHARED.values()))


@pytest.fixture(autouse=True)
def nothing_kept() -> Any:
    yield
    assert entries() == 0


def hook(_: object) -> None: ...


def other_hook(_: object) -> None: ...


# --- who shares -------------------------------------------------------------------------------------


ALIKE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (HERE, HERE),
    (HERE, HERE | {"base_url": "https://host.example/api/v1/"}),
    ({"region": "cn-beijing"}, {"base_url": "https://dashscope.aliyuncs.com/api/v1"}),
    ({}, {"region": "ap-southeast-1"}),
    (HERE, HERE | {"timeout": 30, "poll": PollPolicy(), "retry": None, "hooks": [], "max_rate": None}),
    (HERE | {"hooks": [hook]}, HERE | {"hooks": (hook,)}),
    (HERE | {"poll": PollPolicy(initial=1)}, HERE | {"poll": PollPolicy(initial=1.0)}),
]


@pytest.mark.parametrize(
    ("one", "other"),
    ALIKE,
    ids=["the same", "another form", "region and host", "default region", "defaults", "hooks", "policies"],
)
async def test_who_asks_alike_gets_the_same_client(one: Any, other: Any) -> None:
    async with shared_client(KEY, **one) as first, shared_client(KEY, **other) as second:
        assert first is second
        assert isinstance(first, FineTuneClient)


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": KEY + "2"},
        {"base_url": "https://other.example"},
        {"workspace": "llm-other"},
        {"timeout": 5.0},
        {"poll": PollPolicy(initial=1)},
        {"retry": RetryPolicy(attempts=2)},
        {"coalesce": False},
        {"max_rate": 5.0},
        {"proxy": "http://127.0.0.1:3128"},
        {"trace_configs": [aiohttp.TraceConfig()]},
        {"hooks": [other_hook]},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_who_asks_otherwise_gets_another(other: Any) -> None:
    given: dict[str, Any] = {"api_key": KEY, **HERE, "hooks": [hook]}
    async with shared_client(**given) as first, shared_client(**(given | other)) as second:
        assert first is not second
        async with shared_client(**(given | other)) as third:
            assert third is second


async def test_what_environment_and_key_file_say_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".dashscope").mkdir()
    (tmp_path / ".dashscope" / "api_key").write_text(KEY)
    async with shared_client() as by_file, shared_client(KEY) as by_argument:
        assert by_file is by_argument
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-another-0123456789")
        async with shared_client() as other:
            assert other is not by_file


# --- when it is closed ------------------------------------------------------------------------------


async def test_the_last_who_leaves_closes_it() -> None:
    first, second = shared_client(KEY), shared_client(KEY)
    client = await first.__aenter__()
    assert await second.__aenter__() is client
    await first.__aexit__(None, None, None)
    assert not client.closed
    await second.__aexit__(None, None, None)
    assert client.closed
    async with shared_client(KEY) as new:
        assert new is not client


@pytest.mark.looptime
async def test_independent_waits_share_one_client(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING"), (100, "SUCCEEDED")])
    met: set[int] = set()

    async def stranger() -> bool:
        async with shared_client(KEY, base_url=service.base_url) as client:
            met.add(id(client))
            return (await client.wait_for_terminal(job_id)).succeeded

    assert all(await asyncio.gather(*(stranger() for _ in range(1000))))
    assert len(met) == 1
    assert service.polls(job_id) < 30


@pytest.mark.looptime
async def test_one_who_is_cancelled_leaves_the_others_in(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING"), (100, "SUCCEEDED")])

    async def wait() -> bool:
        async with shared_client(KEY, base_url=service.base_url) as client:
            return (await client.wait_for_terminal(job_id)).succeeded

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(10)
    first.cancel()
    assert await second
    assert first.cancelled()


async def test_who_comes_while_it_closes_gets_a_new_one(
    service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, go_on = asyncio.Event(), asyncio.Event()
    close = FineTuneClient.close

    async def slow(client: FineTuneClient) -> None:
        closing.set()
        await go_on.wait()
        await close(client)

    monkeypatch.setattr(FineTuneClient, "close", slow)
    job_id = service.add_job([(0, "SUCCEEDED")])

    async def leave() -> None:
        async with shared_client(KEY, base_url=service.base_url):
            pass

    leaving = asyncio.create_task(leave())
    await closing.wait()
    async with shared_client(KEY, base_url=service.base_url) as client:
        go_on.set()
        await leaving
        assert (await client.get(job_id)).succeeded


async def test_one_that_somebody_closed_is_not_given_out_again() -> None:
    async with shared_client(KEY) as client:
        await client.close()
        async with shared_client(KEY) as new:
            assert new is not client
            with pytest.raises(ClientClosedError):
                await client.get("ft-1")


async def test_an_error_inside_goes_out_and_closes_it() -> None:
    client = None
    with pytest.raises(ZeroDivisionError):
        async with shared_client(KEY) as client:
            raise ZeroDivisionError
    assert client is not None
    assert client.closed


async def test_it_is_entered_once() -> None:
    sharing = shared_client(KEY)
    async with sharing:
        with pytest.raises(ConfigurationError, match="anew for each async with"):
            await sharing.__aenter__()


# --- loops ------------------------------------------------------------------------------------------


def test_each_loop_has_its_own() -> None:
    both_in = threading.Barrier(2, timeout=5)
    met: list[FineTuneClient] = []

    async def main() -> None:
        async with shared_client(KEY) as client:
            met.append(client)
            both_in.wait()

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(map(id, met))) == 2
    assert all(client.closed for client in met)


def test_a_loop_that_dies_with_users_in_leaves_nothing() -> None:
    loop = asyncio.new_event_loop()
    dead = weakref.ref(loop)

    async def enter() -> None:
        client = await shared_client(KEY).__aenter__()
        client.watch("ft-1")

    loop.run_until_complete(enter())
    loop.close()
    del loop
    gc.collect()
    assert dead() is None
    assert entries() == 0


async def test_leaving_in_another_loop_is_refused() -> None:
    sharing = shared_client(KEY)
    await sharing.__aenter__()

    def elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(sharing.__aexit__(None, None, None))  # pyright: ignore

    await asyncio.to_thread(elsewhere)


# --- what is refused, and what is not shown ---------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"session": object()}, "session= cannot be shared"),
        ({"timeout": -1}, "timeout must be"),
        ({"region": "nowhere"}, "unknown region"),
        ({"base_url": "http://host.example"}, "plain http"),
        ({"hooks": 3}, "hooks must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_bad_input_is_refused_at_once_and_shows_no_key(options: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        shared_client(KEY, **options)
    received = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    frames = [frame for frame in received.stack if "/dashscope_ft_async/" in frame.filename]
    assert frames
    assert not any(KEY in value for frame in frames for value in (frame.locals or {}).values())


async def test_the_key_is_in_no_repr() -> None:
    sharing = shared_client(KEY)
    async with sharing as client:
        shown = repr([sharing, vars(sharing), client, next(iter(room._SHARED.values())).copy()])
    assert KEY not in shown
