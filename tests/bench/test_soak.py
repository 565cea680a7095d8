"""The soak, short: hundreds of waits through a storm. The long one: ``python -m bench.soak``."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections import Counter

import pytest

from bench.soak import Summary, storm_of
from bench.storm import Service, Storm
from tests.support.paths import ROOT


async def soaked(seed: int) -> tuple[int, str]:
    """Exit code and summary of a storm, in a process of its own: what is left is counted in all of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "bench.soak", "--waits", "300", "--seed", str(seed)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    return process.returncode or 0, (printed + complaints).decode()


async def test_no_wait_is_lost_or_wrong_in_a_storm_and_nothing_is_left() -> None:
    seeds = [1, 2, random.randrange(10**6)]

    for code, printed in await asyncio.gather(*map(soaked, seeds)):
        assert code == 0, printed
        assert "waits 300: " in printed
        assert "lost 0, wrong 0, leaked 0" in printed
        assert "cut by the outage" in printed
        spoilt = re.search(r"spoilt (\d+)", printed)  # which faults they were is a matter of chance
        assert spoilt is not None, printed
        assert int(spoilt[1]) >= 30, printed
        assert "Unclosed" not in printed
        assert "Traceback" not in printed


@pytest.mark.parametrize(
    "odd",
    [{"lost": 1}, {"wrong": ["ft-1"]}, {"leaked": Counter({"tasks": 1})}],
    ids=["lost", "wrong", "leaked"],
)
def test_a_soak_that_is_not_clean_says_so(odd: dict[str, object]) -> None:
    assert Summary(storm_of(300, 1)).clean
    assert not Summary(storm_of(300, 1), **odd).clean  # type: ignore[arg-type] # pyright: ignore


def test_the_same_seed_rolls_the_same_dice() -> None:
    def told(seed: int) -> list[bytes]:
        service = Service(Storm(seed, 40, 5, 1e9))
        ask = service.answer
        return [ask(f"/{n % 5}/api/v1/fine-tunes/{service.storm.job_id(n)}").raw for n in range(40)]

    assert told(7) == told(7)
    assert told(7) != told(8)
