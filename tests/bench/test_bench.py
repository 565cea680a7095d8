"""The benchmark runs, and its service answers as the contract says: its numbers are only as good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import table, with_figures
from bench.server import Plan, ask, running
from dashscope_ft_async import FineTuneClient, JobStatus, PollPolicy, RateLimitError, RetryPolicy
from tests.support.paths import ROOT

FAST = PollPolicy(initial=0.05, multiplier=1.0, max_interval=0.05)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``python -m bench`` is run."""
    monkeypatch.chdir(ROOT)


async def test_the_service_tells_jobs_pages_and_ends() -> None:
    with running(Plan(120, 0.1, 0.3, ending=60)) as url:
        async with FineTuneClient("sk-bench", base_url=f"{url}/api/v1", poll=FAST) as client:
            plan = ask(url, "start")
            job = await client.get(plan["ids"][0])
            page = await client.list(2, 100)
            ended = await client.wait_many(plan["ends"])
        report = ask(url, "report")
    assert job.status in (JobStatus.PENDING, JobStatus.RUNNING)
    assert (job.job_id, job.model, job.end_time) == (plan["ids"][0], "qwen3-14b", None)
    assert (page.total, page.page_no, [row.job_id for row in page.jobs]) == (120, 2, plan["ids"][19::-1])
    assert {job.status for job in ended.values()} == {JobStatus.SUCCEEDED}
    assert all(job.end_time is not None for job in ended.values())
    assert report["get"] >= 61
    assert report["page"] >= 2


async def test_the_service_keeps_the_limit_of_the_account() -> None:
    with running(Plan(1, rate=2.0)) as url:
        once = RetryPolicy(attempts=1)
        async with FineTuneClient("sk-bench", base_url=f"{url}/api/v1", retry=once) as client:
            [job_id] = ask(url, "start")["ids"]
            for _ in range(2):
                await client.get(job_id)
            with pytest.raises(RateLimitError):
                await client.get(job_id)
        assert ask(url, "report")["throttled"] == 1


def test_a_quick_run_prints_ratios(tmp_path: Path) -> None:
    kept = tmp_path / "results.json"
    arguments = ["get", "--quick", "--only", "ours,bare", "--output", str(kept)]
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    results = json.loads(kept.read_text())
    assert set(results["scenarios"]["get"]) == {"ours", "bare"}
    assert done.stdout.startswith(table(results["scenarios"], judged=False))
    assert done.stdout.count("CPU of one get") == 2


def test_the_page_shows_the_figures_that_were_kept() -> None:
    page = (ROOT / "docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    kept = json.loads((ROOT / "bench/results.json").read_text())
    assert "| 500 waits: requests |" in page
    assert page == with_figures(page, kept)
