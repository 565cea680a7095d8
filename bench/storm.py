"""A local service in a process of its own that goes wrong in every way it knows, by the roll of a seed.

What becomes of a job, and which fault meets which attempt to ask for it, are functions of the seed alone,
so the same seed gives the same mix as far as scheduling allows. A client is told by the first part of
its path: ``/3/api/v1/fine-tunes/{id}``; each has jobs and a list of its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections import Counter
from functools import cache
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs

import attrs
import orjson

from bench.server import job_object, until_orphaned

_REQUEST_ID = "2a6b2c5e-6e0d-9f4c-8c1c-3f0f6a1c9d20"
_WORDS = (("SUCCEEDED", 0.75), ("FAILED", 0.87), ("CANCELED", 0.95), ("missing", 1.0))
_FAULTS = (
    ("500 with JSON", 0.010),
    ("503 with JSON", 0.008),
    ("502 without JSON", 0.010),
    ("reset", 0.010),
    ("hung up", 0.010),
    ("stalled in the headers", 0.002),
    ("stalled in the body", 0.002),
    ("truncated", 0.010),
    ("garbage", 0.010),
    ("another job", 0.005),
)
_LISTS = ("true", "shifted", "late", "refused", "failing")
_LATE = 0.1
_REFUSALS_IN_A_ROW = 4


@attrs.frozen
class Storm:
    """The weather. Times are seconds; those of jobs and of the outage count from the start."""

    seed: int
    waits: int
    clients: int
    span: float
    """All jobs end within this time."""

    @property
    def outage(self) -> tuple[float, float]:
        """When the service goes away altogether, and when it is back."""
        return 0.5 * self.span, 0.56 * self.span

    def chance(self, *what: object) -> float:
        """A number in [0, 1), always the same for the same thing."""
        text = ":".join(map(str, (self.seed, *what)))
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48

    def job_id(self, number: int) -> str:
        return f"ft-202601051030-{number:05x}"

    def ends_at(self, number: int) -> float:
        return self.span * (0.1 + 0.9 * self.chance("end", number))

    def word(self, number: int) -> str:
        """How the job ends; ``missing`` is a job that never was."""
        return _drawn(self.chance("word", number), _WORDS)

    def client_of(self, number: int) -> int:
        return number % self.clients

    def temper(self, client: int) -> str:
        """What the client's list is like. The first few show every temper there is."""
        return _LISTS[(client + self.seed) % len(_LISTS)]


def _drawn(chance: float, table: tuple[tuple[str, float], ...]) -> str:
    return next((name for name, below in table if chance < below), "")


@cache
def _text(job_id: str, status: str) -> bytes:
    done = "SUCCEEDED" if status in ("FAILED", "CANCELED") else status
    return orjson.dumps(job_object(job_id, done) | {"status": status})


@attrs.frozen
class Answer:
    """Bytes, and what follows them on the connection."""

    raw: bytes
    then: str = "keep"


def _http(status: int, body: bytes, headers: str = "", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def _error(status: int, code: str, headers: str = "") -> Answer:
    said = {"code": code, "message": code, "request_id": _REQUEST_ID}
    return Answer(_http(status, orjson.dumps(said), headers))


def _spoilt(fault: str, body: bytes) -> Answer:
    match fault:
        case "500 with JSON":
            return _error(500, "InternalError")
        case "503 with JSON":
            return _error(503, "ModelUnavailable")
        case "502 without JSON":
            return Answer(_http(502, b"<html>Bad Gateway</html>", kind="text/html"))
        case "reset":
            return Answer(b"", "reset")
        case "hung up":
            return Answer(b"", "close")
        case "stalled in the headers":
            return Answer(b"HTTP/1.1 200 OK\r\nCont", "stall")
        case "stalled in the body":
            return Answer(_http(200, body)[: -len(body) // 2], "stall")
        case "truncated":
            return Answer(_http(200, body)[: -len(body) // 2], "close")
        case "another job":
            text = _text("ft-of-somebody-else", "SUCCEEDED")
            return Answer(_http(200, b'{"request_id":"r","output":%s}' % text))
        case _:
            return Answer(_http(200, body[: len(body) // 3]))


class Service:
    """What is answered to what, and how often which fault was told."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self._numbers = {storm.job_id(number): number for number in range(storm.waits)}
        self._lists: list[list[int]] = [[] for _ in range(storm.clients)]
        for number in range(storm.waits):
            if storm.word(number) != "missing":
                self._lists[storm.client_of(number)].insert(0, number)
        self.counts: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self.started = time.monotonic()

    def start(self) -> dict[str, Any]:
        """Time begins."""
        self.counts.clear()
        self._asked.clear()
        self.started = time.monotonic()
        return {"started": self.started}

    def answer(self, target: str) -> Answer:
        """What is said to this request."""
        path, _, query = target.partition("?")
        client, what = path[1:].partition("/")[0], path.rpartition("/")[2]
        self.counts["requests"] += 1
        self._asked[client] += 1
        self._asked[path] += 1
        storm, attempt = self.storm, self._asked[path]
        if _is_refused(self._asked[client]):
            return self._throttled(storm.chance("throttled", client, self._asked[client]))
        fault = _drawn_fault(storm.chance(path, attempt))
        if what == "fine-tunes":
            return self._page(int(client), parse_qs(query), fault)
        number = self._numbers.get(what)
        if number is None or storm.word(number) == "missing":
            self.counts["404"] += 1
            return _error(404, "NotFound")
        body = b'{"request_id":"%s","output":%s}' % (_REQUEST_ID.encode(), self._job(number, 0.0))
        return self._told(fault, body)

    def _throttled(self, chance: float) -> Answer:
        self.counts["429" if chance < 0.5 else "429 with Retry-After"] += 1
        return _error(429, "Throttling", "" if chance < 0.5 else f"Retry-After: {chance / 5:.3f}\r\n")

    def _told(self, fault: str, body: bytes) -> Answer:
        if not fault:
            return Answer(_http(200, body))
        self.counts[fault] += 1
        return _spoilt(fault, body)

    def _job(self, number: int, late: float) -> bytes:
        age, end = time.monotonic() - self.started - late, self.storm.ends_at(number)
        status = self.storm.word(number) if age >= end else "RUNNING" if age > end / 5 else "PENDING"
        return _text(self.storm.job_id(number), status)

    def _page(self, client: int, asked: dict[str, list[str]], fault: str) -> Answer:
        temper = self.storm.temper(client)
        if temper == "refused":
            self.counts["list: refused"] += 1
            return _error(403, "AccessDenied")
        if temper == "failing":
            self.counts["list: failing"] += 1
            return _error(500, "InternalError")
        if temper != "true":
            self.counts[f"list: {temper}"] += 1
        number, size = (int(asked[key][0]) for key in ("page_no", "page_size"))
        shift = int(20 * self.storm.chance("shift", time.monotonic())) if temper == "shifted" else 0
        first = max(0, (number - 1) * size - shift)
        late = _LATE * self.storm.span if temper == "late" else 0.0
        jobs = self._lists[client]
        rows = b",".join(self._job(each, late) for each in jobs[first : first + size])
        head = f'{{"request_id":"r","output":{{"page_no":{number},"page_size":{size},"total":{len(jobs)},'
        return self._told(
            "" if fault == "another job" else fault, b'%s"jobs":[%s]}}' % (head.encode(), rows)
        )


def _is_refused(asked: int) -> bool:
    """A few from the 100th, 200th, 400th, … request of a client on: each lowers the rate it has learned."""
    volley = 100 << max(0, (asked // 100).bit_length() - 1)
    return 0 <= asked - volley < _REFUSALS_IN_A_ROW


def _drawn_fault(chance: float) -> str:
    for name, share in _FAULTS:
        chance -= share
        if chance < 0:
            return name
    return ""


class _Server:
    """Listens, and does not while the outage lasts."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.open: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._outage: asyncio.Task[None] | None = None

    async def listen(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096
        )
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    def started(self) -> dict[str, Any]:
        self._outage = asyncio.get_running_loop().create_task(self._be_away())
        return self.service.start()

    async def _be_away(self) -> None:
        away, back = self.service.storm.outage
        await asyncio.sleep(away)
        assert self._server is not None
        self._server.close()
        self.service.counts["cut by the outage"] = len(self.open)
        for transport in tuple(self.open):
            _reset(transport)
        await asyncio.sleep(back - away)
        await self.listen()


def _reset(transport: asyncio.Transport) -> None:
    sock: Any = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, server: _Server) -> None:
        self._server = server
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        transport = self._transport
        assert transport is not None
        for head in heads:
            answer = self._answer(head.split(b" ", 2)[1].decode())
            transport.write(answer.raw)
            if answer.then == "reset":
                _reset(transport)
            elif answer.then == "close":
                transport.close()

    def _answer(self, target: str) -> Answer:
        service = self._server.service
        if target == "/bench/start":
            return Answer(_http(200, orjson.dumps(self._server.started())))
        if target == "/bench/report":
            return Answer(_http(200, orjson.dumps(dict(service.counts))))
        return service.answer(target)


async def _serve(storm: Storm) -> None:
    print(await _Server(Service(storm)).listen(), flush=True)
    await until_orphaned()


if __name__ == "__main__":
    asyncio.run(_serve(Storm(**orjson.loads(sys.argv[1]))))
