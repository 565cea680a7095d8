"""Fixtures for pytest with pytest-asyncio. They are loaded only if you name the module:

    pytest_plugins = ["dashscope_ft_async.testing.pytest_plugin"]

Both run in the event loop of the test, also under virtual time (``@pytest.mark.looptime``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.testing.simulator import Simulator

_KEY = "sk-simulated"


@pytest_asyncio.fixture
async def fine_tune_simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """A running `Simulator`. The environment makes every ``FineTuneClient()`` use it, so that no test
    reaches the real service or reads a real key."""
    async with Simulator(api_key=_KEY) as simulator:
        monkeypatch.setenv("DASHSCOPE_API_KEY", _KEY)
        for name in ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"):
            monkeypatch.setenv(name, simulator.base_url)
        for name in ("DASHSCOPE_WORKSPACE", "DASHSCOPE_WORKSPACE_ID"):
            monkeypatch.delenv(name, raising=False)
        yield simulator


@pytest_asyncio.fixture
async def fine_tune_client(fine_tune_simulator: Simulator) -> AsyncIterator[FineTuneClient]:
    """A client of `fine_tune_simulator` with the default policies."""
    async with fine_tune_simulator.client() as client:
        yield client
