"""A real Temporal server for all tests of the lane, and activities that use a simulator."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from temporalio.client import Client

from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy, shared_client
from dashscope_ft_async.temporal import FineTuneActivities
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY
from tests.lanes.temporal.server import connected, temporal_server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server of our own."""
    with temporal_server() as (address, _):
        yield address


@pytest.fixture
async def temporal(server: str) -> Client:
    """A client of it."""
    return await connected(server)


@pytest.fixture
def queue() -> str:
    """A task queue that no other test uses."""
    return f"queue-{uuid4()}"


@pytest.fixture
def activities(service: Simulator) -> FineTuneActivities:
    """Activities that poll `service` at short intervals."""
    fast = PollPolicy(initial=0.05, multiplier=1.0, max_interval=0.05)
    retry = RetryPolicy(attempts=2, initial=0.01, max_delay=0.01)

    def client(
        *, base_url: str | None, region: str | None, workspace: str | None
    ) -> AbstractAsyncContextManager[FineTuneClient]:
        url = base_url or service.base_url
        return shared_client(KEY, base_url=url, workspace=workspace, poll=fast, retry=retry)

    return FineTuneActivities(client)


@pytest.fixture
def nowhere() -> str:
    """The URL of a service that is down."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/api/v1"
