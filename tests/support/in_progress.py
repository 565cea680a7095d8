"""Everything that may be under way in a client, each brought about over loopback and held there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from tenacity import wait_fixed

from dashscope_ft_async import FineTuneClient, FineTuneJob, RetryPolicy
from tests.conftest import KEY
from tests.support.adversary import (
    JOB_ID,
    Adversary,
    Answer,
    good,
    head,
    job_body,
    swallowing_port,
    then_silent,
    whole,
)
from tests.support.event_loops import turns, until

RUNNING = whole(job_body("RUNNING"))
CROWD = [JOB_ID, *(f"ft-{number}" for number in range(2, 14))]


@attrs.define
class Scene:
    """A client in the middle of something."""

    client: FineTuneClient
    server: Adversary
    in_callback: bool = False
    let_go: asyncio.Event = attrs.Factory(asyncio.Event)
    """Ends the callback."""
    seen: int = 0
    """Results and snapshots that came already."""
    tasks: list[asyncio.Task[Any]] = attrs.Factory(list[asyncio.Task[Any]])
    """Those who wait; the first is the one to cancel."""

    def polling(self, requests: int = 1) -> bool:
        return len(self.server.heads) >= requests

    def asleep(self) -> bool:
        stats = self.client.stats()
        return self.polling() and stats.waits > 0 and stats.in_flight == stats.queued == 0

    async def callback(self, _: FineTuneJob) -> None:
        self.in_callback = True
        await self.let_go.wait()

    async def read_completed(self) -> None:
        async for ended in self.client.as_completed(CROWD[:2]):
            await ended
            self.seen += 1

    async def read_changes(self) -> None:
        async for _ in self.client.watch(JOB_ID):
            self.seen += 1


@attrs.frozen
class Point:
    """What the server answers, who waits, and how one knows that it has come so far."""

    answers: tuple[Answer, ...]
    begin: Callable[[Scene], Sequence[Coroutine[Any, Any, Any]]]
    reached: Callable[[Scene], object]


def wait(scene: Scene) -> list[Coroutine[Any, Any, Any]]:
    return [scene.client.wait_for_terminal(JOB_ID)]


POINTS = {
    "connecting": Point((), wait, lambda scene: scene.client.stats().in_flight == 1),
    "waiting for headers": Point((then_silent(),), wait, Scene.polling),
    "in the headers": Point((then_silent(b"HTTP/1.1 200 OK\r\nCont"),), wait, Scene.polling),
    "reading the body": Point((then_silent(head(length=99) + b"{"),), wait, Scene.polling),
    "asleep between polls": Point((RUNNING,), wait, Scene.asleep),
    "back-off": Point((whole(b"", "500 Oh"),), wait, Scene.asleep),
    "the gate is shut": Point(
        (whole(b'{"code": "Throttling"}', "429 Slow", retry_after="100"),), wait, Scene.asleep
    ),
    "queued behind the gate": Point(
        (then_silent(),),
        lambda scene: [scene.client.wait_for_terminal(each) for each in ("ft-2", JOB_ID)][::-1],
        Scene.polling,
    ),
    "in on_update": Point(
        (RUNNING,),
        lambda scene: [scene.client.wait_for_terminal(JOB_ID, on_update=scene.callback)],
        lambda scene: scene.in_callback,
    ),
    "sharing a poll": Point((then_silent(),), lambda scene: wait(scene) + wait(scene), Scene.polling),
    "the last poll": Point(
        (then_silent(),), lambda scene: [scene.client.wait_for_terminal(JOB_ID, timeout=0)], Scene.polling
    ),
    "sweeping": Point(
        (then_silent(),),
        lambda scene: [scene.client.wait_for_terminal(each) for each in CROWD],
        lambda scene: any("page_no" in each for each in scene.server.heads),
    ),
    "as_completed half read": Point(
        (good, then_silent()),
        lambda scene: [scene.read_completed()],
        lambda scene: scene.seen and scene.polling(2),
    ),
    "watch half read": Point(
        (RUNNING,), lambda scene: [scene.read_changes()], lambda scene: scene.seen and scene.asleep()
    ),
    "wait_many": Point(
        (good, then_silent()),
        lambda scene: [scene.client.wait_many(CROWD[:2])],
        lambda scene: scene.polling(2),
    ),
    "a single get": Point((then_silent(),), lambda scene: [scene.client.get(JOB_ID)], Scene.polling),
    "a single get between two tries": Point(
        (whole(b"", "500 Oh"),), lambda scene: [scene.client.get(JOB_ID)], Scene.polling
    ),
}


@asynccontextmanager
async def scene_at(name: str) -> AsyncGenerator[Scene, None]:
    """The scene, once it has come to this point."""
    point = POINTS[name]
    async with Adversary(*point.answers, *(() if point.answers else (good,))) as server:
        with swallowing_port() as swallowing:
            url = server.base_url if point.answers else f"http://127.0.0.1:{swallowing}"
            retry = RetryPolicy(wait=wait_fixed(60))
            async with FineTuneClient(KEY, base_url=url, retry=retry) as client:
                scene = Scene(client, server)
                scene.tasks = [asyncio.create_task(each) for each in point.begin(scene)]
                await until(lambda: point.reached(scene))
                await turns()
                yield scene
                for task in scene.tasks:
                    task.cancel()
                await asyncio.gather(*scene.tasks, return_exceptions=True)
