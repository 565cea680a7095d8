"""A local HTTP service in a process of its own, on raw sockets: fast, and free to send anything.

The module of a service calls `serve`. A test or a benchmark starts that module with `running` and controls
the service with `control`. The process ends when its stdin is closed, so it cannot outlive its parent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.request import Request, urlopen

import attrs
import orjson

REQUEST_ID = "2a6b2c5e-6e0d-9f4c-8c1c-3f0f6a1c9d20"
_CREATED = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service's times have no zone

Respond: TypeAlias = Callable[[asyncio.Transport, str, str], None]
"""Called with the connection, the method and the target of each request; writes the response."""


def response(
    status: int, body: bytes, *, headers: str = "", content_type: str = "application/json"
) -> bytes:
    """The bytes of a whole response. `headers` are complete lines."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{headers}\r\n".encode() + body


class Listener:
    """Accepts connections on 127.0.0.1 and passes each request, which may have no body, to `respond`."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def open(self) -> int:
        """Accept connections, on the same port as before. Returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096
        )
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    def close(self) -> None:
        """Refuse new connections and reset the open ones."""
        assert self._server is not None
        self._server.close()
        for transport in tuple(self.connections):
            reset(transport)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP reset."""
    sock: Any = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._listener.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._listener.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        assert self._transport is not None
        for head in heads:
            method, target, _ = head.split(b" ", 2)
            self._listener.respond(self._transport, method.decode(), target.decode())


async def serve(listener: Listener) -> None:
    """Print the port, then serve until stdin is closed."""
    loop = asyncio.get_running_loop()
    stdin_closed = asyncio.Event()

    def read_stdin() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stdin_closed.set)

    print(await listener.open(), flush=True)  # noqa: T201 - `running` reads it
    threading.Thread(target=read_stdin, daemon=True).start()
    await stdin_closed.wait()


@contextmanager
def running(module: str, options: attrs.AttrsInstance) -> Generator[str]:
    """Run a service's module, with its options as JSON in the first argument; gives its URL."""
    command = [sys.executable, "-m", module, orjson.dumps(attrs.asdict(options)).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def control(url: str, command: str) -> Any:
    """Send a command such as ``start`` or ``report`` to a service and return its answer. Blocks."""
    with urlopen(Request(f"{url}/bench/{command}", headers={"Connection": "close"})) as answer:
        return orjson.loads(answer.read(int(answer.headers["Content-Length"])))


def job_object(job_id: str, status: str) -> dict[str, Any]:
    """A job as the API documents it, about 1 KB of JSON."""
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
        "create_time": _time(0),
        "workspace_id": "llm-8v53etv3hwb8orx1",
        "user_identity": "1654290265984853",
        "modifier": "1654290265984853",
        "creator": "1654290265984853",
        "group": "llm",
        "max_output_cnt": 10,
        "output_cnt": 3,
    }
    if status in ("SUCCEEDED", "FAILED", "CANCELED"):
        job |= {"end_time": _time(1_052), "usage": 279_808}
    return job


def _time(seconds: float) -> str:
    return (_CREATED + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
