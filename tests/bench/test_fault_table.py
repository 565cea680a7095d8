"""Every row of the fault table, with this library: it does what is expected and leaves nothing behind."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest

from bench.contenders import KEY, LIBRARY, OpenClient
from bench.faults import ROWS, Row
from bench.faults.__main__ import TIMING, main
from bench.faults.judging import Observed, judge
from bench.faults.report import PAGE, RESULTS, table
from bench.faults.runner import Timing, run_all
from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy
from tests.support.adversary import JOB_ID

FAST = Timing(interval=0.01, request=0.25, short_deadline=0.4, deadline=8.0, cancel_after=10.0)


@asynccontextmanager
async def fast_client(url: str, timing: Timing) -> AsyncGenerator[OpenClient, None]:
    """A client of this library whose times are all short."""
    poll = PollPolicy(initial=timing.interval, multiplier=1.0, max_interval=timing.interval, jitter=0.0)
    retry = RetryPolicy(initial=timing.interval, max_delay=timing.interval)
    async with FineTuneClient(
        KEY, base_url=f"{url}/api/v1", timeout=timing.request, poll=poll, retry=retry
    ) as client:
        yield OpenClient(client.get, client.wait_for_terminal, client)


@pytest.fixture(scope="module")
def observed() -> dict[Row, Observed]:
    """What the library does in each row. Rows run in parallel because they mostly wait."""
    return run_all(ROWS, fast_client, FAST)


def name_of(row: Row) -> str:
    return f"{row.group}: {row.name}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_the_wait_does_what_is_expected(row: Row, observed: dict[Row, Observed]) -> None:
    assert judge(row.expected, observed[row], JOB_ID) == (), observed[row]


def test_the_names_of_the_rows_are_unique() -> None:
    assert len({name_of(row) for row in ROWS}) == len(ROWS) >= 85


def test_the_table_in_the_docs_has_these_rows_and_the_library_does_what_is_expected() -> None:
    stored = json.loads(RESULTS.read_bytes())

    assert [(row["group"], row["name"], row["expected"]) for row in stored["rows"]] == [
        (row.group, row.name, str(row.expected)) for row in ROWS
    ]
    assert [name_of(row) for row, found in zip(ROWS, stored["rows"], strict=True) if found[LIBRARY]] == []
    assert stored["timing"] == attrs.asdict(TIMING)
    assert table(stored) in PAGE.read_text(encoding="utf-8")


def test_the_command_runs_the_rows_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--match", "Permanent errors: 409 Conflict", "--only", f"{LIBRARY},bare"]
    monkeypatch.setattr(sys, "argv", ["faults", *arguments])

    assert main() == 0

    printed = capsys.readouterr().out
    assert "| dashscope_ft_async | 1 | 0 |\n| hand-written loop | 0 | 1 |" in printed
    assert "| 409 Conflict | raise ConflictError | as expected | key in the error's repr |" in printed
