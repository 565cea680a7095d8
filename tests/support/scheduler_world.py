"""A hub with a fake service of ten lines: no HTTP, so that instants can be asserted exactly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from dashscope_ft_async import FineTuneJob, JobStatus, PollPolicy, RetryPolicy, WatchState
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.journal import Journal
from dashscope_ft_async._api.wire import Row, ScannedPage
from dashscope_ft_async._engine.scheduler import Hub
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.policy import WaitPolicy, WaitState

Answer: TypeAlias = FineTuneJob | Exception
Listing: TypeAlias = Callable[[int, float], ScannedPage | Exception]
"""Number of the page and seconds since the start, to what asking for it brings."""
Script: TypeAlias = Callable[[str, int, float], Answer]
"""Job id, number of the poll (from 0) and seconds since the start, to what the poll brings."""


def job(job_id: str, status: JobStatus = JobStatus.RUNNING, **fields: object) -> FineTuneJob:
    given: Mapping[str, object] = {"job_id": job_id, "status": status, "raw_status": str(status)} | fields
    return FineTuneJob(**given)  # type: ignore[arg-type]


def saved(wait: Wait) -> WatchState:
    return WatchState(job_id=wait.watch.job_id, base_url="http://127.0.0.1", started=datetime.now(UTC))


class World:
    """The hub, its gate, and what was asked when. Jitter is the middle (none) unless told otherwise."""

    def __init__(
        self,
        script: Script,
        *,
        latency: float = 0.0,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        width: int = 32,
        u: float | Callable[[], float] = 0.5,
        listing: Listing | None = None,
        page_latency: float = 0.0,
        max_rate: float | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.asked: list[tuple[float, str]] = []
        self._count: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self.retry = retry or RetryPolicy()
        self.policy = WaitPolicy(poll or PollPolicy(jitter=0.0), self.retry, 30.0)
        self.gate = Gate(self.retry, width, max_rate)
        self.list_gate = Gate(self.retry, width, max_rate)
        self.pages: list[tuple[float, int]] = []
        self.page_latency = page_latency
        self._listing = listing
        self.hub = Hub(
            self._fetch,
            self.gate,
            Journal(),
            save=saved,
            fetch_page=None if listing is None else self._fetch_page,
            list_gate=self.list_gate,
            uniform=u if callable(u) else lambda: u,
        )
        self._script = script
        self.latency = latency

    @property
    def now(self) -> float:
        return self.loop.time() - self.started

    async def _fetch(self, job_id: str) -> FineTuneJob:
        number = self._count[job_id]
        self._count[job_id] += 1
        self.asked.append((round(self.now, 3), job_id))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
        finally:
            self.under_way -= 1
        answer = self._script(job_id, number, self.now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _fetch_page(self, number: int) -> ScannedPage:
        self.pages.append((round(self.now, 3), number))
        if self.page_latency:
            await asyncio.sleep(self.page_latency)
        assert self._listing is not None
        answer = self._listing(number, self.now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def times(self, job_id: str) -> list[float]:
        return [at for at, asked in self.asked if asked == job_id]

    def enter(self, job_id: str, *, timeout: float | None = None, poll: PollPolicy | None = None) -> Wait:
        policy = self.policy if poll is None else WaitPolicy(poll, self.retry, 30.0)
        deadline = None if timeout is None else self.loop.time() + timeout
        return self.hub.wait(job_id, policy, WaitState(self.loop.time(), deadline))

    async def wait(
        self, job_id: str, *, timeout: float | None = None, poll: PollPolicy | None = None
    ) -> FineTuneJob:
        with self.enter(job_id, timeout=timeout, poll=poll) as wait:
            return await wait.ended


def ends_at(seconds: float, status: JobStatus = JobStatus.SUCCEEDED) -> Script:
    """Every job runs until `seconds`, and then has ended."""
    return lambda job_id, _, now: job(job_id, status if now >= seconds else JobStatus.RUNNING)


def answers(*script: Answer | None) -> Script:
    """The polls of each job bring these, one after another; `None` is a good answer, as is the rest."""

    def at(job_id: str, number: int, _: float) -> Answer:
        answer = script[number] if number < len(script) else job(job_id, JobStatus.SUCCEEDED)
        return job(job_id) if answer is None else answer

    return at


async def outcomes(waits: Sequence[asyncio.Future[FineTuneJob]]) -> list[FineTuneJob | BaseException]:
    return await asyncio.gather(*waits, return_exceptions=True)


def page_of(jobs: Sequence[FineTuneJob], number: int, size: int = 100) -> ScannedPage:
    """Page `number` of these jobs, as the list shows them."""
    by_id = {each.job_id: each for each in jobs}

    def read(raw: Mapping[str, object]) -> FineTuneJob:
        return by_id[str(raw["job_id"])]

    rows = [
        Row({"job_id": each.job_id, "status": each.raw_status, "usage": each.usage}, read)
        for each in jobs[(number - 1) * size : number * size]
    ]
    return ScannedPage(size, len(jobs), tuple(rows))


def truthful(job_ids: Sequence[str], script: Script, size: int = 100) -> Listing:
    """A list that says what the jobs themselves say."""

    def listing(number: int, now: float) -> ScannedPage:
        told = [script(job_id, 0, now) for job_id in job_ids]
        return page_of([each for each in told if isinstance(each, FineTuneJob)], number, size)

    return listing
