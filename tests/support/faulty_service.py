"""A local service that fails in many ways, chosen by a seed. It runs in a process of its own.

How each job ends, and which fault the n-th request for it meets, depend on the seed alone, so the same seed
gives the same faults as far as scheduling allows. The first part of a path is the number of the client:
``/3/api/v1/fine-tunes/{id}``. Each client has its own jobs and its own list.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs

import attrs
import orjson

from tests.support.local_service import REQUEST_ID, Listener, job_object, reset, response, serve

MISSING = "missing"
"""The end of a job that the service does not know: it answers 404."""

_ENDS = (("SUCCEEDED", 0.75), ("FAILED", 0.12), ("CANCELED", 0.08), (MISSING, 0.05))
_FAULTS = (
    ("500 with JSON", 0.010),
    ("503 with JSON", 0.008),
    ("502 without JSON", 0.010),
    ("connection reset", 0.010),
    ("connection closed", 0.010),
    ("stalled in the headers", 0.002),
    ("stalled in the body", 0.002),
    ("truncated", 0.010),
    ("invalid JSON", 0.010),
    ("another job", 0.005),
)
_LISTS = ("correct", "shifted", "late", "refused", "failing")
_LATE = 0.1
"""How far a late list is behind, as a share of the duration."""
_THROTTLED_IN_A_ROW = 4


@attrs.frozen
class FaultPlan:
    """The jobs and the faults. Times are in seconds from the start."""

    seed: int
    jobs: int
    clients: int
    duration: float
    """All jobs end within this time."""

    @property
    def outage(self) -> tuple[float, float]:
        """When the service stops accepting connections, and when it accepts them again."""
        return 0.5 * self.duration, 0.56 * self.duration

    def random(self, *key: object) -> float:
        """A number in [0, 1) that depends on the seed and the key alone."""
        text = ":".join(map(str, (self.seed, *key)))
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48

    def job_id(self, number: int) -> str:
        return f"ft-202601051030-{number:05x}"

    def ends_at(self, number: int) -> float:
        return self.duration * (0.1 + 0.9 * self.random("end", number))

    def final_status(self, number: int) -> str:
        """How the job ends, or `MISSING`."""
        return chosen(self.random("status", number), _ENDS)

    def client_of(self, number: int) -> int:
        return number % self.clients

    def list_of(self, client: int) -> str:
        """How the client's list behaves. Five clients in a row have all five behaviours."""
        return _LISTS[(client + self.seed) % len(_LISTS)]


def chosen(random: float, shares: Sequence[tuple[str, float]]) -> str:
    """The name whose share of [0, 1) contains the number, or an empty text."""
    for name, share in shares:
        random -= share
        if random < 0:
            return name
    return ""


@cache
def _text(job_id: str, status: str) -> bytes:
    return orjson.dumps(job_object(job_id, status))


@attrs.frozen
class Answer:
    """Bytes, and what happens to the connection after them."""

    raw: bytes
    then: str = "keep"
    """``keep``, ``stall``, ``close`` or ``reset``. A stalled connection stays open."""


def _error(status: int, code: str, headers: str = "") -> Answer:
    body = orjson.dumps({"code": code, "message": code, "request_id": REQUEST_ID})
    return Answer(response(status, body, headers=headers))


def _faulty(fault: str, body: bytes) -> Answer:
    match fault:
        case "500 with JSON":
            return _error(500, "InternalError")
        case "503 with JSON":
            return _error(503, "ModelUnavailable")
        case "502 without JSON":
            return Answer(response(502, b"<html>Bad Gateway</html>", content_type="text/html"))
        case "connection reset":
            return Answer(b"", "reset")
        case "connection closed":
            return Answer(b"", "close")
        case "stalled in the headers":
            return Answer(b"HTTP/1.1 200 OK\r\nCont", "stall")
        case "stalled in the body":
            return Answer(response(200, body)[: -len(body) // 2], "stall")
        case "truncated":
            return Answer(response(200, body)[: -len(body) // 2], "close")
        case "another job":
            job = _text("ft-of-somebody-else", "SUCCEEDED")
            return Answer(response(200, b'{"request_id":"r","output":%s}' % job))
        case _:
            return Answer(response(200, body[: len(body) // 3]))


class FaultyService:
    """Answers requests and counts the faults."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self._numbers = {plan.job_id(number): number for number in range(plan.jobs)}
        self._lists: list[list[int]] = [[] for _ in range(plan.clients)]
        for number in reversed(range(plan.jobs)):
            if plan.final_status(number) != MISSING:
                self._lists[plan.client_of(number)].append(number)
        self._requests: Counter[str] = Counter()
        self._started = time.monotonic()
        self._outage: asyncio.Task[None] | None = None
        self.listener = Listener(self.respond)

    def respond(self, transport: asyncio.Transport, _: str, target: str) -> None:
        """Write the answer to one request."""
        if target == "/bench/start":
            answer = Answer(response(200, orjson.dumps(self._start())))
        elif target == "/bench/report":
            answer = Answer(response(200, orjson.dumps(self.counts)))
        else:
            answer = self.answer(target)
        transport.write(answer.raw)
        if answer.then == "reset":
            reset(transport)
        elif answer.then == "close":
            transport.close()

    def answer(self, target: str) -> Answer:
        """The answer to the next request for this target."""
        path, _, query = target.partition("?")
        client, last = path[1:].partition("/")[0], path.rpartition("/")[2]
        self.counts["requests"] += 1
        self._requests[client] += 1
        self._requests[path] += 1
        plan, attempt = self.plan, self._requests[path]
        if _is_throttled(self._requests[client]):
            return self._throttled(plan.random("throttled", client, self._requests[client]))
        fault = chosen(plan.random(path, attempt), _FAULTS)
        if last == "fine-tunes":
            return self._page(int(client), parse_qs(query), fault)
        number = self._numbers.get(last)
        if number is None or plan.final_status(number) == MISSING:
            self.counts["404"] += 1
            return _error(404, "NotFound")
        return self._counted(
            fault, b'{"request_id":"%s","output":%s}' % (REQUEST_ID.encode(), self._job(number))
        )

    def _start(self) -> dict[str, Any]:
        self.counts.clear()
        self._requests.clear()
        self._started = time.monotonic()
        self._outage = asyncio.get_running_loop().create_task(self._have_outage())
        return {"started": self._started}

    async def _have_outage(self) -> None:
        begin, end = self.plan.outage
        await asyncio.sleep(begin)
        self.counts["connections cut by the outage"] = len(self.listener.connections)
        self.listener.close()
        await asyncio.sleep(end - begin)
        await self.listener.open()

    def _throttled(self, random: float) -> Answer:
        self.counts["429" if random < 0.5 else "429 with Retry-After"] += 1
        return _error(429, "Throttling", "" if random < 0.5 else f"Retry-After: {random / 5:.3f}\r\n")

    def _counted(self, fault: str, body: bytes) -> Answer:
        if not fault:
            return Answer(response(200, body))
        self.counts[fault] += 1
        return _faulty(fault, body)

    def _job(self, number: int, behind: float = 0.0) -> bytes:
        age, end = time.monotonic() - self._started - behind, self.plan.ends_at(number)
        status = self.plan.final_status(number) if age >= end else "RUNNING" if age > end / 5 else "PENDING"
        return _text(self.plan.job_id(number), status)

    def _page(self, client: int, query: dict[str, list[str]], fault: str) -> Answer:
        behaviour = self.plan.list_of(client)
        if behaviour != "correct":
            self.counts[f"list: {behaviour}"] += 1
        if behaviour == "refused":
            return _error(403, "AccessDenied")
        if behaviour == "failing":
            return _error(500, "InternalError")
        number, size = (int(query[key][0]) for key in ("page_no", "page_size"))
        shift = int(20 * self.plan.random("shift", time.monotonic())) if behaviour == "shifted" else 0
        first = max(0, (number - 1) * size - shift)
        behind = _LATE * self.plan.duration if behaviour == "late" else 0.0
        jobs = self._lists[client]
        rows = b",".join(self._job(job, behind) for job in jobs[first : first + size])
        head = f'{{"request_id":"r","output":{{"page_no":{number},"page_size":{size},"total":{len(jobs)},'
        body = b'%s"jobs":[%s]}}' % (head.encode(), rows)
        return self._counted("" if fault == "another job" else fault, body)


def _is_throttled(requests: int) -> bool:
    """A few requests of a client from its 100th, 200th, 400th, … on."""
    first = 100 << max(0, (requests // 100).bit_length() - 1)
    return 0 <= requests - first < _THROTTLED_IN_A_ROW


if __name__ == "__main__":
    asyncio.run(serve(FaultyService(FaultPlan(**orjson.loads(sys.argv[1]))).listener))
