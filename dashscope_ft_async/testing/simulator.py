"""The simulated service: an aiohttp server on 127.0.0.1, in the caller's event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self

from aiohttp import web

from dashscope_ft_async._api.config import Secret
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.testing.life import ACTS, Act, fields_of_new_job, may_be_deleted
from dashscope_ft_async.testing.logbook import Script, answer_of_log, log_at
from dashscope_ft_async.testing.scenario import (
    ENDED,
    LOSS_EVERY,
    Fault,
    RateLimit,
    SeenRequest,
    SimulatedJob,
    Timeline,
    checked_timeline,
    envelope,
    page_of,
)

_TEN_YEARS = 315e6
_STREAM_TICK = 0.5
USUAL_LIFE = ((0, "PENDING"), (2, "RUNNING"), (10, "SUCCEEDED"))
THROTTLED = Fault.error(429, "Throttling", "Requests throttling triggered.")


class Simulator:
    """A fine-tuning service on 127.0.0.1, in your event loop: scripted jobs, faults and throttling.

    It answers what is documented below ``/api/v1/fine-tunes``: jobs are created, listed, read, cancelled
    and deleted, write logs, and have checkpoints that can be exported; the undocumented stream of a log
    is as the official SDK reads it. Because it lives in your loop, it runs under virtual time as well:
    hours of polling in under a second. Not for load tests, for the same reason.

    Args:
        api_key: The only key accepted; by default any.
        latency: Seconds before every answer.
        rate_limit: Requests per second; what is over gets a 429.
        first_log_offset: Offset of the first line of a log: 0 as the service's page says, or 1.
        stream_seconds: After so many seconds a stream breaks off. By default it lasts to the job's end.
        new_jobs: What happens to jobs that are created by a request, as in `add_job`.
        loss_every: Seconds of training between two losses in the logs that are made for jobs.
        port: Where it listens; by default on any port that is free.

    Raises:
        OSError: on entering, where the port is taken or not allowed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        latency: float = 0.0,
        rate_limit: float | None = None,
        first_log_offset: int = 0,
        stream_seconds: float | None = None,
        new_jobs: Timeline = USUAL_LIFE,
        loss_every: float = LOSS_EVERY,
        port: int = 0,
    ) -> None:
        self._api_key = None if api_key is None else Secret(api_key)
        self._latency = latency
        self._limit = None if rate_limit is None else RateLimit(rate_limit)
        self._first_log_offset = first_log_offset
        self._stream_seconds = stream_seconds
        self._new_jobs = checked_timeline(new_jobs)
        self._loss_every = loss_every
        self._port = port
        self._jobs: dict[str, SimulatedJob] = {}
        self._faults: deque[Fault] = deque()
        self._throttled_until = float("-inf")
        self._throttle = THROTTLED
        self._runner: web.AppRunner | None = None
        self._started = 0.0
        self._ids = 0
        self.base_url = ""
        """Where it listens, ``/api/v1`` included; empty before the start."""
        self.requests: list[SeenRequest] = []
        """Every request, in the order of the answers."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        jobs = "/api/v1/fine-tunes"
        app.router.add_get(jobs, self._list)
        app.router.add_post(jobs, self._create)
        app.router.add_get(f"{jobs}/{{job_id}}", self._about_job(self._told))
        app.router.add_delete(f"{jobs}/{{job_id}}", self._about_job(self._deleted))
        app.router.add_get(f"{jobs}/{{job_id}}/logs", self._about_job(self._log))
        app.router.add_get(f"{jobs}/{{job_id}}/stream", self._stream)
        for (method, path), act in ACTS.items():
            app.router.add_route(method, f"{jobs}/{{job_id}}/{path}", self._about_job(act))
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=0.01,
            # Where time is virtual, early releases of aiohttp 3.11 wait for ever for the end of this.
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
        """A client of this service; `options` are those of `FineTuneClient`."""
        key = Secret("sk-simulated") if self._api_key is None else self._api_key
        defaults: dict[str, Any] = {"base_url": self.base_url}
        return FineTuneClient(options.pop("api_key", key.reveal()), **(defaults | options))

    # --- the script ---------------------------------------------------------------------------------

    def add_job(
        self,
        timeline: Timeline = USUAL_LIFE,
        *,
        job_id: str | None = None,
        latency: float = 0.0,
        faults: Iterable[Fault] = (),
        log: Script | None = None,
        **fields: object,
    ) -> str:
        """Add a job and return its id.

        Args:
            timeline: Pairs of seconds from now and the status from then on; one must be at 0.
            job_id: By default a new one.
            latency: Seconds before each answer about it, on top of the simulator's.
            faults: What happens to the next requests for it, one fault each, before answers are good.
            log: Pairs of seconds from now and the line that is then written to its log; by default what
                goes with the timeline.
            fields: Further fields of ``output``, or other values for the usual ones.

        Raises:
            ValueError: the timeline says nothing for 0 seconds, or the job is there already.
        """
        if job_id is None:
            self._ids += 1
            job_id = f"ft-202601051030-{self._ids:04x}"
        if job_id in self._jobs:
            raise ValueError(f"job {job_id} is there already.")
        self._jobs[job_id] = SimulatedJob(
            job_id,
            self._now(),
            checked_timeline(timeline),
            latency,
            deque(faults),
            dict(fields),
            log,
            loss_every=self._loss_every,
        )
        return job_id

    def set_status(self, job_id: str, status: str, **fields: object) -> None:
        """Move a job to `status` now, whatever its timeline said; `fields` as in `add_job`."""
        job = self._jobs[job_id]
        job.move(status, self._now())
        job.fields |= fields

    def remove_job(self, job_id: str) -> None:
        """From now on the job is not found."""
        del self._jobs[job_id]

    def fail_next(self, *faults: Fault) -> None:
        """What happens to the next requests, whatever they ask for, one fault each."""
        self._faults.extend(faults)

    def throttle(self, seconds: float, *, retry_after: float | str | None = None) -> None:
        """Answer every request with a 429 for `seconds`."""
        self._throttled_until = self._now() + seconds
        self._throttle = Fault.error(
            429, "Throttling", "Requests throttling triggered.", retry_after=retry_after
        )

    def polls(self, job_id: str) -> int:
        """How often this job was asked for by its id."""
        path = f"/api/v1/fine-tunes/{job_id}"
        return sum(seen.method == "GET" and seen.path == path for seen in self.requests)

    def log_lines(self, job_id: str) -> list[str]:
        """The lines that are in the job's log now."""
        return log_at(self._jobs[job_id], self._now())

    # --- the service --------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def _about_job(self, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            job_id = request.match_info["job_id"]
            asked = {**request.query, **request.match_info}
            job = self._jobs.get(job_id)

            def answer() -> Fault:
                found = self._jobs.get(job_id)
                if found is None:
                    return Fault.error(404, "NotFound", f"job {job_id} not found.")
                return act(found, asked, self._now())

            faults: deque[Fault] = deque() if job is None else job.faults
            return await self._answer(request, answer, 0.0 if job is None else job.latency, faults)

        return handle

    def _told(self, job: SimulatedJob, _: Mapping[str, str], now: float) -> Fault:
        return Fault.json(envelope(job.output_at(now)))

    def _deleted(self, job: SimulatedJob, asked: Mapping[str, str], now: float) -> Fault:
        answer = may_be_deleted(job, asked, now)
        if answer.status == 200:
            del self._jobs[job.job_id]
        return answer

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()

        def answer() -> Fault:
            fields = fields_of_new_job(body)
            if isinstance(fields, Fault):
                return fields
            job_id = self.add_job(self._new_jobs, **fields)
            return Fault.json(envelope(self._jobs[job_id].output_at(self._now())))

        return await self._answer(request, answer, 0.0, deque())

    def _log(self, job: SimulatedJob, asked: Mapping[str, str], now: float) -> Fault:
        return answer_of_log(job, asked, now, self._first_log_offset)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        job = self._jobs.get(request.match_info["job_id"])
        fault = self._refusal(request) or self._next_fault(deque())
        if fault is None and job is None:
            fault = Fault.error(404, "NotFound", "Not found!")
        status = 200 if fault is None else 0 if fault.kind == "reset" else fault.status
        self.requests.append(SeenRequest(self._now(), request.method, request.path, status))
        if fault is not None or job is None:
            return await _sent(request, fault or THROTTLED, lambda: Fault.raw(b"data:" * 20))
        return await self._streamed(request, job)

    async def _streamed(self, request: web.Request, job: SimulatedJob) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data:connect success, now start to follow {job.job_id}\n\n".encode())
        began, sent = self._now(), 0
        while True:
            lines, ended = log_at(job, self._now()), job.status_at(self._now())[1] in ENDED
            for line in lines[sent:]:
                await response.write(f"data:{line}\n\n".encode())
            sent = len(lines)
            if ended:
                return response
            if self._stream_seconds is not None and self._now() - began >= self._stream_seconds:
                if request.transport is not None:
                    request.transport.close()
                return response
            await asyncio.sleep(_STREAM_TICK)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        def answer() -> Fault:
            try:
                page_no = int(request.query.get("page_no", "1"))
                page_size = int(request.query.get("page_size", "10"))
            except ValueError:
                page_no = page_size = 0
            if page_no < 1 or not 1 <= page_size <= 100:
                return Fault.error(400, "InvalidParameter", "page_no or page_size is out of range.")
            model = request.query.get("model")
            return Fault.json(
                envelope(page_of(self._jobs.values(), self._now(), page_no, page_size, model))
            )

        return await self._answer(request, answer, 0.0, deque())

    async def _answer(
        self, request: web.Request, answer: Callable[[], Fault], latency: float, faults: deque[Fault]
    ) -> web.StreamResponse:
        if self._latency + latency > 0:
            await asyncio.sleep(self._latency + latency)
        fault = self._refusal(request) or self._next_fault(faults)
        if fault is not None and fault.kind == "stall":
            await (asyncio.sleep(fault.seconds) if fault.seconds is not None else asyncio.Event().wait())
            fault = None
        chosen = fault or answer()
        status = 0 if chosen.kind == "reset" else chosen.status
        self.requests.append(SeenRequest(self._now(), request.method, request.path, status))
        return await _sent(request, chosen, answer)

    def _refusal(self, request: web.Request) -> Fault | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key or (self._api_key is not None and key != self._api_key.reveal()):
            return Fault.error(401, "InvalidApiKey", "Invalid API-key provided.")
        now = self._now()
        if now < self._throttled_until:
            return self._throttle
        if self._limit is not None and not self._limit.admits(now):
            return THROTTLED
        return None

    def _next_fault(self, faults: deque[Fault]) -> Fault | None:
        for queue in (self._faults, faults):
            if queue:
                return queue.popleft()
        return None


async def _sent(request: web.Request, chosen: Fault, answer: Callable[[], Fault]) -> web.StreamResponse:
    if chosen.kind in ("reset", "cut"):
        body = answer().body
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        if chosen.kind == "cut":
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close() if chosen.kind == "cut" else request.transport.abort()
        return response
    kind = "text/html" if chosen.kind == "html" else "application/json"
    return web.Response(
        status=chosen.status, body=chosen.body, headers={**chosen.headers}, content_type=kind
    )
