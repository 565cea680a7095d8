"""The fixtures for users' tests; that a user's file runs with them is in tests/project/test_docs.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from dashscope_ft_async import AuthenticationError, FineTuneClient, shared_client
from dashscope_ft_async.testing import Simulator
from dashscope_ft_async.testing.pytest_plugin import fine_tune_client, fine_tune_simulator

__all__ = ["fine_tune_client", "fine_tune_simulator"]


async def test_the_client_uses_the_simulator(
    fine_tune_simulator: Simulator, fine_tune_client: FineTuneClient
) -> None:
    job_id = fine_tune_simulator.add_job([(0, "SUCCEEDED")])
    assert (await fine_tune_client.get(job_id)).succeeded


@pytest.mark.looptime
async def test_a_wait_of_three_hours_takes_no_real_time(
    fine_tune_simulator: Simulator, fine_tune_client: FineTuneClient
) -> None:
    began = asyncio.get_running_loop().time()
    await fine_tune_client.wait_for_success(
        fine_tune_simulator.add_job([(0, "RUNNING"), (10_800, "SUCCEEDED")])
    )
    assert 10_800 <= asyncio.get_running_loop().time() - began <= 10_836


@pytest.mark.parametrize("kind", [FineTuneClient, shared_client], ids=lambda kind: kind.__name__)
async def test_a_client_that_the_tested_code_makes_uses_the_simulator(
    kind: type[FineTuneClient], fine_tune_simulator: Simulator
) -> None:
    job_id = fine_tune_simulator.add_job([(0, "SUCCEEDED")])
    async with kind() as client:
        assert (await client.wait_for_success(job_id)).job_id == job_id


async def test_another_key_is_answered_with_401(fine_tune_simulator: Simulator) -> None:
    async with FineTuneClient("sk-a-real-key-0123") as client:
        with pytest.raises(AuthenticationError):
            await client.get(fine_tune_simulator.add_job())


class TestEnvironment:
    """The fixture sets environment variables, and removes them after the test."""

    async def test_it_is_set_during_a_test(self, fine_tune_simulator: Simulator) -> None:
        assert os.environ["DASHSCOPE_BASE_URL"] == fine_tune_simulator.base_url

    def test_it_is_restored_afterwards(self) -> None:
        assert not [name for name in os.environ if name.startswith("DASHSCOPE_")]


def test_pytest_does_not_load_the_plugin_unless_it_is_named() -> None:
    code = (
        "import sys, dashscope_ft_async.testing; from importlib.metadata import entry_points;"
        "print([m for m in sys.modules if m in ('pytest', 'dashscope_ft_async.testing.pytest_plugin')],"
        "[e.name for e in entry_points(group='pytest11') if 'dashscope' in e.value])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.strip() == "[] []"
