"""The simulated service: an aiohttp server on 127.0.0.1, in the event loop of the caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import attrs
from aiohttp import web

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.testing.actions import ACTIONS, Action, delete, fields_of_new_job
from dashscope_ft_async.testing.answers import Answer, Fault, RateLimit, SeenRequest
from dashscope_ft_async.testing.jobs import (
    DEFAULT_TIMELINE,
    LOSS_INTERVAL,
    TERMINAL,
    LogLines,
    SimulatedJob,
    Timeline,
    checked_timeline,
    log_answer,
    page_of,
)

_PATH = "/api/v1/fine-tunes"
_STREAM_INTERVAL = 0.5
"""Seconds between two looks for new lines of a streamed log."""
_TEN_YEARS = 315e6
_THROTTLED = Fault.error(429, "Throttling", "Requests throttling triggered.")


@attrs.frozen
class _Key:
    text: str = attrs.field(repr=False)


class Simulator:
    """A fine-tuning service on 127.0.0.1, in your event loop: scripted jobs, faults and throttling.

    It serves the documented endpoints below ``/api/v1/fine-tunes``: jobs are created, listed, read,
    cancelled and deleted, write logs, and have checkpoints that can be exported. It also serves the
    undocumented stream of a log, which the official SDK reads. As it runs in your event loop, it also runs
    under virtual time, where hours of polling take less than a second. For the same reason it is not made
    for load tests.

    Args:
        api_key: The only key that is accepted; by default any.
        latency: Seconds before each answer.
        rate_limit: Requests per second; further ones are answered with a 429.
        first_log_offset: Offset of the first line of a log: 0 as the service's page says, or 1.
        stream_seconds: A stream is cut after so many seconds; by default it lasts until the job ends.
        new_jobs: Timeline of jobs that a request creates, as in `add_job`.
        loss_every: Seconds of training between two losses in generated logs.
        port: Port to listen on; by default any free one.
        start_time: What the clock of the service shows now, without a time zone; by default the local
            time. With a fixed one, ids and times are the same in each run.

    Raises:
        OSError: on entering, if the port is in use or not allowed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        latency: float = 0.0,
        rate_limit: float | None = None,
        first_log_offset: int = 0,
        stream_seconds: float | None = None,
        new_jobs: Timeline = DEFAULT_TIMELINE,
        loss_every: float = LOSS_INTERVAL,
        port: int = 0,
        start_time: datetime | None = None,
    ) -> None:
        self._key = _Key(api_key or "sk-simulated")
        self._any_key = api_key is None
        self._latency = latency
        self._rate_limit = None if rate_limit is None else RateLimit(rate_limit)
        self._first_log_offset = first_log_offset
        self._stream_seconds = stream_seconds
        self._new_jobs = checked_timeline(new_jobs)
        self._loss_every = loss_every
        self._port = port
        self._start_time = start_time or datetime.now()  # noqa: DTZ005 - the service's times have no zone
        self._jobs: dict[str, SimulatedJob] = {}
        self._faults: deque[Fault] = deque()
        self._throttled_until = float("-inf")
        self._throttle: Answer = _THROTTLED
        self._runner: web.AppRunner | None = None
        self._started = 0.0
        self._last_id = 0
        self.base_url = ""
        """URL of the running simulator, with ``/api/v1``; empty before the start."""
        self.requests: list[SeenRequest] = []
        """All requests, in the order of their answers."""

    def __repr__(self) -> str:
        where = self.base_url or "not started"
        return f"<Simulator {where} jobs={len(self._jobs)} requests={len(self.requests)}>"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(_PATH, self._list)
        app.router.add_post(_PATH, self._create)
        app.router.add_get(f"{_PATH}/{{job_id}}/stream", self._stream)
        own: dict[tuple[str, str], Action] = {
            ("GET", ""): lambda job, _, now: Answer.output(job.output_at(now)),
            ("DELETE", ""): self._delete,
            ("GET", "/logs"): self._log,
        }
        for (method, path), action in (own | {**ACTIONS}).items():
            app.router.add_route(method, f"{_PATH}/{{job_id}}{path}", self._handler(action))
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=0.01,
            # Under virtual time, early releases of aiohttp 3.11 wait for ever for the end of this.
            keepalive_timeout=_TEN_YEARS,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._started = asyncio.get_running_loop().time()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/api/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def client(self, **options: Any) -> FineTuneClient:
        """Return a client of this service; `options` are those of `FineTuneClient`."""
        # No variable holds the key: if this raises, a traceback may show the variables.
        options.setdefault("base_url", self.base_url)
        return FineTuneClient(options.pop("api_key", self._key.text), **options)

    # --- what a test orders ---------------------------------------------------------------------------

    def add_job(
        self,
        timeline: Timeline = DEFAULT_TIMELINE,
        *,
        job_id: str | None = None,
        latency: float = 0.0,
        faults: Iterable[Fault] = (),
        log: LogLines | None = None,
        **fields: object,
    ) -> str:
        """Add a job and return its id.

        Args:
            timeline: Pairs of seconds from now and the status from then on; one must be at 0.
            job_id: By default a new one.
            latency: Seconds before each answer about the job, in addition to the simulator's.
            faults: Faults for the next requests about the job, one each.
            log: Pairs of seconds from now and the line that is logged then. By default a log is made
                from the timeline, with one loss every `loss_every` seconds of training.
            fields: Fields of ``output`` that are added to the usual ones or replace them.

        Raises:
            ValueError: the timeline has no status at 0 seconds, or the job exists already.
        """
        created = self._start_time + timedelta(seconds=self._now())
        if job_id is None:
            self._last_id += 1
            job_id = f"ft-{created:%Y%m%d%H%M}-{self._last_id:04x}"
        if job_id in self._jobs:
            raise ValueError(f"job {job_id} exists already.")
        self._jobs[job_id] = SimulatedJob(
            job_id,
            self._now(),
            timeline,
            created=created,
            latency=latency,
            faults=deque(faults),
            fields=fields,
            log=log,
            loss_interval=self._loss_every,
        )
        return job_id

    def set_status(self, job_id: str, status: str, **fields: object) -> None:
        """Give the job this status from now on, instead of its timeline; `fields` as in `add_job`."""
        job = self._jobs[job_id]
        job.set_status(status, self._now())
        job.fields |= fields

    def remove_job(self, job_id: str) -> None:
        """Remove the job: from now on it is not found."""
        del self._jobs[job_id]

    def fail_next(self, *faults: Fault) -> None:
        """Order faults for the next requests of any kind, one each."""
        self._faults.extend(faults)

    def throttle(self, seconds: float, *, retry_after: float | str | None = None) -> None:
        """Answer every request with a 429 for `seconds`."""
        self._throttled_until = self._now() + seconds
        self._throttle = Answer.error(
            429, "Throttling", "Requests throttling triggered.", retry_after=retry_after
        )

    def polls(self, job_id: str) -> int:
        """Return the number of GETs of this job."""
        path = f"{_PATH}/{job_id}"
        return sum(seen.method == "GET" and seen.path == path for seen in self.requests)

    def log_lines(self, job_id: str) -> list[str]:
        """Return the lines that the job has logged so far."""
        return self._jobs[job_id].log_at(self._now())

    # --- the server -----------------------------------------------------------------------------------

    def _now(self) -> float:
        """Seconds since the start; 0 before it."""
        return asyncio.get_running_loop().time() - self._started if self.base_url else 0.0

    def _handler(self, action: Action) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            job_id = request.match_info["job_id"]

            def answer() -> Answer:
                job = self._jobs.get(job_id)  # it may have been removed while the answer was delayed
                if job is None:
                    return Answer.error(404, "NotFound", f"job {job_id} not found.")
                return action(job, {**request.query, **request.match_info}, self._now())

            return await self._respond(request, answer, self._jobs.get(job_id))

        return handle

    def _delete(self, job: SimulatedJob, query: Mapping[str, str], now: float) -> Answer:
        answer = delete(job, query, now)
        if answer.status == 200:
            del self._jobs[job.job_id]
        return answer

    def _log(self, job: SimulatedJob, query: Mapping[str, str], now: float) -> Answer:
        return log_answer(job, query, now, self._first_log_offset)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()

        def answer() -> Answer:
            fields = fields_of_new_job(body)
            if isinstance(fields, Answer):
                return fields
            job_id = self.add_job(self._new_jobs, **fields)
            return Answer.output(self._jobs[job_id].output_at(self._now()))

        return await self._respond(request, answer)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        def answer() -> Answer:
            try:
                page_no = int(request.query.get("page_no", "1"))
                page_size = int(request.query.get("page_size", "10"))
            except ValueError:
                page_no = page_size = 0
            if page_no < 1 or not 1 <= page_size <= 100:
                return Answer.error(400, "InvalidParameter", "page_no or page_size is out of range.")
            model = request.query.get("model")
            return Answer.output(page_of(self._jobs.values(), self._now(), page_no, page_size, model))

        return await self._respond(request, answer)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        job = self._jobs.get(request.match_info["job_id"])
        answer = self._refusal(request) or self._next_fault(None)
        if answer is None and job is None:
            answer = Answer.error(404, "NotFound", "Not found!")
        self._record(request, answer or Answer())
        if answer is not None or job is None:
            return await _send(request, answer or _THROTTLED, lambda: Fault.raw(b"data:" * 20))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data:connect success, now start to follow {job.job_id}\n\n".encode())
        began, sent = self._now(), 0
        while True:
            lines, ended = job.log_at(self._now()), job.status_at(self._now())[1] in TERMINAL
            for line in lines[sent:]:
                await response.write(f"data:{line}\n\n".encode())
            sent = len(lines)
            if ended:
                return response
            if self._stream_seconds is not None and self._now() - began >= self._stream_seconds:
                if request.transport is not None:
                    request.transport.close()
                return response
            await asyncio.sleep(_STREAM_INTERVAL)

    async def _respond(
        self, request: web.Request, usual: Callable[[], Answer], job: SimulatedJob | None = None
    ) -> web.StreamResponse:
        """Send a refusal, a fault, or the usual answer."""
        latency = self._latency + (0.0 if job is None else job.latency)
        if latency > 0:
            await asyncio.sleep(latency)
        answer = self._refusal(request) or self._next_fault(job)
        if isinstance(answer, Fault) and answer.kind == "stall":
            await (asyncio.Event().wait() if answer.seconds is None else asyncio.sleep(answer.seconds))
            answer = None
        answer = answer or usual()
        self._record(request, answer)
        return await _send(request, answer, usual)

    def _record(self, request: web.Request, answer: Answer) -> None:
        reset = isinstance(answer, Fault) and answer.kind == "reset"
        status = 0 if reset else answer.status
        self.requests.append(SeenRequest(self._now(), request.method, request.path, status))

    def _refusal(self, request: web.Request) -> Answer | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key or not (self._any_key or key == self._key.text):
            return Answer.error(401, "InvalidApiKey", "Invalid API-key provided.")
        now = self._now()
        if now < self._throttled_until:
            return self._throttle
        if self._rate_limit is not None and not self._rate_limit.admits(now):
            return _THROTTLED
        return None

    def _next_fault(self, job: SimulatedJob | None) -> Fault | None:
        for queue in (self._faults, deque[Fault]() if job is None else job.faults):
            if queue:
                return queue.popleft()
        return None


async def _send(request: web.Request, answer: Answer, usual: Callable[[], Answer]) -> web.StreamResponse:
    if isinstance(answer, Fault) and answer.kind in ("reset", "cut"):
        body = usual().body
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        if answer.kind == "cut":
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close() if answer.kind == "cut" else request.transport.abort()
        return response
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers={**answer.headers},
        content_type=answer.content_type,
    )
