"""A scheduler whose service answers only when a test says so, in a loop whose clock a test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

import attrs
import orjson

from dashscope_ft_async import DashScopeFTError, FineTuneJob, PollPolicy, RetryPolicy
from dashscope_ft_async._api.config import Settings
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.runner import Runner
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.wire import Request, Response, decode_job
from dashscope_ft_async._engine.completion import follow
from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.models.limits import AGREEMENTS_FOR_PROOF
from dashscope_ft_async.policy import WaitPolicy, WaitState
from tests.support.scheduler_world import saved

Reply: TypeAlias = Response | DashScopeFTError
POLICY = WaitPolicy(PollPolicy(), RetryPolicy(), 30.0)
_TURNS = 12
"""Iterations of the loop after which nothing happens any more without an answer or a timer."""


class StillLoop(asyncio.SelectorEventLoop):
    """Its time stands still between two calls of `pass_time` or `jump`."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def settle(self) -> None:
        """Let everything run that needs no time."""

        async def turns() -> None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        self.run_until_complete(turns())

    def pass_time(self, seconds: float) -> None:
        """Move the clock; each timer fires at its time."""
        until = self._now + seconds
        self.settle()
        fired = 0
        while timers := [when for when in self.timers() if when <= until]:
            self._now = max(self._now, min(timers))
            self.settle()
            fired += 1
            assert fired < 1000, "a timer is set again and again for the same time"
        self._now = until
        self.settle()

    def jump(self, seconds: float) -> None:
        """Move the clock as after a suspended machine's sleep: all that was due meanwhile is due now."""
        self._now += seconds
        self.settle()

    def timers(self) -> Sequence[float]:
        """The times for which a timer is set."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [timer.when() for timer in scheduled if not timer.cancelled()]


@attrs.define(eq=False)
class Caller:
    """A caller of `FineTuneClient.wait_for_terminal` with a callback."""

    job_id: str
    deadline: float | None
    given_up: bool = False
    updates: list[FineTuneJob] = attrs.Factory(list[FineTuneJob])
    ends: int = 0
    was_shown: bool = True
    """Whether the end that it got had been shown by a GET, or by a page of a proven list."""
    wait: Wait | None = None
    task: asyncio.Task[FineTuneJob] | None = None

    def is_undecided(self) -> bool:
        """Whether it has no end yet, be it one that its callback still holds up."""
        return self.wait is not None and not self.wait.ended.done()

    def cancel(self) -> None:
        """Cancel the caller, as a timeout around its wait would."""
        assert self.task is not None
        self.given_up = self.task.cancel() or self.given_up

    def outcome(self) -> FineTuneJob | BaseException:
        assert self.task is not None
        error = self.task.exception()
        return self.task.result() if error is None else error


class World:
    """A scheduler over a session that keeps every request until a test answers it."""

    def __init__(self, *, listed: bool, seed: int) -> None:
        self.loop = StillLoop()
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.polls: dict[str, asyncio.Future[Reply]] = {}
        self.pages: dict[tuple[int, int], asyncio.Future[Reply]] = {}
        """By number and size."""
        self.callers: list[Caller] = []
        self.statuses: dict[str, str] = {}
        """The true status of each job, the newest job last."""
        self.double_polls: list[str] = []
        self.closed = False
        self._shown_by_gets: set[tuple[str, str]] = set()
        self._shown_by_pages: set[tuple[str, str]] = set()
        self._confirmations = 0
        self._list_state = "unproven"
        self.scheduler = self.run(self._made(listed, seed))

    async def _made(self, listed: bool, seed: int) -> Scheduler:
        settings = SimpleNamespace(base_url="http://127.0.0.1/api/v1", described_url="http://127.0.0.1")
        events = EventStream()
        runner = Runner(cast("Session", self), cast("Settings", settings), POLICY.retry, events, None)
        uniform = random.Random(seed).random
        return Scheduler(runner, events, save=saved, coalesce=listed, uniform=uniform)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # --- the service ------------------------------------------------------------------------------------

    async def send(self, request: Request, *, fresh: bool) -> Response:
        """Take the place of `Session.send`."""
        if request.job_id is not None:
            if request.job_id in self.polls:
                self.double_polls.append(request.job_id)
            return await self._answer_to(self.polls, request.job_id)
        query = parse_qs(urlsplit(request.path).query)
        return await self._answer_to(self.pages, (int(query["page_no"][0]), int(query["page_size"][0])))

    async def _answer_to(self, requests: dict[Any, asyncio.Future[Reply]], key: Any) -> Response:
        requests[key] = self.loop.create_future()
        try:
            reply = await requests[key]
        finally:
            del requests[key]
        if isinstance(reply, DashScopeFTError):
            raise reply
        return reply

    def answer_poll(self, job_id: str, reply: Reply) -> None:
        """Answer the poll of a job, and let everybody act on it."""
        self._list_state = self.list_state
        if isinstance(reply, Response):
            try:
                job = decode_job(reply, job_id)
            except DashScopeFTError:
                pass
            else:
                end = (job_id, job.raw_status)
                self._confirmations += job.is_terminal and end in self._shown_by_pages
                self._shown_by_gets.add(end)
        self.polls[job_id].set_result(reply)
        self.loop.settle()

    def answer_page(self, page: tuple[int, int], reply: Reply | Sequence[tuple[str, str]]) -> None:
        """Answer a page with its slice of a list of jobs and statuses, or with something else."""
        self._list_state = self.list_state
        if not isinstance(reply, Response | DashScopeFTError):
            number, size = page
            rows = reply[(number - 1) * size : number * size]
            self._shown_by_pages.update(rows)
            reply = Response(200, {}, page_body(rows, number, size, len(reply)))
        self.pages[page].set_result(reply)
        self.loop.settle()

    @property
    def list_state(self) -> str:
        state: str = self.scheduler.stats().list_state
        return state

    def _may_end_with(self, job_id: str, status: str) -> bool:
        """Whether a GET showed this end, or a page of a list whose ends enough GETs have confirmed."""
        end = (job_id, status)
        if end in self._shown_by_gets:
            return True
        trusted = {"proven", "unavailable"} & {self._list_state, self.list_state}
        proven = self._confirmations >= AGREEMENTS_FOR_PROOF and bool(trusted)
        return proven and end in self._shown_by_pages

    # --- callers ----------------------------------------------------------------------------------------

    def call(
        self,
        job_id: str,
        timeout: float | None,
        on_update: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """A caller begins to wait for a job."""
        self.statuses.setdefault(job_id, "RUNNING")
        caller = Caller(job_id, None if timeout is None else self.loop.time() + timeout)

        async def updated(job: FineTuneJob) -> None:
            caller.updates.append(job)
            if job.is_terminal:
                caller.was_shown = self._may_end_with(job_id, job.raw_status)
            if on_update is not None:
                await on_update()

        async def wait() -> FineTuneJob:
            begin = WaitState(self.loop.time(), caller.deadline)
            caller.wait = entered = self.scheduler.add(job_id, POLICY, begin)
            try:
                return await follow(entered, updated)
            finally:
                self.scheduler.remove(entered)

        def ended(_: object) -> None:
            caller.ends += 1

        caller.task = self.loop.create_task(wait())
        caller.task.add_done_callback(ended)
        self.callers.append(caller)

    @property
    def pending(self) -> list[Caller]:
        return [each for each in self.callers if each.task is not None and not each.task.done()]

    def close(self) -> None:
        """Close the scheduler; nothing of it may be left when this returns."""
        self.closed = True
        self.run(self.scheduler.close())
        self.loop.settle()


def body(output: object) -> bytes:
    return orjson.dumps({"request_id": "r-1", "output": output})


def page_body(rows: Sequence[tuple[str, str]], number: int, size: int, total: int) -> bytes:
    """A page of the list, as the service sends it."""
    jobs = [{"job_id": job_id, "status": status} for job_id, status in rows]
    return body({"page_no": number, "page_size": size, "total": total, "jobs": jobs})
