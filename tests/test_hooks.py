"""Events: which ones hooks receive and when, and that no hook and no log handler can harm a wait."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    InternalServerError,
    JobStatus,
    NotFoundError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    WaitTimeoutError,
)
from dashscope_ft_async._api.wire import Request, job_request, page_request
from dashscope_ft_async.hooks import (
    CallEnded,
    CallStarted,
    Event,
    PollFailed,
    RequestFinished,
    Retrying,
    StatusChanged,
    Throttled,
    UnknownStatus,
    WaitEnded,
    WaitStarted,
)
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import refused_port

pytestmark = pytest.mark.looptime

EVERY_10_S = PollPolicy(initial=10, multiplier=1, max_interval=10, jitter=0)
T = TypeVar("T")


class Seen(list[Event]):
    """A hook that keeps what it is told."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self]


@pytest.fixture
def seen() -> Seen:
    return Seen()


# --- what is told -----------------------------------------------------------------------------------


async def test_a_wait_is_told_from_its_start_to_its_end(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "RUNNING"), (15, "SUCCEEDED")])
    async with service.client(hooks=[seen], poll=EVERY_10_S) as client:
        job = await client.wait_for_terminal(job_id)
    started, ended = seen[0], seen[-1]
    assert isinstance(started, WaitStarted)
    assert isinstance(ended, WaitEnded)
    assert started.job_id == ended.job_id == job_id
    assert started.wait == ended.wait
    assert (ended.job, ended.error, ended.polls) == (job, None, 3)
    assert ended.seconds == pytest.approx(20, abs=0.1)
    assert [event.call for event in seen.of(RequestFinished)] == [None, None, None]


async def test_a_change_is_told_once_however_many_wait(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "QUEUING"), (5, "RUNNING"), (35, "FAILED")])
    async with service.client(hooks=[seen], poll=EVERY_10_S) as client:
        await asyncio.gather(*(client.wait_for_terminal(job_id) for _ in range(3)))
    changes = seen.of(StatusChanged)
    assert [event.job.status for event in changes] == ["QUEUING", "RUNNING", "FAILED"]
    assert [event.before and event.before.status for event in changes] == [None, "QUEUING", "RUNNING"]
    assert changes[0].unseen is None
    assert [event.unseen for event in changes[1:]] == pytest.approx([10, 10], abs=0.1)
    assert len({event.wait for event in seen.of(WaitEnded)}) == 3


async def test_a_call_owns_its_requests_and_its_pauses(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "RUNNING")], faults=[Fault.error(500, "InternalError"), Fault.cut()])
    async with service.client(hooks=[seen]) as client:
        await client.get(job_id)
    assert seen.kinds() == [
        "CallStarted",
        *("RequestFinished", "Retrying") * 2,
        "RequestFinished",
        "CallEnded",
    ]
    started, ended = seen.of(CallStarted)[0], seen.of(CallEnded)[0]
    assert (started.name, started.job_id, ended.error) == ("get", job_id, None)
    assert {event.call for event in seen.of(RequestFinished)} == {started.call} == {ended.call}
    assert [(event.status, event.error) for event in seen.of(RequestFinished)] == [
        (500, None),
        (None, "APIConnectionError"),
        (200, None),
    ]
    pauses = seen.of(Retrying)
    assert [(event.call, event.wait, event.attempt) for event in pauses] == [
        (started.call, None, 1),
        (started.call, None, 2),
    ]
    assert [type(event.error) for event in pauses] == [InternalServerError, APIConnectionError]
    assert ended.seconds >= sum(event.seconds for event in pauses)


async def test_a_call_that_raises_is_told_with_its_error(service: Simulator, seen: Seen) -> None:
    async with service.client(hooks=[seen]) as client:
        with pytest.raises(NotFoundError) as raised:
            await client.get("ft-not-there")
        await client.list(page_size=5)
    first, second = seen.of(CallEnded)
    assert first.error is raised.value
    assert (second.name, second.job_id, second.error) == ("list", None, None)


async def test_a_poll_is_of_no_call_though_a_call_runs_beside_it(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "RUNNING"), (100, "SUCCEEDED")], latency=1)
    async with service.client(hooks=[seen], poll=EVERY_10_S) as client:

        async def asks() -> None:
            for _ in range(30):
                await client.get(job_id)
                await asyncio.sleep(3)

        await client.get(job_id)  # in the context that the waits' polls inherit
        await asyncio.gather(client.wait_for_terminal(job_id), asks())
    calls = [event.call for event in seen.of(RequestFinished) if event.call is not None]
    assert calls == [event.call for event in seen.of(CallStarted)]
    assert sum(event.call is None for event in seen.of(RequestFinished)) == seen.of(WaitEnded)[0].polls


async def test_where_a_request_went_is_told_without_its_ids(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    async with service.client(hooks=[seen]) as client:
        await client.get(job_id)
        await client.list(model="qwen3-14b")
    one, page = seen.of(RequestFinished)
    assert (one.method, one.template, one.job_id) == ("GET", "/fine-tunes/{job_id}", job_id)
    assert (page.template, page.job_id) == ("/fine-tunes", None)
    assert service.base_url == f"http://{one.host}:{one.port}/api/v1"


@pytest.mark.parametrize(
    ("request_", "template", "job_id"),
    [
        (job_request("ft 1".replace(" ", "é")), "/fine-tunes/{job_id}", "fté1"),
        (page_request(2, 10, "a/b"), "/fine-tunes", None),
        (Request("POST", "/fine-tunes"), "/fine-tunes", None),
        (Request("POST", "/fine-tunes/ft-1/cancel"), "/fine-tunes/{job_id}/cancel", "ft-1"),
        (Request("GET", "/fine-tunes/ft-1/logs?offset=0&line=5"), "/fine-tunes/{job_id}/logs", "ft-1"),
        (Request("GET", "/fine-tunes/ft-1/export/c-9"), "/fine-tunes/{job_id}/export/{id}", "ft-1"),
    ],
    ids=lambda value: str(getattr(value, "path", "")),
)
def test_templates_are_few(request_: Request, template: str, job_id: str | None) -> None:
    assert (request_.template, request_.job_id) == (template, job_id)


async def test_a_failing_poll_is_told_to_each_wait(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "RUNNING"), (50, "SUCCEEDED")], faults=[Fault.html(502)] * 2)
    async with service.client(hooks=[seen], poll=EVERY_10_S) as client:
        await asyncio.gather(client.wait_for_terminal(job_id), client.wait_for_terminal(job_id))
    waits = [event.wait for event in seen.of(WaitStarted)]
    assert [(event.wait, event.attempt, event.call) for event in seen.of(Retrying)] == [
        (waits[0], 1, None),
        (waits[1], 1, None),
        (waits[0], 2, None),
        (waits[1], 2, None),
    ]


async def test_throttling_is_told_with_its_pause(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job(faults=[Fault.error(429, "Throttling", retry_after=20)])
    async with service.client(hooks=[seen]) as client:
        await client.wait_for_terminal(job_id)
    (throttled,) = seen.of(Throttled)
    assert 20 <= throttled.seconds <= 22.1
    assert math.isfinite(throttled.rate)
    assert not throttled.pages
    assert isinstance(seen.of(Retrying)[0].error, RateLimitError)


async def test_a_refused_page_is_told_as_one(service: Simulator, seen: Seen) -> None:
    job_ids = [service.add_job([(0, "RUNNING"), (20, "SUCCEEDED")]) for _ in range(40)]
    service.fail_next(Fault.error(429, "Throttling"))
    async with service.client(hooks=[seen], poll=EVERY_10_S) as client:
        await client.wait_many(job_ids)
    assert [event.pages for event in seen.of(Throttled)] == [True]
    assert "/fine-tunes" in {event.template for event in seen.of(RequestFinished)}


# --- how a wait ends --------------------------------------------------------------------------------


async def raises(client: FineTuneClient, job_id: str) -> BaseException:
    with pytest.raises(WaitTimeoutError) as raised:
        await client.wait_for_terminal(job_id, timeout=15)
    return raised.value


async def is_cancelled(client: FineTuneClient, job_id: str) -> None:
    task = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])


async def leaves_the_loop(client: FineTuneClient, job_id: str) -> None:
    watch = client.watch(job_id)
    await anext(watch)
    await watch.aclose()


async def has_a_broken_callback(client: FineTuneClient, job_id: str) -> None:
    with pytest.raises(ZeroDivisionError):
        await client.wait_for_terminal(job_id, on_update=lambda _: 1 / 0)


async def is_closed(client: FineTuneClient, job_id: str) -> BaseException:
    task = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(1)
    await client.close()
    with pytest.raises(ClientClosedError) as raised:
        await task
    return raised.value


@pytest.mark.parametrize(
    "ends",
    [raises, is_cancelled, leaves_the_loop, has_a_broken_callback, is_closed],
    ids=lambda f: f.__name__,
)
async def test_each_wait_that_began_ends_once(
    ends: Callable[[FineTuneClient, str], Any], service: Simulator, seen: Seen
) -> None:
    async with service.client(hooks=[seen]) as client:
        error = await ends(client, service.add_job([(0, "RUNNING")]))
    assert [event.wait for event in seen.of(WaitStarted)] == [event.wait for event in seen.of(WaitEnded)]
    (ended,) = seen.of(WaitEnded)
    assert ended.job is None
    assert ended.error is error


async def test_a_cancelled_request_is_told(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job([(0, "RUNNING")], latency=100)
    async with service.client(hooks=[seen]) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await client.get(job_id)
    (request,) = seen.of(RequestFinished)
    assert (request.status, request.error) == (None, "CancelledError")
    assert request.seconds == pytest.approx(5, abs=0.1)
    assert isinstance(seen.of(CallEnded)[0].error, asyncio.CancelledError)


async def test_a_request_without_a_connection_is_told(seen: Seen) -> None:
    port = refused_port()
    async with FineTuneClient(
        KEY, base_url=f"http://127.0.0.1:{port}", hooks=[seen], retry=RetryPolicy(attempts=1)
    ) as client:
        with pytest.raises(APIConnectionError):
            await client.get("ft-1")
    assert [(event.port, event.error) for event in seen.of(RequestFinished)] == [
        (port, "APIConnectionError")
    ]


# --- hooks are guests -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), asyncio.CancelledError()], ids=repr)
async def test_a_hook_that_raises_is_logged_once_and_harms_nobody(
    error: BaseException, service: Simulator, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Event) -> None:
        raise error

    job_id = service.add_job([(0, "RUNNING"), (50, "SUCCEEDED")], faults=[Fault.reset()] * 3)
    with caplog.at_level(logging.WARNING, "dashscope_ft_async"):
        async with service.client(hooks=[broken, seen]) as client:
            assert (await client.wait_for_terminal(job_id)).status is JobStatus.SUCCEEDED
            await client.get(job_id)
    told = [record for record in caplog.records if "hook" in record.message]
    assert [record.message for record in told] == ["a hook raised on WaitStarted; logged once per hook"]
    assert told[0].exc_info is not None
    assert {"WaitEnded", "CallEnded"} < set(seen.kinds())


async def test_events_are_frozen_and_hold_no_key(service: Simulator, seen: Seen) -> None:
    job_id = service.add_job(faults=[Fault.error(429, "Throttling", KEY), Fault.error(500, KEY)])
    async with service.client(hooks=[seen]) as client:
        await client.wait_for_terminal(job_id)
        await client.get(job_id)
        with pytest.raises(NotFoundError):
            await client.get("ft-not-there")
    assert {event.__class__ for event in seen} == {
        CallStarted,
        CallEnded,
        RequestFinished,
        Retrying,
        PollFailed,
        Throttled,
        StatusChanged,
        WaitStarted,
        WaitEnded,
    }
    assert KEY not in repr(list(seen))
    for event in seen:
        with pytest.raises(AttributeError):
            event.job_id = "other"  # type: ignore[misc,union-attr]  # pyright: ignore


@pytest.mark.parametrize(
    ("hooks", "complaint"),
    [
        (3, "list of callables"),
        ([3], "must be callable, which int is not"),
        (print, "list of callables"),
        ([test_events_are_frozen_and_hold_no_key], "plain function"),
    ],
    ids=["number", "list of numbers", "bare function", "coroutine function"],
)
def test_what_is_no_hook_is_refused(hooks: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        FineTuneClient(KEY, hooks=hooks)


async def test_without_hooks_events_of_requests_and_waits_are_not_built(
    service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    for kind in (CallStarted, CallEnded, RequestFinished, WaitStarted, WaitEnded):

        def counted(_: object, name: str = kind.__name__, **__: object) -> None:
            built.append(name)

        monkeypatch.setattr(kind, "__init__", counted)
    job_id = service.add_job(faults=[Fault.error(429, "Throttling"), Fault.reset()])
    await client.wait_for_terminal(job_id)
    await client.get(job_id)
    assert built == []


class Broken(logging.Handler):
    """A log handler that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(record.getMessage())


@pytest.mark.looptime
async def test_a_log_handler_that_raises_costs_no_wait(service: Simulator) -> None:
    """A status change left its wait hanging after one GET, and the heartbeat stopped the timer."""
    logger = logging.getLogger("dashscope_ft_async")
    handler, level = Broken(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with service.client() as client:
            ids = [service.add_job([(0, "RUNNING"), (200 + n, "SUCCEEDED")]) for n in range(5)]
            ended = await client.wait_many(ids)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

    assert {job.status for job in ended.values()} == {JobStatus.SUCCEEDED}


async def test_an_unknown_status_and_unreadable_rows_are_told_to_hooks(
    service: Simulator, seen: Seen
) -> None:
    job_id = service.add_job([(0, "PAUSED")])
    async with service.client(hooks=[seen]) as client:
        await client.get(job_id)

    assert [event.job.raw_status for event in seen if isinstance(event, UnknownStatus)] == ["PAUSED"]
