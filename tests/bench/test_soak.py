"""The soak test with hundreds of waits. The long one is ``python -m bench.soak``."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections import Counter

import pytest

from bench.soak import Summary, plan_for
from tests.support.faulty_service import FaultPlan, FaultyService
from tests.support.paths import ROOT


async def run_soak(seed: int) -> tuple[int, str]:
    """Exit code and output of a soak test; it counts what is left in its whole process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "bench.soak", "--waits", "300", "--seed", str(seed)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    return process.returncode or 0, (stdout + stderr).decode()


async def test_no_wait_is_lost_or_wrong_and_nothing_is_left() -> None:
    seeds = [1, 2, random.randrange(10**6)]

    for code, output in await asyncio.gather(*map(run_soak, seeds)):
        assert code == 0, output
        assert "300 waits: " in output
        assert "lost 0, wrong 0, leaked 0" in output
        assert "cut by the outage" in output
        faults = re.search(r"(\d+) faults:", output)  # which of them were met depends on scheduling
        assert faults is not None, output
        assert int(faults[1]) >= 30, output
        assert "Unclosed" not in output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    "finding",
    [{"lost": 1}, {"wrong": ["ft-1"]}, {"leaked": Counter({"tasks": 1})}],
    ids=["lost", "wrong", "leaked"],
)
def test_a_run_with_any_finding_is_not_clean(finding: dict[str, object]) -> None:
    assert Summary(plan_for(300, 1)).clean
    assert not Summary(plan_for(300, 1), **finding).clean  # type: ignore[arg-type] # pyright: ignore


def test_the_same_seed_gives_the_same_answers() -> None:
    def answers(seed: int) -> list[bytes]:
        service = FaultyService(FaultPlan(seed, 40, 5, 1e9))
        return [
            service.answer(f"/{n % 5}/api/v1/fine-tunes/{service.plan.job_id(n)}").raw for n in range(40)
        ]

    assert answers(7) == answers(7)
    assert answers(7) != answers(8)
