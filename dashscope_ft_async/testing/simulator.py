"""The simulated service: an aiohttp server on 127.0.0.1, in the caller's event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

from aiohttp import web

from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.testing.logbook import Script, log_at, page_of_log
from dashscope_ft_async.testing.scenario import (
    ENDED,
    Fault,
    RateLimit,
    SeenRequest,
    SimulatedJob,
    Timeline,
    checked_timeline,
    page_of,
)

_STREAM_TICK = 0.5
THROTTLED = Fault.error(429, "Throttling", "Requests throttling triggered.")


class Simulator:
    """A fine-tuning service on 127.0.0.1, in your event loop: scripted jobs, faults and throttling.

    It answers ``GET /api/v1/fine-tunes/{job_id}``, ``GET /api/v1/fine-tunes`` and ``…/{job_id}/logs``
    as the service's pages document them, and ``…/{job_id}/stream`` as the official SDK reads it.
    Because it lives in your loop, it runs under virtual time as well: hours of polling in milliseconds.
    Not for load tests, for the same reason.

    Args:
        api_key: The only key accepted; by default any.
        latency: Seconds before every answer.
        rate_limit: Requests per second; what is over gets a 429.
        first_log_offset: Offset of the first line of a log: 0 as the service's page says, or 1.
        stream_seconds: After so many seconds a stream breaks off. By default it lasts to the job's end.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        latency: float = 0.0,
        rate_limit: float | None = None,
        first_log_offset: int = 0,
        stream_seconds: float | None = None,
    ) -> None:
        self._api_key = api_key
        self._latency = latency
        self._limit = None if rate_limit is None else RateLimit(rate_limit)
        self._first_log_offset = first_log_offset
        self._stream_seconds = stream_seconds
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
        app.router.add_get("/api/v1/fine-tunes", self._list)
        app.router.add_get("/api/v1/fine-tunes/{job_id}", self._get)
        app.router.add_get("/api/v1/fine-tunes/{job_id}/logs", self._logs)
        app.router.add_get("/api/v1/fine-tunes/{job_id}/stream", self._stream)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=0.01
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._started = asyncio.get_running_loop().time()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/api/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def client(self, **options: Any) -> FineTuneClient:
        """A client of this service; `options` are those of `FineTuneClient`."""
        defaults: dict[str, Any] = {"api_key": self._api_key or "sk-simulated", "base_url": self.base_url}
        return FineTuneClient(**(defaults | options))

    # --- the script ---------------------------------------------------------------------------------

    def add_job(
        self,
        timeline: Timeline = ((0, "PENDING"), (2, "RUNNING"), (10, "SUCCEEDED")),
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
            job_id, self._now(), checked_timeline(timeline), latency, deque(faults), dict(fields), log
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
        return sum(seen.path == f"/api/v1/fine-tunes/{job_id}" for seen in self.requests)

    def log_lines(self, job_id: str) -> list[str]:
        """The lines that are in the job's log now."""
        return log_at(self._jobs[job_id], self._now())

    # --- the service --------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    async def _get(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["job_id"]
        job = self._jobs.get(job_id)
        latency = 0.0 if job is None else job.latency

        def answer() -> Fault:
            found = self._jobs.get(job_id)
            if found is None:
                return Fault.error(404, "NotFound", f"job {job_id} not found.")
            return Fault.json(_envelope(found.output_at(self._now())))

        return await self._answer(request, answer, latency, deque() if job is None else job.faults)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        def answer() -> Fault:
            job = self._jobs.get(request.match_info["job_id"])
            if job is None:
                return Fault.error(404, "NotFound", "Not found!")
            try:
                offset, line = int(request.query.get("offset", "0")), int(request.query.get("line", "100"))
            except ValueError:
                offset = line = -1
            if offset < 0 or not 1 <= line <= 1000:
                return Fault.error(400, "InvalidParameter", "offset or line is out of range.")
            lines = log_at(job, self._now())
            return Fault.json(_envelope(page_of_log(lines, offset, line, self._first_log_offset)))

        return await self._answer(request, answer, 0.0, deque())

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
                _envelope(page_of(self._jobs.values(), self._now(), page_no, page_size, model))
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
        if scheme != "Bearer" or not key or (self._api_key is not None and key != self._api_key):
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


def _envelope(output: dict[str, Any]) -> dict[str, Any]:
    return {"request_id": "00000000-0000-4000-8000-000000000000", "output": output}


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
