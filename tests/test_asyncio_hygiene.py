"""What an asyncio program may expect: prompt cancelling anywhere, safe closing, no blocking, any loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx
from tenacity import wait_none

from dashscope_ft_async import ClientClosedError, FineTuneClient, FineTuneJob, PollPolicy, RetryPolicy
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY
from tests.support.adversary import JOB_ID, Adversary, Answer, good, hang_up, whole
from tests.support.event_loops import LOOPS, Suspensions, nothing_left, turns, until
from tests.support.in_progress import CROWD, POINTS, RUNNING, scene_at

PROMPT = 0.5
"""Seconds, on a busy machine; it takes two turns of the loop."""
QUICK = PollPolicy(initial=0.002, multiplier=1, max_interval=0.002)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Runs in each event loop there is, this one apart."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as made:
        yield made


# --- cancelling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POINTS)
async def test_cancelling_at_any_point_is_prompt_and_touches_no_other(name: str) -> None:
    async with nothing_left(), scene_at(name) as scene:
        [victim, *others] = scene.tasks

        victim.cancel()
        async with asyncio.timeout(PROMPT):
            with pytest.raises(asyncio.CancelledError):
                await victim

        assert victim.cancelled()
        await turns()
        assert not any(task.done() for task in others)


@pytest.mark.parametrize("name", POINTS)
async def test_cancelling_while_the_client_closes_is_prompt(name: str) -> None:
    async with nothing_left(), scene_at(name) as scene:
        closing = asyncio.create_task(scene.client.close())
        await asyncio.sleep(0)

        scene.tasks[0].cancel()
        scene.let_go.set()
        async with asyncio.timeout(PROMPT):
            await closing
            ended = await asyncio.gather(*scene.tasks, return_exceptions=True)

        assert {type(each) for each in ended} <= {asyncio.CancelledError, ClientClosedError}


async def watched(client: FineTuneClient) -> object:
    return [job async for job in client.watch(JOB_ID, poll=QUICK)]


async def completed(client: FineTuneClient) -> object:
    return [await ended async for ended in client.as_completed([JOB_ID], poll=QUICK)]


async def slow(_: FineTuneJob) -> None:
    await asyncio.sleep(0.001)


Call: TypeAlias = Callable[[FineTuneClient], Coroutine[Any, Any, object]]
THROTTLED = whole(b'{"code": "Throttling"}', "429 Slow", retry_after_ms="2")
CALLS: dict[str, Call] = {
    "get": lambda client: client.get(JOB_ID),
    "wait": lambda client: client.wait_for_terminal(JOB_ID, poll=QUICK),
    "wait with a callback": lambda client: client.wait_for_terminal(JOB_ID, poll=QUICK, on_update=slow),
    "wait_many": lambda client: client.wait_many([JOB_ID], poll=QUICK, on_update=slow),
    "as_completed": completed,
    "watch": watched,
}


async def cancelled_at(kth: int, call: Call, *answers: Answer) -> tuple[int, bool]:
    """Suspensions counted, and whether the call was cancelled at the k-th and took it."""
    asked = False

    def cancel() -> None:
        nonlocal asked
        asked = task.cancel()

    async with nothing_left(), Adversary(*answers) as server:
        retry = RetryPolicy(wait=wait_none())
        async with FineTuneClient(KEY, base_url=server.base_url, retry=retry) as client:
            suspensions = Suspensions()
            suspensions.call_at(kth, cancel)
            task = asyncio.create_task(call(client))
            async with asyncio.timeout(PROMPT):
                await asyncio.wait({task})
            count = suspensions.count
            assert task.cancelled() is asked, f"swallowed at suspension {kth}"
            await turns()
            await server.left(1)  # the idle one; a connection cut in the middle is closed
            before = server.connections
            async with asyncio.timeout(PROMPT):
                await client.get(JOB_ID)
            assert server.connections <= before + 1 + answers.count(hang_up)
        await server.left(0)
    return count, asked


@pytest.mark.parametrize("name", CALLS)
def test_cancelling_at_each_suspension_in_turn_is_never_swallowed(
    name: str, runner: asyncio.Runner
) -> None:
    troubles = (whole(b"", "500 Oh"), hang_up)
    # A wait would be slow after a refusal: it has learned a rate.
    script = (*troubles, THROTTLED, good) if name == "get" else (RUNNING, *troubles, RUNNING, good)

    points, _ = runner.run(cancelled_at(0, CALLS[name], *script))
    taken = [runner.run(cancelled_at(kth, CALLS[name], *script))[1] for kth in range(1, points + 1)]

    assert points >= 4
    # Scheduling may shift the last few past the end of the call.
    assert taken.count(True) >= 0.8 * points


async def test_a_close_that_is_cancelled_may_be_called_again() -> None:
    async with nothing_left(), scene_at("reading the body") as scene:
        closing = asyncio.create_task(scene.client.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})

        async with asyncio.timeout(PROMPT):
            await scene.client.close()
            with pytest.raises(ClientClosedError):
                await scene.tasks[0]
        await scene.server.left(0)


# --- closing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POINTS)
async def test_closing_during_anything_ends_every_wait_and_leaves_nothing(name: str) -> None:
    async with nothing_left(), scene_at(name) as scene:
        async with asyncio.timeout(PROMPT):
            await scene.client.close()
            scene.let_go.set()
            if name != "a single get between two tries":  # it is told when its pause is over
                ended = await asyncio.gather(*scene.tasks, return_exceptions=True)
                assert {type(each) for each in ended} == {ClientClosedError}
        await scene.server.left(0)


async def test_closing_twice_at_once_is_safe() -> None:
    async with nothing_left(), scene_at("sweeping") as scene:
        async with asyncio.timeout(PROMPT):
            await asyncio.gather(scene.client.close(), scene.client.close())
            ended = await asyncio.gather(*scene.tasks, return_exceptions=True)
        assert {type(each) for each in ended} == {ClientClosedError}


# --- no blocking ------------------------------------------------------------------------------------


@pytest.fixture
def no_blocking() -> Iterator[BlockBuster]:
    """A blocking call of the package's, or of what it calls, raises."""
    with blockbuster_ctx("dashscope_ft_async") as buster:
        yield buster


async def everything(client: FineTuneClient, service: Simulator) -> list[str]:
    ids = [service.add_job([(0, "RUNNING"), (0.02, "SUCCEEDED")]) for _ in range(30)]
    await client.get(ids[0])
    await client.list()
    assert len([job async for job in client.iter_jobs(page_size=10)]) == 30
    results = await client.wait_many(ids, poll=QUICK, on_update=slow)
    async for _ in client.watch(ids[0], poll=QUICK):
        pass
    return [job.status.value for job in results.values()]


@pytest.mark.usefixtures("no_blocking")
async def test_nothing_blocks_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dashscope_ft_async")
    # Each end is confirmed by a GET, however early the list is proven.
    async with Simulator() as service, service.client(coalesce="confirm") as client:
        assert await everything(client, service) == ["SUCCEEDED"] * 30
        paths = {seen.path for seen in service.requests}
        left = asyncio.create_task(client.wait_for_terminal(service.add_job([(0, "RUNNING")])))
        await until(lambda: client.stats().waits == 1)
        await client.close()
        async with asyncio.timeout(PROMPT):
            with pytest.raises(ClientClosedError):
                await left
    assert len(paths) == 31


@pytest.mark.usefixtures("no_blocking")
async def test_a_blocking_call_in_a_callback_would_be_seen() -> None:
    async with Simulator() as service, service.client() as client:
        job_id = service.add_job([(0, "SUCCEEDED")])
        with pytest.raises(BlockingError):
            await client.wait_for_terminal(job_id, on_update=lambda _: time.sleep(0.001))


# --- company ----------------------------------------------------------------------------------------


def test_everything_runs_in_any_event_loop(runner: asyncio.Runner) -> None:
    async def main() -> list[str]:
        async with nothing_left(), Simulator() as service, service.client() as client:
            return await everything(client, service)

    assert runner.run(main()) == ["SUCCEEDED"] * 30


@pytest.mark.parametrize("name", ["asleep between polls", "reading the body", "in on_update"])
def test_points_hold_in_any_event_loop(name: str, runner: asyncio.Runner) -> None:
    runner.run(test_cancelling_at_any_point_is_prompt_and_touches_no_other(name))
    runner.run(test_closing_during_anything_ends_every_wait_and_leaves_nothing(name))


async def test_an_error_beside_it_in_a_task_group_cancels_a_wait() -> None:
    async with nothing_left(), scene_at("asleep between polls") as scene:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                scene.tasks.append(group.create_task(scene.client.wait_for_terminal("ft-2")))
                await turns()
                raise KeyError("beside")
        assert caught.group_contains(KeyError)
        assert scene.tasks[1].cancelled()
        assert not scene.tasks[0].done()


@pytest.mark.parametrize("name", ["asleep between polls", "reading the body", "connecting"])
async def test_a_timeout_around_a_wait_is_a_timeout_and_no_error_of_ours(name: str) -> None:
    async with nothing_left(), scene_at(name) as scene:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await scene.client.wait_for_terminal(JOB_ID)
        assert type(caught.value) is TimeoutError
        assert not scene.tasks[0].done()


async def test_a_cancelled_gather_cancels_all_its_waits() -> None:
    async with nothing_left(), scene_at("asleep between polls") as scene:
        waits = [asyncio.create_task(scene.client.wait_for_terminal(each)) for each in CROWD]
        together = asyncio.gather(*waits)
        await turns()
        together.cancel()
        with pytest.raises(asyncio.CancelledError):
            await together
        assert all(wait.cancelled() for wait in waits)
        await turns()
        assert scene.client.stats().waits == 1


Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Coroutine[Any, Any, dict[str, Any]]]


class Application:
    """An ASGI application: answers when the job of the path has ended, stops when its caller goes."""

    def __init__(self, service: Simulator) -> None:
        self._service = service
        self.client = service.client()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self._service.client() as self.client:
                for event in ("startup", "shutdown"):
                    assert (await receive())["type"] == f"lifespan.{event}"
                    if event == "startup":
                        await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        wait = asyncio.create_task(self.client.wait_for_terminal(scope["path"].strip("/"), poll=QUICK))
        gone = asyncio.create_task(receive())
        await asyncio.wait({wait, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (wait, gone):
            task.cancel()
        await asyncio.wait({wait, gone})
        if not wait.cancelled():
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": wait.result().status.value.encode()})


async def test_an_asgi_application_waits_for_its_callers_and_lets_them_go() -> None:
    async with nothing_left(), Simulator() as service:
        ended = service.add_job([(0, "RUNNING"), (0.01, "SUCCEEDED")])
        running = service.add_job([(0, "RUNNING")])
        app = Application(service)
        heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        told: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            told.append(message)

        async def never() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def hang_up_soon() -> dict[str, Any]:
            await until(lambda: service.polls(running))
            return {"type": "http.disconnect"}

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(app({"type": "lifespan"}, heard.get, send))
            heard.put_nowait({"type": "lifespan.startup"})
            await until(lambda: told)
            await app({"type": "http", "path": f"/{ended}"}, never, send)
            await app({"type": "http", "path": f"/{running}"}, hang_up_soon, send)
            heard.put_nowait({"type": "lifespan.shutdown"})
    assert [message["type"].partition(".")[2] for message in told] == [
        "startup.complete",
        "response.start",
        "response.body",
        "shutdown.complete",
    ]
    assert told[2]["body"] == b"SUCCEEDED"
