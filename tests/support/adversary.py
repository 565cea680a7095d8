"""Servers that misbehave, in a few lines each: what proxies and broken networks do to an answer."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

Answer: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; whether the connection stays open after it."""

JOB_ID = "ft-1"


def job_body(status: str = "SUCCEEDED", **fields: object) -> bytes:
    """The documented JSON of a job."""
    named = {"finetuned_output": "qwen-ft-1"} if status == "SUCCEEDED" else {}
    output = {"job_id": JOB_ID, "status": status, **named, **fields}
    return json.dumps({"request_id": "r-1", "output": output}).encode()


class Adversary:
    """A server on 127.0.0.1 that gives its n-th request the n-th answer, and the last one to all later."""

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._answers = deque(answers or (good,))
        self._server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each connection."""
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()
        self.heads: list[str] = []
        """The head of every request, request line included."""
        self.times: list[float] = []
        """When each request came, by the loop's clock."""
        self.connections = 0
        """Connections ever accepted."""
        self.open = 0
        """Connections whose peer is still there."""
        self.port = 0

    @property
    def base_url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def listen(self) -> None:
        """Take connections: on the port it had before, if it had one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no more connections; those that are there stay."""
        assert self._server is not None
        self._server.close()

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def arrived(self) -> None:
        """Until the next request has come in."""
        self._arrived.clear()
        async with asyncio.timeout(5):
            await self._arrived.wait()

    async def left(self, most: int, *, within: float = 5.0) -> None:
        """Until at most so many connections are open."""
        async with asyncio.timeout(within):
            while self.open > most:
                self._gone.clear()
                await self._gone.wait()

    def header(self, name: str, request: int = -1) -> str | None:
        """The value of a header of a request that came."""
        for line in self.heads[request].split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name.lower():
                return value.strip()
        return None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode("latin-1"))
                self.times.append(asyncio.get_running_loop().time())
                self._arrived.set()
                answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
                if not await answer(reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._gone.set()
            writer.close()


def head(
    status: str = "200 OK", *, length: int | None = None, kind: str = "application/json", **headers: str
) -> bytes:
    """The head of an answer; ``content_encoding="gzip"`` gives that header."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def whole(
    body: bytes = b"", status: str = "200 OK", *, kind: str = "application/json", **headers: str
) -> Answer:
    """A well-formed answer."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(head(status, length=len(body), kind=kind, **headers) + body)
        await writer.drain()
        return True

    return answer


def then_closed(raw: bytes) -> Answer:
    """These bytes, then the end of the connection."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        return False

    return answer


def then_silent(raw: bytes = b"") -> Answer:
    """These bytes, then nothing for as long as the client stays."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await reader.read()
        return False

    return answer


def kept(raw: bytes) -> Answer:
    """These bytes, on a connection that stays."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        return True

    return answer


def trickle(start: bytes, rest: bytes, *, every: float) -> Answer:
    """`start` at once, then a byte of `rest` at a time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(start)
        for byte in rest:
            await asyncio.sleep(every)
            if reader.at_eof():
                return False
            writer.write(bytes([byte]))
            await writer.drain()
        return True

    return answer


def endless(start: bytes, block: bytes, most: int) -> Answer:
    """`start`, then `block` again and again while the client stays, at most so many times."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(start)
        for __ in range(most):
            writer.write(block)
            await writer.drain()
        return False

    return answer


def then_idle(raw: bytes, seconds: float) -> Answer:
    """These bytes; the connection is closed, idle, a little later."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        await asyncio.sleep(seconds)
        return False

    return answer


def elsewhere(status: str, path: str) -> Answer:
    """A redirect to another name of this server, which is another origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        port = writer.get_extra_info("sockname")[1]
        return await whole(status=status, location=f"http://localhost:{port}{path}")(reader, writer)

    return answer


def after(delay: asyncio.Event, answer: Answer) -> Answer:
    """`answer`, once an event has come."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await delay.wait()
        return await answer(reader, writer)

    return late


def then_reset(raw: bytes) -> Answer:
    """These bytes, then a TCP reset."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        sock: Any = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    return answer


reset = then_reset(b"")
"""A TCP reset instead of an answer."""


async def hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> bool:
    """The connection is closed instead of an answer."""
    return False


def good_and_closed(close: asyncio.Event) -> Answer:
    """A good answer; the connection is closed, idle, when the event comes."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(head(length=len(job_body())) + job_body())
        await writer.drain()
        await close.wait()
        return False

    return answer


good = whole(job_body())


def bomb(block: bytes, times: int, last: bytes = b"") -> bytes:
    """gzip of `times` blocks and `last`, made without ever holding them."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(times):
        crc = zlib.crc32(block, crc)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    end = packer.compress(last) + packer.flush()
    size = len(block) * times + len(last)
    trailer = struct.pack("<LL", zlib.crc32(last, crc), size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed * times + end + trailer


def gzipped(plain: bytes) -> Answer:
    """A good answer, compressed."""
    return whole(gzip.compress(plain, 1), content_encoding="gzip")


def refused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def swallowing_port() -> Generator[int, None, None]:
    """A port of 127.0.0.1 whose queue is full: attempts to connect are neither taken nor refused."""
    with socket.socket() as server, contextlib.ExitStack() as queue:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = int(server.getsockname()[1])
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port
