"""Every row of the fault table, against ours: as a careful user wants it, and nothing left behind."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest

from bench.contenders import KEY, Way
from bench.faults.__main__ import PACE as KEPT_PACE
from bench.faults.__main__ import main
from bench.faults.judging import Seen, judge
from bench.faults.report import PAGE, RESULTS, table
from bench.faults.rows import ROWS, Row
from bench.faults.runner import Pace, play_all
from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy
from tests.support.adversary import JOB_ID

PACE = Pace(interval=0.01, request=0.25, deadline=0.4, patience=8.0, cap=10.0)


@asynccontextmanager
async def ours(url: str, pace: Pace) -> AsyncGenerator[Way, None]:
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


def test_the_table_of_the_docs_has_these_rows_and_ours_does_as_wanted_in_each() -> None:
    kept = json.loads(RESULTS.read_bytes())

    assert [(row["group"], row["name"], row["wanted"]) for row in kept["rows"]] == [
        (row.group, row.name, str(row.want)) for row in ROWS
    ]
    assert [name_of(row) for row, told in zip(ROWS, kept["rows"], strict=True) if told["ours"]] == []
    assert kept["pace"] == attrs.asdict(KEPT_PACE)
    assert table(kept) in PAGE.read_text(encoding="utf-8")


def test_the_command_plays_the_rows_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", "--match", "Redirects: 301", "--only", "ours,bare"])

    assert main() == 0

    printed = capsys.readouterr().out
    assert "| dashscope_ft_async | 1 | 0 |\n| hand-written loop | 0 | 0 |" in printed
    assert "| as wanted | returns it, SUCCEEDED; follows the redirect |" in printed
