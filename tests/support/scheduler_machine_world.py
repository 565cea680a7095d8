"""A hub whose service answers only when it is told to, in a loop whose clock only moves when told to."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
from dashscope_ft_async._api.journal import Journal

from dashscope_ft_async import DashScopeFTError, FineTuneJob, PollPolicy, RetryPolicy
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.wire import Response, ScannedPage, decode_job, decode_page, scan_page
from dashscope_ft_async._engine.completion import follow
from dashscope_ft_async._engine.scheduler import Hub
from dashscope_ft_async.policy import WaitPolicy, WaitState
from tests.support.scheduler_world import saved

Reply: TypeAlias = Response | DashScopeFTError
POLICY = WaitPolicy(PollPolicy(), RetryPolicy(), 30.0)
WIDTH = 4
PAGE_SIZE = 15  # more than the ten due jobs that make a page worth its request
# Two rounds of one gate width, a settled gather and the callbacks between them need fewer.
_TURNS = 12


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
        """Each timer fires at its time."""
        until = self._now + seconds
        self.settle()
        fired = 0
        while timers := [timer.when() for timer in self._timers() if timer.when() <= until]:
            self._now = max(self._now, min(timers))
            self.settle()
            fired += 1
            assert fired < 1000, "time stands still: a timer is set again and again for now"
        self._now = until
        self.settle()

    def jump(self, seconds: float) -> None:
        """As after a suspended machine's sleep: all that was due meanwhile is due now."""
        self._now += seconds
        self.settle()

    def _timers(self) -> Sequence[asyncio.TimerHandle]:
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [timer for timer in scheduled if not timer.cancelled()]


@attrs.define(eq=False)
class Waiter:
    """Someone who waits as `FineTuneClient.wait_for_terminal` does."""

    job_id: str
    deadline: float | None
    given_up: bool = False
    told: list[FineTuneJob] = attrs.Factory(list[FineTuneJob])
    ends: int = 0
    task: asyncio.Task[FineTuneJob] | None = None

    def outcome(self) -> FineTuneJob | BaseException:
        assert self.task is not None
        error = self.task.exception()
        return self.task.result() if error is None else error


class World:
    """The hub, those who wait, and requests that hang until they are answered."""

    def __init__(self, *, listed: bool, seed: int) -> None:
        self.loop = StillLoop()
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.polls: dict[str, asyncio.Future[Reply]] = {}
        self.pages: dict[int, asyncio.Future[Reply]] = {}
        self.waiters: list[Waiter] = []
        self.statuses: dict[str, str] = {}
        """What each job is in truth, the newest last."""
        self.ends_told: set[tuple[str, str]] = set()
        """Every end that any answer showed."""
        self.double_flights: list[str] = []
        self.closed = False
        self.hub = self.run(self._made(listed, seed))

    async def _made(self, listed: bool, seed: int) -> Hub:
        return Hub(
            self._fetch,
            Gate(POLICY.retry, WIDTH),
            Journal(),
            save=saved,
            fetch_page=self._fetch_page if listed else None,
            list_gate=Gate(POLICY.retry, WIDTH),
            uniform=random.Random(seed).random,
        )

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # --- the service ------------------------------------------------------------------------------------

    async def _fetch(self, job_id: str) -> FineTuneJob:
        if job_id in self.polls:
            self.double_flights.append(job_id)
        return decode_job(await self._asked(self.polls, job_id), job_id)

    async def _fetch_page(self, number: int) -> ScannedPage:
        return scan_page(await self._asked(self.pages, number), PAGE_SIZE)

    async def _asked(self, desk: dict[Any, asyncio.Future[Reply]], what: Any) -> Response:
        desk[what] = self.loop.create_future()
        try:
            reply = await desk[what]
        finally:
            del desk[what]
        if isinstance(reply, DashScopeFTError):
            raise reply
        return reply

    def reply(self, asked: asyncio.Future[Reply], reply: Reply) -> None:
        """Answer a request that hangs, and let everybody act on it."""
        if isinstance(reply, Response):
            self._note_ends(reply)
        asked.set_result(reply)
        self.loop.settle()

    def _note_ends(self, reply: Response) -> None:
        for decode in (lambda: [decode_job(reply, _id_in(reply))], lambda: decode_page(reply, 1, 9).jobs):
            try:
                jobs = decode()
            except DashScopeFTError:
                continue
            self.ends_told |= {(job.job_id, job.raw_status) for job in jobs if job.is_terminal}

    # --- those who wait ---------------------------------------------------------------------------------

    def watch(
        self, job_id: str, timeout: float | None, on_update: Callable[..., Any] | None = None
    ) -> None:
        """Someone begins to wait."""
        self.statuses.setdefault(job_id, "RUNNING")
        waiter = Waiter(job_id, None if timeout is None else self.loop.time() + timeout)

        async def wait() -> FineTuneJob:
            async def told(job: FineTuneJob) -> None:
                waiter.told.append(job)
                if on_update is not None:
                    await on_update()

            begin = WaitState(self.loop.time(), waiter.deadline)
            with self.hub.wait(job_id, POLICY, begin) as entered:
                return await follow(entered, told)

        def ended(_: object) -> None:
            waiter.ends += 1

        waiter.task = self.loop.create_task(wait())
        waiter.task.add_done_callback(ended)
        self.waiters.append(waiter)

    @property
    def pending(self) -> list[Waiter]:
        return [each for each in self.waiters if each.task is not None and not each.task.done()]

    def close(self) -> None:
        """Close the hub; nothing of it may be left when this returns."""
        self.closed = True
        self.run(self.hub.close())
        self.loop.settle()


def _id_in(reply: Response) -> str:
    try:
        return str(json.loads(reply.body)["output"]["job_id"])
    except (ValueError, LookupError, TypeError):
        return "?"


def body(output: object) -> bytes:
    return json.dumps({"request_id": "r-1", "output": output}).encode()


def page_body(rows: Sequence[tuple[str, str]], number: int, total: int) -> bytes:
    """A page of the list, as the service sends it."""
    jobs = [{"job_id": job_id, "status": status} for job_id, status in rows]
    return body({"page_no": number, "page_size": PAGE_SIZE, "total": total, "jobs": jobs})
