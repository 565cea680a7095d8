"""Fixtures and rules for the whole suite: no environment of the developer's, no network but loopback."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import settings

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.testing import Simulator

if TYPE_CHECKING:
    from tests.support.cli_service import Service

settings.register_profile("fast", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("long", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# pytest-asyncio asks for the current event loop, which on Python 3.11 makes one that nobody closes.
asyncio.set_event_loop(None)

if os.environ.get("EAGER_TASKS"):  # all tests of a run, on Python 3.12 and later
    from tests.support.event_loops import EagerPolicy

    asyncio.set_event_loop_policy(EagerPolicy())  # pyright: ignore[reportDeprecated]

KEY = "sk-0123456789abcdefSECRET"

OLD_AIOHTTP = aiohttp.__version__.startswith("3.11.")
"""It has no socket options, no limit on headers, and cannot send to us from a session with a base_url."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No DASHSCOPE_ variable, key file, netrc or proxy of this machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("DASHSCOPE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would reach out of this machine fails."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
async def service() -> AsyncIterator[Simulator]:
    """A running simulator."""
    async with Simulator(api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
async def client(service: Simulator) -> AsyncIterator[FineTuneClient]:
    """A client of `service`, with the default policies."""
    async with service.client() as made:
        yield made


@pytest.fixture
def server() -> Iterator[Service]:
    """A simulator in a thread of its own, for tests of the command."""
    from tests.support.cli_service import serving

    with serving() as running:
        yield running


@pytest.fixture
def quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's client has a key, and no patience."""
    from tests.support.cli_service import use_quick_client

    use_quick_client(monkeypatch)
