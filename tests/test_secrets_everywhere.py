"""One walk over everything that shows something: no key of ours, and no key of anybody in a text."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import pytest
from click.testing import CliRunner

from dashscope_ft_async import (
    ConfigurationError,
    DashScopeFTError,
    FineTuneClient,
    PollPolicy,
    RetryPolicy,
)
from dashscope_ft_async import errors as errors_module
from dashscope_ft_async._api.config import Secret
from dashscope_ft_async.cli import commands, options
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY
from tests.support.adversary import JOB_ID, Adversary, Answer, reset, then_silent, whole

OTHER = "sk-of-somebody-else-5c11"
ODD = 'no/"shape"+at=all-9d1c7f'
ONE_TRY = RetryPolicy(attempts=1)
Ask: TypeAlias = Callable[[FineTuneClient], Any]


def told(status: str, secret: str, **fields: object) -> Answer:
    """An answer that says `secret` wherever it can."""
    error = {"code": f"Bad.{secret}", "message": f"Bearer {secret}\n?k={secret}", "request_id": secret}
    body = json.dumps({**error, **fields}).encode()
    headers = {"x_request_id": secret, "authorization": f"Bearer {secret}", "location": f"/?key={secret}"}
    return whole(body, status, kind=f"text/{secret}", **headers)


def job(status: str, secret: str, **fields: object) -> Answer:
    """A job that says `secret` wherever it can."""
    texts: dict[str, object] = {
        "message": f"key {secret} expired",
        "code": secret,
        "model": secret,
        "new": [secret],
    }
    return told("200 OK", secret, output={"job_id": JOB_ID, "status": status} | texts | fields)


async def closed_under(client: FineTuneClient) -> None:
    wait = asyncio.create_task(client.wait_for_terminal(JOB_ID))
    await asyncio.sleep(5)
    await client.close()
    await wait


def get(client: FineTuneClient) -> Any:
    return client.get(JOB_ID)


def wait(client: FineTuneClient) -> Any:
    return client.wait_for_success(JOB_ID, timeout=100)


async def canceled(client: FineTuneClient) -> None:
    await client.cancel(JOB_ID)


async def exported(client: FineTuneClient) -> None:
    await client.export_checkpoint(JOB_ID, "c-1", model_name="m", timeout=100)


async def listed(client: FineTuneClient) -> None:
    await client.list()


def scenes(secret: str) -> dict[str, tuple[list[Answer], Ask]]:
    """Ways to meet every class of error, by the name of the class and a word."""
    running, gone = job("RUNNING", secret), told("404 Not Found", secret)
    word = f"PAUSED {secret}\n{secret}"
    return {
        "BadRequestError": ([told("400 Bad", secret)], get),
        "AuthenticationError": ([told("401 No", secret)], get),
        "PermissionDeniedError": ([told("403 No", secret)], get),
        "NotFoundError": ([gone], get),
        "EndpointNotFoundError": ([whole(secret.encode(), "404 Not Found", kind=secret)], canceled),
        "ConflictError": ([told("409 No", secret)], get),
        "RateLimitError": ([told("429 Slow", secret)], get),
        "InternalServerError": ([told(f"500 {secret}", secret)], get),
        "ServiceUnavailableError": ([told("503 No", secret)], get),
        "APIStatusError redirect": ([told("302 Found", secret)], get),
        "APIStatusError 200": ([told("200 OK", secret)], get),
        "APIResponseValidationError text": ([whole(secret.encode(), kind=secret)], get),
        "APIResponseValidationError id": ([job("FAILED", secret, job_id=secret)], get),
        "APIResponseValidationError encoding": ([whole(b"x", content_encoding=secret)], get),
        "APIResponseValidationError status": (
            [told("200 OK", secret, output={"job_id": JOB_ID, "status": [secret]})],
            get,
        ),
        "APIResponseValidationError rows": (
            [told("200 OK", secret, output={"jobs": [{"job_id": secret, "status": [secret]}]})],
            listed,
        ),
        "APIConnectionError": ([reset], get),
        "APITimeoutError": ([then_silent()], get),
        "JobFailedError": ([job("FAILED", secret)], wait),
        "JobCanceledError": ([job("CANCELED", secret)], wait),
        "CheckpointError": (
            [
                told("200 OK", secret, output=True),
                told(
                    "200 OK",
                    secret,
                    output=[{"checkpoint": "c-1", "status": "FAILED", "full_name": secret}],
                ),
            ],
            exported,
        ),
        "JobError": ([job(word, secret, end_time="2026-01-05 10:30:12")], wait),
        "WaitTimeoutError": ([job(word, secret)], wait),
        "OutageError": ([running, told("500 Oh", secret)], wait),
        "JobVanishedError": ([running, gone], wait),
        "ClientClosedError": ([running], closed_under),
    }


RAISED_BY_ITSELF = {"DashScopeFTError", "APIError"}  # bases only: nothing raises them


def test_the_scenes_meet_every_class() -> None:
    met = {name.split(" ")[0] for name in scenes(KEY)} | {"ConfigurationError", "WaitError"}
    assert met | RAISED_BY_ITSELF == set(errors_module.__all__)


@pytest.fixture(autouse=True)
async def asyncio_in_debug_mode() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    yield
    loop.set_debug(False)


def texts_of(error: BaseException) -> str:
    """Everything that shows an error: text, traceback with locals, log; and those it is chained to."""
    record = logging.LogRecord("user", 10, __file__, 1, "%s %r", (error, error), None)
    record.exc_info = (type(error), error, error.__traceback__)
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "\n".join(
        (
            str(error),
            repr(error),
            logging.Formatter().format(record),
            *traceback.format_exception(error),
            *(frame for frame in trace.format() if "/tests/" not in frame.split("\n")[0]),
            *(texts_of(one) for one in (error.__cause__, error.__context__) if one is not None),
        )
    )


def holdings_of(error: DashScopeFTError) -> str:
    """What an error holds, jobs and earlier errors included, and what its copies hold."""
    dumped = pickle.dumps(error)
    copies = (error, copy.copy(error), pickle.loads(dumped))
    return f"{dumped!r} {[(one.args, vars(one)) for one in copies]}"


async def met(name: str, secret: str, key: str) -> DashScopeFTError:
    answers, ask = scenes(secret)[name]
    poll = PollPolicy(outage_tolerance=20.0)
    async with (
        Adversary(*answers) as server,
        FineTuneClient(key, base_url=server.base_url, poll=poll, retry=ONE_TRY, timeout=3.0) as client,
    ):
        with pytest.raises(DashScopeFTError) as caught:
            await ask(client)
        if name != "ClientClosedError":
            seen = repr([client, vars(client), *map(vars, parts_of(client))])
            assert key not in seen
    assert type(caught.value).__name__ == name.split(" ")[0]
    return caught.value


def parts_of(client: FineTuneClient) -> list[Any]:
    """Session, hub, gate and journal."""
    return [part for part in vars(client).values() if hasattr(part, "__dict__")]


def shown_in(log: pytest.LogCaptureFixture) -> str:
    return "\n".join(logging.Formatter().format(one) + repr(one.args) for one in log.records)


@pytest.mark.looptime
@pytest.mark.parametrize("key", [KEY, ODD], ids=["sk- key", "odd key"])
@pytest.mark.parametrize("name", scenes(KEY))
async def test_our_key_is_nowhere(name: str, key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = await met(name, key, key)
    for form in {key, json.dumps(key)[1:-1]}:
        assert form not in texts_of(error) + holdings_of(error) + shown_in(caplog)


@pytest.mark.looptime
@pytest.mark.parametrize("name", scenes(KEY))
async def test_nobodys_key_is_in_a_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = await met(name, OTHER, KEY)
    facts = {one: value for one, value in vars(error).items() if isinstance(value, str)}
    assert OTHER not in f"{error} {error!r} {error.args} {facts}" + shown_in(caplog)
    assert str(error).isprintable()


@pytest.mark.looptime
async def test_a_wait_that_broke_unexpectedly_does_not_show_the_key() -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError(f"sent {OTHER}")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(broken)
    async with (
        Adversary() as server,
        FineTuneClient(KEY, base_url=server.base_url, trace_configs=[trace]) as client,
    ):
        with pytest.raises(DashScopeFTError) as caught:
            await client.wait_for_terminal(JOB_ID)
    assert type(caught.value).__name__ == "WaitError"
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert OTHER not in f"{caught.value} {caught.value!r}"


@pytest.mark.looptime
async def test_a_time_out_of_the_users_own_does_not_show_the_key() -> None:
    async with Adversary(then_silent()) as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await client.get(JOB_ID)
    assert caught.value.__cause__ is not None
    assert KEY not in texts_of(caught.value)


REFUSED: list[dict[str, Any]] = [
    {"timeout": -1},
    {"base_url": "ftp://host"},
    {"base_url": "http://host"},
    {"region": "mars-1"},
    {"workspace": "a b"},
    {"proxy": "socks5://host"},
    {"ssl": False},
    {"retry": 5},
    {"max_rate": 0},
]


@pytest.mark.parametrize("options", REFUSED, ids=repr)
@pytest.mark.parametrize("place", ["argument", "environment"])
def test_a_refused_client_does_not_show_the_key(
    options: dict[str, Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    with pytest.raises(ConfigurationError) as caught:
        FineTuneClient(KEY if place == "argument" else None, **options)
    assert KEY not in texts_of(caught.value)


@pytest.mark.parametrize("key", ["sk-bad key", "sk-bäd", "sk-b\nad"])
@pytest.mark.parametrize("place", ["argument", "environment"])
def test_a_refused_key_is_not_shown(key: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", key)
    with pytest.raises(ConfigurationError) as caught:
        FineTuneClient(key if place == "argument" else None)
    shown = texts_of(caught.value)
    assert key not in shown
    assert repr(key) not in shown


MISPLACED = [
    {"base_url": f"https://user:{KEY}@host"},
    {"base_url": f"ftp://host/{KEY}"},
    {"region": KEY},
    {"workspace": KEY},
    {"workspace": KEY, "region": "eu-central-1"},
    {"proxy": f"socks5://{KEY}"},
    {"ssl": KEY},
    {"retry": KEY},
    {"poll": KEY},
    {"timeout": KEY},
    {"max_rate": KEY},
]


@pytest.mark.parametrize("options", MISPLACED, ids="+".join)
def test_a_key_in_the_place_of_another_setting_is_not_shown(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FineTuneClient("sk-the-right-one", **options)
    shown = (str(caught.value), repr(caught.value), *traceback.format_exception(caught.value))
    assert KEY not in "".join(shown)


@pytest.mark.parametrize("call", ["get", "wait_for_terminal", "watch"])
async def test_a_key_in_the_place_of_an_id_is_neither_sent_nor_shown(call: str) -> None:
    async with Adversary() as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        with pytest.raises(ConfigurationError, match="this is an API key and not a job id") as caught:
            await getattr(client, call)(OTHER)
        (end,) = [end async for end in client.as_completed([OTHER])]
        with pytest.raises(ConfigurationError) as awaited:
            await end
    assert server.heads == []
    for error in (caught.value, awaited.value):
        assert OTHER not in f"{error} {error!r} {vars(error)}"


async def test_a_simulator_does_not_show_its_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Simulator(api_key=KEY) as service, service.client() as client:
        await client.list()
        with pytest.raises(ConfigurationError) as caught:
            service.client(timeout=-1)
        assert KEY not in f"{service} {service!r} {vars(service)} {service.requests}"
    assert KEY not in texts_of(caught.value) + shown_in(caplog)


async def test_a_key_in_the_path_of_a_gateway_is_not_in_a_repr() -> None:
    client = FineTuneClient(ODD, base_url=f"https://gateway/{OTHER}/v2")
    assert "https://gateway/sk-***/v2/api/v1" in repr(client)


async def test_a_short_stand_in_for_a_key_is_not_looked_for_in_answers() -> None:
    async with (
        Adversary(job("RUNNING", "status")) as server,
        FineTuneClient("status", base_url=server.base_url) as client,
    ):
        assert (await client.get(JOB_ID)).raw_status == "RUNNING"
    assert Secret("status").masked_in_bytes(b"status") == b"status"


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own: the command runs a loop itself."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


COMMANDS = [
    [*command, *options]
    for command in (["wait", "--timeout", "0"], ["wait", "--timeout", "1"], ["get"])
    for options in ([], ["--json"], ["--verbose"])
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "name", ["AuthenticationError", "InternalServerError", "JobFailedError", "WaitTimeoutError"]
)
def test_the_command_does_not_show_the_key(
    words: list[str], name: str, elsewhere: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    quick = partial(
        FineTuneClient,
        poll=PollPolicy(initial=0.01, max_interval=0.01, outage_tolerance=0.02),
        retry=ONE_TRY,
    )
    monkeypatch.setattr(options, "FineTuneClient", quick)
    server = Adversary(*scenes(KEY)[name][0])
    asyncio.run_coroutine_threadsafe(server.__aenter__(), elsewhere).result(5)
    short = ["0.05" if word == "1" else word for word in words]
    result = CliRunner().invoke(commands.dashscope_ft, [*short, "--base-url", server.base_url, JOB_ID])
    asyncio.run_coroutine_threadsafe(server.__aexit__(), elsewhere).result(5)
    assert result.output
    assert KEY not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", ["wait", "get"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_the_command_does_not_take_a_key_for_an_id(command: str, options: list[str]) -> None:
    result = CliRunner().invoke(commands.dashscope_ft, [command, *options, OTHER])
    assert result.exit_code == 2
    assert OTHER not in result.output
