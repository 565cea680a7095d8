"""A fast local service in a process of its own, so that clients, not the server, are measured.

Raw HTTP/1.1 on an asyncio protocol: a `GET` of a job or a page costs it tens of microseconds, and what
it spent is part of its report. It ends when its parent's end of the pipe on stdin closes.

    GET  /api/v1/fine-tunes/{id}           one job, as the service's page documents it
    GET  /api/v1/fine-tunes?page_no&page_size   a page of them, newest first
    GET  /v1/fine_tuning/jobs/{id}         one job in OpenAI's shape
    POST /bench/start                      time begins, counts are 0; answers when each job will end
    GET  /bench/report                     requests by kind, CPU seconds of the server
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import attrs
import orjson

_CREATED = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service names no zone
_REQUEST_ID = "2a6b2c5e-6e0d-9f4c-8c1c-3f0f6a1c9d20"
_THROTTLED = {"code": "Throttling", "message": "Requests throttling triggered.", "request_id": _REQUEST_ID}
_NOT_FOUND = {"code": "NotFound", "message": "Not Found!", "request_id": _REQUEST_ID}


@attrs.frozen
class Plan:
    """What the service is to be like. Times are seconds after the start; `None` is never."""

    jobs: int
    first_end: float | None = None
    last_end: float | None = None
    ending: int | None = None
    """How many of the jobs end, between the two times; by default all."""
    rate: float | None = None
    """The account's limit in requests per second."""


class Jobs:
    """All jobs, as text ready to be sent: made once for each job and status."""

    def __init__(self, plan: Plan) -> None:
        chance = random.Random(20260105)
        self.ids = [f"ft-202601051030-{number:05x}" for number in range(plan.jobs)]
        self.ends: dict[str, float] = {}
        if plan.first_end is not None and plan.last_end is not None:
            ending = chance.sample(self.ids, plan.jobs if plan.ending is None else plan.ending)
            self.ends = {job_id: chance.uniform(plan.first_end, plan.last_end) for job_id in ending}
        self.started = time.monotonic()
        self._texts: dict[tuple[str, str], bytes] = {}
        self._newest_first = self.ids[::-1]
        self._known = frozenset(self.ids)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._known

    def status(self, job_id: str, now: float) -> str:
        """PENDING for the first fifth of its life (never, where it does not end), then RUNNING."""
        end = self.ends.get(job_id)
        age = now - self.started
        if end is None or age >= end:
            return "RUNNING" if end is None else "SUCCEEDED"
        return "PENDING" if age < end / 5 else "RUNNING"

    def text(self, job_id: str, now: float) -> bytes:
        """The job, as JSON."""
        key = job_id, self.status(job_id, now)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = orjson.dumps(job_object(*key))
        return text

    def page(self, number: int, size: int, now: float) -> bytes:
        """A whole answer: one page of the list."""
        rows = b",".join(
            self.text(job_id, now) for job_id in self._newest_first[(number - 1) * size : number * size]
        )
        head = f'{{"request_id":"{_REQUEST_ID}","output":{{"page_no":{number},"page_size":{size},'
        return b'%s"total":%d,"jobs":[%s]}}' % (head.encode(), len(self.ids), rows)


def job_object(job_id: str, status: str) -> dict[str, Any]:
    """A fine-tune job as the API page shows it, about 1 KB."""
    job: dict[str, Any] = {
        "job_id": job_id,
        "job_name": f"qwen3-14b-sft-{job_id}",
        "status": status,
        "finetuned_output": f"qwen3-14b-{job_id}",
        "model": "qwen3-14b",
        "base_model": "qwen3-14b",
        "training_file_ids": [
            "9f1b29a1-46ed-4a45-b3f0-c8f0a1a7e1c4",
            "2c8c5e0f-6d1f-4b0c-9c5b-4d4a2c1b8e11",
        ],
        "validation_file_ids": ["be9a7f1e-0c4e-4c84-8f5d-0f5a6b7c8d9e"],
        "training_datasets": [
            {"data_source_type": "file_id", "file_id": "9f1b29a1-46ed-4a45-b3f0-c8f0a1a7e1c4"},
            {"data_source_type": "file_id", "file_id": "2c8c5e0f-6d1f-4b0c-9c5b-4d4a2c1b8e11"},
        ],
        "hyper_parameters": {
            "n_epochs": 3,
            "batch_size": 32,
            "learning_rate": "1.6e-5",
            "max_length": 8192,
            "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.05,
            "weight_decay": 0.1,
            "eval_steps": 50,
        },
        "training_type": "sft",
        "create_time": _stamp(0),
        "workspace_id": "llm-8v53etv3hwb8orx1",
        "user_identity": "1654290265984853",
        "modifier": "1654290265984853",
        "creator": "1654290265984853",
        "group": "llm",
        "max_output_cnt": 10,
        "output_cnt": 3,
    }
    if status == "SUCCEEDED":
        job |= {"end_time": _stamp(1_052), "usage": 279_808}
    return job


def openai_object(job_id: str, status: str) -> dict[str, Any]:
    """The same job as OpenAI would show it."""
    done = status == "SUCCEEDED"
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": 1_767_609_012,
        "finished_at": 1_767_610_064 if done else None,
        "model": "qwen3-14b",
        "fine_tuned_model": f"ft:qwen3-14b:acme::{job_id}" if done else None,
        "organization_id": "org-123",
        "status": {"PENDING": "queued", "RUNNING": "running", "SUCCEEDED": "succeeded"}[status],
        "hyperparameters": {"n_epochs": 3, "batch_size": 32, "learning_rate_multiplier": 1.0},
        "training_file": "file-9f1b29a146ed4a45b3f0c8f0a1a7e1c4",
        "validation_file": "file-be9a7f1e0c4e4c848f5d0f5a6b7c8d9e",
        "result_files": [],
        "trained_tokens": 279_808 if done else None,
        "error": None,
        "user_provided_suffix": None,
        "seed": 42,
        "estimated_finish": None,
        "integrations": [],
        "metadata": None,
        "method": {
            "type": "supervised",
            "supervised": {
                "hyperparameters": {"n_epochs": 3, "batch_size": 32, "learning_rate_multiplier": 1.0}
            },
        },
    }


def _stamp(seconds: float) -> str:
    return (_CREATED + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


class Service:
    """What is answered to what, and how often it was asked."""

    def __init__(self, plan: Plan) -> None:
        self._jobs = Jobs(plan)
        self._rate = plan.rate
        self._counts: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        self._jobs.started = self._tokens_at = time.monotonic()
        self._tokens = self._rate or 0.0
        self._counts.clear()
        self._cpu = time.process_time()

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        """Status and body."""
        path, _, query = target.partition("?")
        room, _, job_id = path.rpartition("/")
        if room == "/bench":
            return 200, orjson.dumps(self._begin() if job_id == "start" else self._report())
        now = time.monotonic()
        status, kind, body = self._look_up(method, room, job_id, query, now)
        if self._over_limit(now):
            status, kind, body = 429, "throttled", orjson.dumps(_THROTTLED)
        self._counts[kind] += 1
        return status, body

    def _look_up(
        self, method: str, room: str, job_id: str, query: str, now: float
    ) -> tuple[int, str, bytes]:
        jobs = self._jobs
        if method == "GET" and room == "/api/v1" and job_id == "fine-tunes":
            asked = parse_qs(query)
            number, size = (int(asked.get(key, ["1"])[0]) for key in ("page_no", "page_size"))
            return 200, "page", jobs.page(number, size, now)
        if method == "GET" and job_id in jobs:
            if room == "/api/v1/fine-tunes":
                text = jobs.text(job_id, now)
                return 200, "get", b'{"request_id":"%s","output":%s}' % (_REQUEST_ID.encode(), text)
            if room == "/v1/fine_tuning/jobs":
                return 200, "get", orjson.dumps(openai_object(job_id, jobs.status(job_id, now)))
        return 404, "not found", orjson.dumps(_NOT_FOUND)

    def _over_limit(self, now: float) -> bool:
        if self._rate is None:
            return False
        self._tokens = min(self._rate, self._tokens + (now - self._tokens_at) * self._rate)
        self._tokens_at = now
        if self._tokens < 1.0:
            return True
        self._tokens -= 1.0
        return False

    def _begin(self) -> dict[str, Any]:
        self._start()
        started, ends = self._jobs.started, self._jobs.ends
        # CLOCK_MONOTONIC is one clock for all processes of the machine.
        return {"ids": self._jobs.ids, "ends": {job_id: started + end for job_id, end in ends.items()}}

    def _report(self) -> dict[str, Any]:
        return {**self._counts, "server_cpu": time.process_time() - self._cpu}


class _Connection(asyncio.Protocol):
    """Requests without bodies, one after another on a kept connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        assert self._transport is not None
        for head in heads:
            method, target, _ = head.split(b" ", 2)
            status, body = self._service.answer(method.decode(), target.decode())
            self._transport.write(
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (status, len(body), body)
            )


@contextmanager
def running(plan: attrs.AttrsInstance, module: str = "bench.server") -> Iterator[str]:
    """The URL of a service of its own, ``http://127.0.0.1:port``, which ends with the block."""
    command = [sys.executable, "-m", module, orjson.dumps(attrs.asdict(plan)).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def ask(base_url: str, what: str) -> Any:
    """`start` or `report`, answered at once; blocking, on a connection of its own."""
    parts = urlsplit(base_url)
    with urlopen(Request(f"http://{parts.netloc}/bench/{what}", headers={"Connection": "close"})) as answer:
        length = int(answer.headers["Content-Length"])
        return orjson.loads(answer.read(length))


async def until_orphaned() -> None:
    """Until the parent's end of the pipe on stdin closes."""
    loop = asyncio.get_running_loop()
    orphaned = asyncio.Event()

    def watch_parent() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(orphaned.set)

    threading.Thread(target=watch_parent, daemon=True).start()
    await orphaned.wait()


async def _serve(plan: Plan) -> None:
    service = Service(plan)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await until_orphaned()


if __name__ == "__main__":
    asyncio.run(_serve(Plan(**orjson.loads(sys.argv[1]))))
