"""The API key is nowhere: no repr, error, traceback, log or pickle, whatever a server sends back."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import cast

import aiohttp
import pytest

from dashscope_ft_async import (
    DashScopeFTError,
    FineTuneClient,
    PollPolicy,
    RetryPolicy,
)
from dashscope_ft_async._api.config import Secret, Settings, settings
from tests.conftest import KEY
from tests.support.adversary import (
    JOB_ID,
    Adversary,
    Answer,
    hang_up,
    job_body,
    refused_port,
    reset,
    then_closed,
    then_silent,
    whole,
)
from tests.support.adversary import head as head_of

ODD_KEY = "no-shape-at-all-9d1c7f"
BEARER = f"Bearer {KEY}"
ONE_TRY = RetryPolicy(attempts=1)


@pytest.fixture(params=[KEY, ODD_KEY], ids=["sk- key", "key of no known shape"])
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No key in any record at DEBUG of any logger, whatever the test does."""
    caplog.set_level(logging.DEBUG)
    for name in ("dashscope_ft_async", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    for record in caplog.records:
        text = logging.Formatter().format(record) + repr(record.args)
        assert KEY not in text
        assert ODD_KEY not in text


@pytest.fixture(autouse=True)
async def asyncio_in_debug_mode() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    yield
    loop.set_debug(False)


def traces_of(error: BaseException, secret: str) -> list[str]:
    """Every place in which `secret` can be found from `error`, by any way that shows errors."""
    shown = {
        "str": str(error),
        "repr": repr(error),
        "traceback": "".join(traceback.format_exception(error)),
        "traceback with locals": "".join(
            line
            for line in traceback.TracebackException.from_exception(error, capture_locals=True).format()
            if not _is_of_this_suite(line)
        ),
        "pickle": repr(pickle.loads(pickle.dumps(error))) + repr(pickle.dumps(error)),
        "copy": repr(vars(copy.copy(error))),
    }
    found = [where for where, text in shown.items() if secret in text]
    todo: list[tuple[str, object]] = [("error", error)]
    seen: set[int] = set()
    while todo:
        where, value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if secret in repr(value):
            found.append(where)
        if isinstance(value, BaseException):
            # A debugger and some reporters show the variables of all frames, of suppressed errors too.
            todo += [
                (f"{where} in {frame.f_code.co_qualname}", tuple(frame.f_locals.values()))
                for frame, _ in traceback.walk_tb(value.__traceback__)
                if "/tests/" not in frame.f_code.co_filename
            ]
            todo += [
                (f"{where}.__cause__", value.__cause__),
                (f"{where}.__context__", value.__context__),
                (f"{where}.args", value.args),
                *((f"{where}.{name}", item) for name, item in vars(value).items()),
            ]
        elif isinstance(value, tuple):
            todo += [(f"{where}[]", item) for item in cast("tuple[object, ...]", value)]
    return found


def _is_of_this_suite(frame: str) -> bool:
    """Our tests know the key; their frames are not the library's to keep clean."""
    return "/tests/" in frame.split("\n")[0]


def _echoing(kind: str, key: str) -> Answer:
    """A server that sends the key back, as debugging proxies do."""
    bearer = f"Bearer {key}"
    error = json.dumps(
        {"code": f"Bad.{key}", "message": f"key {key} of {bearer}", "request_id": key}
    ).encode()
    headers = {"authorization": bearer, "x_request_id": key, "x_echo": f"you sent {bearer}"}
    job = {"job_name": key, "message": bearer, "surprise": {"deep": [key]}, "code": key}
    return {
        "400": whole(error, "400 Bad Request", **headers),
        "401": whole(error, "401 Unauthorized", **headers),
        "403": whole(error, "403 Forbidden", **headers),
        "404": whole(error, "404 Not Found", **headers),
        "409": whole(error, "409 Conflict", **headers),
        "429": whole(error, "429 Too Many Requests", retry_after="1", **headers),
        "500": whole(error, "500 Internal Server Error", **headers),
        "503": whole(error, "503 Unavailable", **headers),
        "302": whole(error, "302 Found", location=f"http://127.0.0.1:1/?{key}", **headers),
        "200 with a code": whole(error, **headers),
        "reason phrase": whole(b"", f"500 {bearer}"),
        "HTML": whole(f"<html>{bearer}</html>".encode(), kind="text/html", **headers),
        "content type": whole(b"<html>", kind=f"text/{key}"),
        "encoding": whole(b"x", content_encoding=key),
        "broken gzip": whole(key.encode() * 9, content_encoding="gzip", **headers),
        "another job": whole(job_body(job_id=key), **headers),
        "no status": whole(json.dumps({"output": {"job_id": key, "status": [key]}}).encode(), **headers),
        "a list": whole(json.dumps({"output": [key]}).encode(), **headers),
        "garbage status line": then_closed(f"{bearer} HTTP/1.1\r\n\r\n".encode()),
        "garbage header": then_closed(f"HTTP/1.1 200 OK\r\n{bearer}\r\n\r\n".encode()),
        "garbage chunk": then_closed(head_of(transfer_encoding="chunked") + f"{key}\r\n".encode()),
        "cut body": then_closed(head_of(length=999, **headers) + error),
        "stalled body": then_silent(head_of(length=999, **headers) + error),
        "stalled": then_silent(),
        "reset": reset,
        "closed": hang_up,
        "failed job": whole(job_body("FAILED", **job), **headers),
        "canceled job": whole(job_body("CANCELED", **job), **headers),
        "odd status": whole(job_body(f"{key}", end_time="2026-01-05 10:30:12", **job), **headers),
        "running": whole(job_body("RUNNING", **job), **headers),
    }[kind]


_RAISING = [
    "400", "401", "403", "404", "409", "429", "500", "503", "302", "200 with a code", "reason phrase",
    "HTML", "content type", "encoding", "broken gzip", "another job", "no status", "a list",
    "garbage status line", "garbage header", "garbage chunk", "cut body", "stalled body", "stalled",
    "reset", "closed",
]  # fmt: skip


@pytest.mark.looptime
@pytest.mark.parametrize("kind", _RAISING)
async def test_an_error_of_a_single_call_does_not_show_the_key(kind: str, key: str) -> None:
    async with Adversary(_echoing(kind, key)) as server:
        retry = RetryPolicy(attempts=2, initial=0.01, max_delay=0.01)
        async with FineTuneClient(key, base_url=server.base_url, retry=retry, timeout=3.0) as client:
            with pytest.raises(DashScopeFTError) as caught:
                await client.get(JOB_ID)
            page = await asyncio.gather(client.list(), return_exceptions=True)
    assert traces_of(caught.value, key) == []
    if isinstance(page[0], BaseException):
        assert traces_of(page[0], key) == []
    assert key not in repr(page)


@pytest.mark.looptime
@pytest.mark.parametrize("kind", [*_RAISING, "failed job", "canceled job", "odd status", "running"])
async def test_an_error_of_a_wait_does_not_show_the_key(kind: str, key: str) -> None:
    poll = PollPolicy(outage_tolerance=20.0)
    async with (
        Adversary(_echoing(kind, key)) as server,
        FineTuneClient(key, base_url=server.base_url, poll=poll, timeout=3.0) as client,
    ):
        with pytest.raises(DashScopeFTError) as caught:
            await client.wait_for_success(JOB_ID, timeout=100)
    assert traces_of(caught.value, key) == []


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["running", "500", "stalled"])
async def test_closing_does_not_show_the_key(kind: str, key: str) -> None:
    async with Adversary(_echoing(kind, key)) as server:
        client = FineTuneClient(key, base_url=server.base_url)
        wait = asyncio.create_task(client.wait_for_terminal(JOB_ID))
        await asyncio.sleep(5)
        assert key not in repr(client)
        await client.close()
        with pytest.raises(DashScopeFTError) as caught:
            await wait
    assert traces_of(caught.value, key) == []


async def test_a_refused_connection_does_not_show_the_key(key: str) -> None:
    client = FineTuneClient(key, base_url=f"http://127.0.0.1:{refused_port()}", retry=ONE_TRY)
    with pytest.raises(DashScopeFTError) as caught:
        await client.get(JOB_ID)
    await client.close()
    assert traces_of(caught.value, key) == []


async def test_a_snapshot_does_not_hold_a_key_that_the_service_echoed(key: str) -> None:
    async with (
        Adversary(_echoing("failed job", key)) as server,
        FineTuneClient(key, base_url=server.base_url) as client,
    ):
        job = await client.get(JOB_ID)
    assert key not in repr(job)
    assert job.job_name == "***"


async def test_a_borrowed_session_does_not_show_the_key(key: str) -> None:
    async with Adversary(_echoing("cut body", key)) as server, aiohttp.ClientSession() as session:
        client = FineTuneClient(key, base_url=server.base_url, session=session, retry=ONE_TRY)
        with pytest.raises(DashScopeFTError) as caught:
            await client.get(JOB_ID)
        await client.close()
        assert key not in repr(session)
    assert traces_of(caught.value, key) == []


def test_no_repr_shows_the_key(key: str) -> None:
    client = FineTuneClient(key)
    made = settings(api_key=Secret(key), environ={})
    for thing in (client, made, made.api_key, vars(client), [client], {"client": client}):
        assert key not in repr(thing)
        assert key not in str(thing)
        assert key not in f"{thing}"


def test_what_holds_the_key_cannot_be_pickled_or_deep_copied(key: str) -> None:
    made: Settings = settings(api_key=Secret(key), environ={})
    for thing in (FineTuneClient(key), made, made.api_key):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(thing)
        with pytest.raises(TypeError, match="pickled"):
            copy.deepcopy(thing)


@pytest.mark.parametrize("bad", ["sk-with blank-SECRET", "sk-ünïcode-SECRET", "sk-line\nSECRET"])
@pytest.mark.parametrize("name", ["api_key", "workspace", "base_url"])
def test_a_refused_setting_is_not_shown(name: str, bad: str) -> None:
    options = {"api_key": KEY, name: bad}
    with pytest.raises(DashScopeFTError) as caught:
        FineTuneClient(**options)  # type: ignore[arg-type]
    assert "SECRET" not in f"{caught.value!r} {caught.value}"


def test_a_secret_shows_itself_only_when_asked() -> None:
    assert (repr(Secret(KEY)), str(Secret(KEY)), Secret(KEY).reveal()) == (
        "Secret(***)",
        "Secret(***)",
        KEY,
    )
