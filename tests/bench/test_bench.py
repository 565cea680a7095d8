"""The benchmark runs, and its service answers as documented."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.contenders import LIBRARY
from bench.report import LINES, table, with_figures
from bench.scenarios import SCENARIOS
from bench.server import Plan, control, running
from dashscope_ft_async import FineTuneClient, JobStatus, PollPolicy, RateLimitError, RetryPolicy
from tests.support.paths import ROOT

FAST = PollPolicy(initial=0.05, multiplier=1.0, max_interval=0.05)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``python -m bench`` is run."""
    monkeypatch.chdir(ROOT)


async def test_the_service_answers_with_jobs_and_pages() -> None:
    with running(Plan(130, 0.1, 0.3, ending=60, ended=10)) as url:
        async with FineTuneClient("sk-bench", base_url=f"{url}/api/v1", poll=FAST) as client:
            plan = control(url, "start")
            job, before = await client.get(plan["ids"][10]), await client.get(plan["ids"][9])
            page = await client.list(2, 100)
            ended = await client.wait_many(plan["ends"])
        requests = control(url, "report")["requests"]
    assert plan["running"] == plan["ids"][10:]
    assert len(plan["ends"]) == 60
    assert job.status in (JobStatus.PENDING, JobStatus.RUNNING)
    assert (job.job_id, job.model, job.end_time) == (plan["ids"][10], "qwen3-14b", None)
    assert before.status is JobStatus.SUCCEEDED
    assert (page.total, page.page_no, [row.job_id for row in page.jobs]) == (130, 2, plan["ids"][29::-1])
    assert {job.status for job in ended.values()} == {JobStatus.SUCCEEDED}
    assert all(job.end_time is not None for job in ended.values())
    assert requests["get"] >= 2
    assert requests["page"] >= 2


async def test_all_clients_of_the_account_share_its_limit() -> None:
    with running(Plan(1, rate=2.0)) as url:
        once = RetryPolicy(attempts=1)
        [job_id] = control(url, "start")["ids"]
        async with (
            FineTuneClient("sk-bench", base_url=f"{url}/p0/api/v1", retry=once) as first,
            FineTuneClient("sk-bench", base_url=f"{url}/p1/api/v1", retry=once) as second,
        ):
            await first.get(job_id)
            await second.get(job_id)
            for client in (first, second):
                with pytest.raises(RateLimitError):
                    await client.get(job_id)
        report = control(url, "report")
        assert report["requests"] == {"get": 2, "throttled": 2}
        assert report["accepted"] == {"/p0": 1, "/p1": 1}


def test_a_quick_run_prints_ratios(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    arguments = ["get", "--quick", "--only", f"{LIBRARY},bare,bare+cattrs", "--output", str(output)]
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    results = json.loads(output.read_text())
    assert set(results["scenarios"]["get"]) == {LIBRARY, "bare", "bare+cattrs"}
    assert done.stdout.startswith(table(results["scenarios"], goals=False))
    assert done.stdout.count("CPU of one get") == 2


def test_a_goal_is_met_up_to_its_value_and_missed_above_it() -> None:
    def verdict(title: str, **values: float) -> str:
        [line] = [line for line in LINES if line.title == title]
        measured = {name: {line.key: value} for name, value in values.items()}
        return line.verdict({line.scenario: measured})

    assert verdict("500 waits: CPU", bare=1.0, dashscope_ft_async=0.22).endswith(": met")
    assert verdict("500 waits: CPU", bare=1.0, dashscope_ft_async=0.23).endswith(": **missed**")
    assert verdict("… time to close the client", dashscope_ft_async=1.1) == "≤ 1 s: **missed**"
    assert verdict("… time to close the client", bare=1.1) == "≤ 1 s"


def test_every_scenario_has_a_line_in_the_table() -> None:
    assert {line.scenario for line in LINES} == set(SCENARIOS)


def test_the_page_shows_the_stored_figures() -> None:
    page = (ROOT / "docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    stored = json.loads((ROOT / "bench/results.json").read_text())
    assert "| 500 waits: CPU |" in page
    assert page == with_figures(page, stored)
