"""The logs of running jobs are read for their losses, a few at a time, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.follow import follow
from dashscope_ft_async.cli.live.losses import MOST, Losses, follow_losses
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.testing import Fault, Simulator
from dashscope_ft_async.testing.answers import Answer
from dashscope_ft_async.testing.jobs import SimulatedJob, log_answer


@asynccontextmanager
async def followed(
    client: FineTuneClient, tracker: JobTracker, shown: Callable[[], Iterable[Row]] | None = None
) -> AsyncGenerator[dict[str, Losses]]:
    losses: dict[str, Losses] = {}
    rows = shown or tracker.rows.values
    tasks = [
        asyncio.create_task(follow(client, tracker, list(tracker.rows), [], timeout=None)),
        asyncio.create_task(follow_losses(client, rows, losses)),
    ]
    yield losses
    assert not tasks[1].done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def logs_read(service: Simulator) -> dict[str, int]:
    """How often the log of which job was asked for."""
    paths = [seen.path.split("/")[-2] for seen in service.requests if seen.path.endswith("/logs")]
    return {job_id: paths.count(job_id) for job_id in paths}


@pytest.mark.looptime
async def test_the_losses_of_a_running_job_come_as_they_are_logged(
    service: Simulator, client: FineTuneClient
) -> None:
    lines = [
        (10, "begins"),
        (20, "{'loss': 2.5}"),
        (30, "{'loss': 1.5, 'epoch': 1.0}"),
        (40, "{'train_loss': 9.9}"),
    ]
    job_id = service.add_job([(0, "QUEUING"), (15, "RUNNING"), (3600, "SUCCEEDED")], log=lines)
    tracker = JobTracker([job_id])
    async with followed(client, tracker) as losses:
        await asyncio.sleep(14)
        assert losses == {}
        await asyncio.sleep(120)
        told = losses[job_id]
        assert (told.curve.points, told.last) == ([2.5, 1.5], 1.5)
        assert told.metric is not None
        assert told.metric.epoch == 1.0


@pytest.mark.looptime
async def test_hundreds_of_jobs_do_not_cost_hundreds_of_logs(
    service: Simulator, client: FineTuneClient
) -> None:
    first = [service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")]) for _ in range(MOST)]
    later = [service.add_job([(0, "RUNNING"), (7200, "SUCCEEDED")]) for _ in range(100)]
    idle = [service.add_job([(0, "QUEUING")]) for _ in range(100)]
    tracker = JobTracker([*first, *later, *idle])
    async with followed(client, tracker):
        await asyncio.sleep(500)
        assert logs_read(service).keys() == set(first)
        assert sum(logs_read(service).values()) <= MOST * (500 / 20 + 10)
        await asyncio.sleep(300)
        assert logs_read(service).keys() == {*first, *later[:MOST]}


@pytest.mark.looptime
async def test_the_logs_read_are_those_of_jobs_on_the_screen(
    service: Simulator, client: FineTuneClient
) -> None:
    tracker = JobTracker([service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")]) for _ in range(5)])
    last = list(tracker.rows.values())[-2:]
    async with followed(client, tracker, lambda: last):
        await asyncio.sleep(300)
    assert logs_read(service).keys() == {row.job_id for row in last}


@pytest.mark.looptime
async def test_a_log_that_is_missing_disturbs_nothing_and_costs_few_requests(
    service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> Fault:
        return Fault.error(404, "NotFound", "no such log")

    monkeypatch.setattr("dashscope_ft_async.testing.simulator.log_answer", missing)
    job_id = service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")])
    tracker = JobTracker([job_id])
    async with followed(client, tracker) as losses:
        await asyncio.sleep(700)
        assert losses[job_id].last is None
        assert logs_read(service)[job_id] <= 600 / 10
        assert tracker.rows[job_id].exit_code is ExitCode.SUCCEEDED
        asked = len(service.requests)
        await asyncio.sleep(3600)
        assert len(service.requests) == asked


@pytest.mark.looptime
@pytest.mark.parametrize("status", [404, 403])
async def test_a_log_that_is_refused_when_training_begins_is_read_later(
    status: int, service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(job: SimulatedJob, asked: Mapping[str, str], now: float, first: int) -> Answer:
        if now - job.added < 60:
            return Fault.error(status, "NotFound", "no such log")
        return log_answer(job, asked, now, first)

    monkeypatch.setattr("dashscope_ft_async.testing.simulator.log_answer", late)
    log = [(1, "{'loss': 2.5}"), (2, "{'loss': 1.5}")]
    job_id = service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")], log=log)
    async with followed(client, JobTracker([job_id])) as losses:
        await asyncio.sleep(200)
        assert losses[job_id].curve.points == [2.5, 1.5]


@pytest.mark.looptime
async def test_a_log_that_breaks_off_is_read_again_and_each_loss_counts_once(
    service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(job: SimulatedJob, asked: Mapping[str, str], now: float, first: int) -> Answer:
        if 100 < now - job.added < 200:
            return Fault.error(403, "AccessDenied", "not now")
        return log_answer(job, asked, now, first)

    monkeypatch.setattr("dashscope_ft_async.testing.simulator.log_answer", breaking)
    log = [(1, "{'loss': 2.5}"), (220, "{'loss': 1.5}")]
    job_id = service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")], log=log)
    async with followed(client, JobTracker([job_id])) as losses:
        await asyncio.sleep(180)
        assert losses[job_id].curve.points == [2.5]
        await asyncio.sleep(180)
        assert losses[job_id].curve.points == [2.5, 1.5]
