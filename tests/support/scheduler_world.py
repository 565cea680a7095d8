"""A scheduler with a fake service of a few lines: no HTTP, so that instants can be asserted exactly."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

from dashscope_ft_async import FineTuneJob, JobStatus, PollPolicy, RetryPolicy, WatchState
from dashscope_ft_async._api.calls import Call, list_page
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.runner import Runner
from dashscope_ft_async._api.wire import Response, Row, ScannedPage
from dashscope_ft_async._engine.scheduler import Coalesce, Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.errors import APIError, APITimeoutError
from dashscope_ft_async.hooks import Hook
from dashscope_ft_async.models.limits import PAGE_TIMEOUT
from dashscope_ft_async.policy import WaitPolicy, WaitState

Answer: TypeAlias = FineTuneJob | Exception
PlainListing: TypeAlias = Callable[[int, float], ScannedPage | Exception]
SizedListing: TypeAlias = Callable[[int, float, int], ScannedPage | Exception]
Listing: TypeAlias = PlainListing | SizedListing
"""Number of the page, seconds since the start, and (if it takes it) the page size asked for, to what the
request brings."""
Script: TypeAlias = Callable[[str, int, float], Answer]
"""Job id, number of the poll (from 0) and seconds since the start, to what the poll brings."""


def job(job_id: str, status: JobStatus = JobStatus.RUNNING, **fields: object) -> FineTuneJob:
    given: Mapping[str, object] = {"job_id": job_id, "status": status, "raw_status": str(status)} | fields
    if status is JobStatus.SUCCEEDED:
        given = {"finetuned_output": f"model-{job_id}"} | dict(given)
    return FineTuneJob(**given)  # type: ignore[arg-type]


def saved(job_id: str, state: WaitState, last_job: FineTuneJob | None) -> WatchState:
    return WatchState(
        job_id=job_id,
        base_url="http://127.0.0.1",
        started=datetime.now(UTC),
        last_status=None if last_job is None else last_job.raw_status,
    )


class FakeRow(Row):
    """A row that is read by a function of the test."""

    def __init__(self, raw: Mapping[str, object], read: Callable[[Any], object]) -> None:
        super().__init__(dict(raw), (Response(200, {}, b""), None))
        self._values, self._read = raw, read

    def job(self) -> FineTuneJob:
        found = self._read(self._values)
        assert isinstance(found, FineTuneJob)
        return found


class FakeRunner:
    """Takes the place of `Runner`: no HTTP, the gates are real."""

    def __init__(
        self,
        retry: RetryPolicy,
        width: int,
        max_rate: float | None,
        fetch: Callable[[Call[Any]], Any],
        uniform: Callable[[], float],
    ) -> None:
        self.gate = Gate(retry, width, max_rate)
        self.list_gate = Gate(retry, width, max_rate)
        self.requests = 0
        self._fetch = fetch
        self._uniform = uniform

    async def attempt(self, call: Call[Any], number: int | None = None) -> Any:
        loop = asyncio.get_running_loop()
        self.requests += 1
        began = loop.time()
        outcome: object
        try:
            outcome = await self._fetch(call)
        except APIError as error:
            outcome = error
        gate = self.list_gate if call.lists else self.gate
        gate.report(outcome, began=began, now=loop.time(), u=self._uniform())
        if isinstance(outcome, APIError):
            raise outcome
        return outcome

    async def list_page(self, page_no: int, page_size: int) -> ScannedPage:
        try:
            async with asyncio.timeout(PAGE_TIMEOUT):
                page: ScannedPage = await self.attempt(list_page(page_no, page_size))
                return page
        except APIError:
            raise
        except TimeoutError as slow:
            raise APITimeoutError("slow") from slow


class World:
    """The scheduler, its gates, and what was requested when. Jitter is the middle (none) by default."""

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
        coalesce: Coalesce = True,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.asked: list[tuple[float, str]] = []
        self._count: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.retry = retry or RetryPolicy()
        self.policy = WaitPolicy(poll or PollPolicy(jitter=0.0), self.retry, 30.0)
        uniform = u if callable(u) else lambda: u
        self.runner = FakeRunner(self.retry, width, max_rate, self._fetch, uniform)
        self.gate = self.runner.gate
        self.list_gate = self.runner.list_gate
        self.pages: list[tuple[float, int]] = []
        self.page_sizes: list[int] = []
        self.page_latency = page_latency
        self._listing = listing
        self._sized = listing is not None and len(inspect.signature(listing).parameters) > 2
        self.scheduler = Scheduler(
            cast("Runner", self.runner),
            EventStream(hooks),
            save=saved,
            coalesce=coalesce if listing is not None else False,
            uniform=uniform,
        )
        self._script = script
        self.latency = latency

    @property
    def now(self) -> float:
        return self.loop.time() - self.started

    async def _fetch(self, call: Call[Any]) -> FineTuneJob | ScannedPage:
        if call.lists:
            query = parse_qs(urlsplit(call.request.path).query)
            return await self._fetch_page(int(query["page_no"][0]), int(query["page_size"][0]))
        return await self._fetch_job(str(call.job_id))

    async def _fetch_job(self, job_id: str) -> FineTuneJob:
        number = self._count[job_id]
        self._count[job_id] += 1
        self.asked.append((round(self.now, 3), job_id))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        answer = self._script(job_id, number, self.now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _fetch_page(self, number: int, size: int) -> ScannedPage:
        self.pages.append((round(self.now, 3), number))
        self.page_sizes.append(size)
        if self.page_latency:
            await asyncio.sleep(self.page_latency)
        assert self._listing is not None
        if self._sized:
            answer = cast("SizedListing", self._listing)(number, self.now, size)
        else:
            answer = cast("PlainListing", self._listing)(number, self.now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def times(self, job_id: str) -> list[float]:
        return [at for at, asked in self.asked if asked == job_id]

    def enter(self, job_id: str, *, timeout: float | None = None, poll: PollPolicy | None = None) -> Wait:
        """Begin a wait; `leave` it, or use `entered`."""
        policy = self.policy if poll is None else WaitPolicy(poll, self.retry, 30.0)
        deadline = None if timeout is None else self.loop.time() + timeout
        return self.scheduler.add(job_id, policy, WaitState(self.loop.time(), deadline))

    def leave(self, *waits: Wait) -> None:
        for wait in waits:
            self.scheduler.remove(wait)

    @contextmanager
    def entered(
        self, job_id: str, *, timeout: float | None = None, poll: PollPolicy | None = None
    ) -> Generator[Wait]:
        wait = self.enter(job_id, timeout=timeout, poll=poll)
        try:
            yield wait
        finally:
            self.leave(wait)

    async def wait(
        self, job_id: str, *, timeout: float | None = None, poll: PollPolicy | None = None
    ) -> FineTuneJob:
        with self.entered(job_id, timeout=timeout, poll=poll) as wait:
            ended: FineTuneJob = await wait.ended
            return ended


async def changes(wait: Wait) -> AsyncIterator[FineTuneJob]:
    while (snapshot := await wait.next_change()) is not None:
        yield snapshot


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


def page_of(jobs: Sequence[FineTuneJob], number: int, size: int) -> ScannedPage:
    """Page `number` of these jobs, as the list shows them."""
    by_id = {each.job_id: each for each in jobs}

    def read(raw: Mapping[str, object]) -> FineTuneJob:
        return by_id[str(raw["job_id"])]

    rows = [
        FakeRow({"job_id": each.job_id, "status": each.raw_status, "usage": each.usage}, read)
        for each in jobs[(number - 1) * size : number * size]
    ]
    return ScannedPage(size, len(jobs), tuple(rows))


def truthful(job_ids: Sequence[str], script: Script) -> SizedListing:
    """A list that shows what the jobs' own answers show."""

    def listing(number: int, now: float, size: int) -> ScannedPage:
        shown = [script(job_id, 0, now) for job_id in job_ids]
        return page_of([each for each in shown if isinstance(each, FineTuneJob)], number, size)

    return listing
