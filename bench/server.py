"""The service that is measured against: fast, and in a process of its own, so that clients are measured.

A request costs it some tens of microseconds; its CPU time is part of its report.

    GET  /api/v1/fine-tunes/{id}               one job, as the API documents it
    GET  /api/v1/fine-tunes?page_no&page_size  a page of the list, newest job first
    GET  /v1/fine_tuning/jobs/{id}             one job as OpenAI's API returns it
    GET  /bench/start                          restart the clock and the counts; returns the plan
    GET  /bench/plan                           the ids of all jobs, of those that run, and the ends
    GET  /bench/report                         the requests by kind and by client, CPU seconds

All clients share one account and so its rate limit. A path before ``/api/v1`` names the client:
``/p1/api/v1/fine-tunes``.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs

import attrs
import orjson

from tests.support.local_service import REQUEST_ID, Listener, control, job_object, response, serve
from tests.support.local_service import running as running_module

__all__ = ["Plan", "Service", "control", "running"]

_THROTTLED = {"code": "Throttling", "message": "Requests throttling triggered.", "request_id": REQUEST_ID}
_NOT_FOUND = {"code": "NotFound", "message": "Not Found!", "request_id": REQUEST_ID}


@attrs.frozen
class Plan:
    """The jobs of the account and its rate limit. Times are in seconds after the start."""

    jobs: int
    first_end: float | None = None
    """With `last_end`: the jobs end at random times between the two. `None`: no job ends."""
    last_end: float | None = None
    ending: int | None = None
    """How many jobs end; `None`: all that have not ended before the start."""
    ended: int = 0
    """How many of the jobs, the oldest, had ended before the start."""
    rate: float | None = None
    """Requests per second that the account may send; `None`: no limit."""


class Service:
    """Answers requests and counts them."""

    def __init__(self, plan: Plan) -> None:
        chance = random.Random(20260105)
        self._ids = [f"ft-202601051030-{number:05x}" for number in range(plan.jobs)]
        self._running = self._ids[plan.ended :]
        self._ends = dict.fromkeys(self._ids[: plan.ended], 0.0)
        self._plan_ends: dict[str, float] = {}
        if plan.first_end is not None and plan.last_end is not None:
            ending = chance.sample(
                self._running, len(self._running) if plan.ending is None else plan.ending
            )
            self._plan_ends = {job_id: chance.uniform(plan.first_end, plan.last_end) for job_id in ending}
        self._ends |= self._plan_ends
        self._known = frozenset(self._ids)
        self._newest_first = self._ids[::-1]
        self._texts: dict[tuple[str, str], bytes] = {}
        self._rate = plan.rate
        self._requests: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._start()

    def respond(self, transport: asyncio.Transport, method: str, target: str) -> None:
        """Write the response to one request."""
        status, body = self.answer(method, target)
        transport.write(response(status, body))

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        """Status and body."""
        path, _, query = target.partition("?")
        if path.startswith("/bench/"):
            return 200, orjson.dumps(self._control(path.removeprefix("/bench/")))
        now = time.monotonic()
        client, is_dashscope, rest = path.partition("/api/v1/fine-tunes")
        if self._over_limit(now):
            kind, status, body = "throttled", 429, orjson.dumps(_THROTTLED)
        elif method == "GET" and is_dashscope and not rest:
            kind, status, body = "page", 200, self._page(query, now)
        elif method == "GET" and (job_id := path.rpartition("/")[2]) in self._known:
            kind, status = "get", 200
            body = self._job(job_id, now) if is_dashscope else self._openai_job(job_id, now)
        else:
            kind, status, body = "not found", 404, orjson.dumps(_NOT_FOUND)
        self._requests[kind] += 1
        if kind != "throttled":
            self._clients[client] += 1
        return status, body

    def _start(self) -> None:
        self._started = self._refilled = time.monotonic()
        self._tokens = self._rate or 0.0
        self._requests.clear()
        self._clients.clear()
        self._cpu = time.process_time()

    def _control(self, command: str) -> dict[str, Any]:
        if command == "report":
            return {
                "requests": self._requests,
                "accepted": self._clients,
                "server_cpu": time.process_time() - self._cpu,
            }
        if command == "start":
            self._start()
        # All processes of a machine have the same monotonic clock.
        ends = {job_id: self._started + end for job_id, end in self._plan_ends.items()}
        return {"ids": self._ids, "running": self._running, "ends": ends}

    def _over_limit(self, now: float) -> bool:
        if self._rate is None:
            return False
        self._tokens = min(self._rate, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        if self._tokens < 1.0:
            return True
        self._tokens -= 1.0
        return False

    def _status(self, job_id: str, now: float) -> str:
        """PENDING for the first fifth of the job's time, RUNNING, then SUCCEEDED."""
        end, age = self._ends.get(job_id), now - self._started
        if end is None:
            return "RUNNING"
        return "SUCCEEDED" if age >= end else "RUNNING" if age >= end / 5 else "PENDING"

    def _text(self, job_id: str, now: float) -> bytes:
        key = job_id, self._status(job_id, now)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = orjson.dumps(job_object(*key))
        return text

    def _job(self, job_id: str, now: float) -> bytes:
        return b'{"request_id":"%s","output":%s}' % (REQUEST_ID.encode(), self._text(job_id, now))

    def _page(self, query: str, now: float) -> bytes:
        asked = parse_qs(query)
        number, size = (
            int(asked.get(key, [default])[0]) for key, default in (("page_no", "1"), ("page_size", "10"))
        )
        ids = self._newest_first[(number - 1) * size : number * size]
        head = f'{{"request_id":"{REQUEST_ID}","output":{{"page_no":{number},"page_size":{size},'
        rows = b",".join([self._text(job_id, now) for job_id in ids])
        return b'%s"total":%d,"jobs":[%s]}}' % (head.encode(), len(self._ids), rows)

    def _openai_job(self, job_id: str, now: float) -> bytes:
        return orjson.dumps(_openai_object(job_id, self._status(job_id, now)))


def _openai_object(job_id: str, status: str) -> dict[str, Any]:
    ended = status == "SUCCEEDED"
    hyper_parameters = {"n_epochs": 3, "batch_size": 32, "learning_rate_multiplier": 1.0}
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": 1_767_609_012,
        "finished_at": 1_767_610_064 if ended else None,
        "model": "qwen3-14b",
        "fine_tuned_model": f"ft:qwen3-14b:acme::{job_id}" if ended else None,
        "organization_id": "org-123",
        "status": {"PENDING": "queued", "RUNNING": "running", "SUCCEEDED": "succeeded"}[status],
        "hyperparameters": hyper_parameters,
        "training_file": "file-9f1b29a146ed4a45b3f0c8f0a1a7e1c4",
        "validation_file": "file-be9a7f1e0c4e4c848f5d0f5a6b7c8d9e",
        "result_files": [],
        "trained_tokens": 279_808 if ended else None,
        "error": None,
        "user_provided_suffix": None,
        "seed": 42,
        "estimated_finish": None,
        "integrations": [],
        "metadata": None,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyper_parameters}},
    }


def running(plan: Plan) -> AbstractContextManager[str]:
    """Run the service in a process of its own; gives its URL."""
    return running_module("bench.server", plan)


if __name__ == "__main__":
    asyncio.run(serve(Listener(Service(Plan(**orjson.loads(sys.argv[1]))).respond)))
