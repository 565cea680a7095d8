"""Every row of the fault table, against ours: as a careful user wants it, and nothing left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.contenders import KEY, Way
from bench.faults.adversary import JOB_ID
from bench.faults.judging import Seen, judge
from bench.faults.rows import ROWS, Row
from bench.faults.runner import Pace, play_all
from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy

PACE = Pace(interval=0.01, request=0.25, deadline=0.4, patience=8.0, cap=10.0)


@asynccontextmanager
async def ours(url: str, pace: Pace) -> AsyncIterator[Way]:
    """Our client, all of its times short."""
    poll = PollPolicy(initial=pace.interval, multiplier=1.0, max_interval=pace.interval, jitter=0.0)
    retry = RetryPolicy(initial=pace.interval, max_delay=pace.interval)
    async with FineTuneClient(
        KEY, base_url=f"{url}/api/v1", timeout=pace.request, poll=poll, retry=retry
    ) as client:
        yield Way(client.get, client.wait_for_terminal, client)


@pytest.fixture(scope="module")
def seen() -> dict[Row, Seen]:
    """What ours did on every row; most rows are played at the same time, since most of it is waiting."""
    return play_all(ROWS, ours, PACE)


def name_of(row: Row) -> str:
    return f"{row.group}: {row.name}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_what_a_careful_user_wants_is_done(row: Row, seen: dict[Row, Seen]) -> None:
    assert judge(row.want, seen[row], JOB_ID) == (), seen[row]


def test_each_row_has_a_name_of_its_own() -> None:
    assert len({name_of(row) for row in ROWS}) == len(ROWS) >= 85
