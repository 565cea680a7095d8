"""`WaitForFineTunes` and a workflow of a user on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Replayer, Worker

from dashscope_ft_async.temporal import FineTuneActivities, FineTuneBatch, JobOutcome, WaitForFineTunes
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY
from tests.lanes.temporal.nightly import Nightly

Handle: TypeAlias = WorkflowHandle[WaitForFineTunes, list[JobOutcome]]
RUNNING = [(0, "RUNNING")]


@asynccontextmanager
async def working(temporal: Client, queue: str, activities: FineTuneActivities) -> AsyncGenerator[None]:
    """A worker for the block."""
    async with Worker(
        temporal, task_queue=queue, workflows=[WaitForFineTunes, Nightly], activities=activities.all
    ):
        yield


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


async def start(temporal: Client, queue: str, batch: FineTuneBatch) -> Handle:
    name = f"test-{uuid4()}"
    # Returned at once, its type would be inferred from the annotation, and in vain.
    handle = await temporal.start_workflow(WaitForFineTunes.run, batch, id=name, task_queue=queue)
    return handle  # noqa: RET504


async def test_jobs_are_split_into_batches_and_the_key_is_not_in_the_history(
    service: Simulator, temporal: Client, queue: str, activities: FineTuneActivities
) -> None:
    job_ids = [service.add_job([(0, "RUNNING"), (n / 20, "SUCCEEDED")]) for n in range(10)]
    handle = await start(temporal, queue, FineTuneBatch(job_ids=job_ids, batch_size=4))

    async with working(temporal, queue, activities):
        found = await handle.result()

    history = await handle.fetch_history()
    assert [(one.job_id, one.succeeded) for one in found] == [(job_id, True) for job_id in job_ids]
    assert sum(event.HasField("activity_task_scheduled_event_attributes") for event in history.events) == 3
    assert KEY not in history.to_json()
    await Replayer(workflows=[WaitForFineTunes]).replay_workflow(history)


async def test_a_job_that_must_succeed_fails_the_workflow_with_the_name_of_the_error(
    service: Simulator, temporal: Client, queue: str, activities: FineTuneActivities
) -> None:
    job_id = service.add_job([(0, "FAILED")], message="no data")

    async with working(temporal, queue, activities):
        handle = await start(temporal, queue, FineTuneBatch(job_ids=[job_id], must_succeed=True))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()

    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.type == "JobFailedError"
    assert "no data" in caught.value.cause.cause.message


@pytest.mark.parametrize("cancel_jobs", [False, True])
async def test_cancelling_the_workflow_ends_the_waits_and_with_cancel_jobs_the_jobs(
    service: Simulator, temporal: Client, queue: str, activities: FineTuneActivities, cancel_jobs: bool
) -> None:
    job_id = service.add_job(RUNNING)
    batch = FineTuneBatch(job_ids=[job_id], heartbeat_timeout=1.0, cancel_jobs=cancel_jobs)

    async with working(temporal, queue, activities):
        handle = await start(temporal, queue, batch)
        await until(lambda: service.polls(job_id) > 0)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        began = time.monotonic()
        polls = -1
        while polls != service.polls(job_id):  # asked every 0.05 s while it is waited for
            polls = service.polls(job_id)
            await asyncio.sleep(0.3)
        seconds = time.monotonic() - began

    assert seconds < 3
    assert [seen.path for seen in service.requests if seen.method == "POST"] == (
        [f"/api/v1/fine-tunes/{job_id}/cancel"] if cancel_jobs else []
    )


async def test_after_a_worker_was_stopped_ended_jobs_are_not_polled_again(
    service: Simulator, temporal: Client, queue: str, activities: FineTuneActivities
) -> None:
    ended, runs = service.add_job([(0, "SUCCEEDED")]), service.add_job(RUNNING)
    async with working(temporal, queue, activities):
        handle = await start(temporal, queue, FineTuneBatch(job_ids=[ended, runs], heartbeat_timeout=30))
        await until(lambda: service.polls(ended) > 0 and service.polls(runs) > 3)
    asked = service.polls(ended)
    service.set_status(runs, "SUCCEEDED")

    async with working(temporal, queue, activities):
        found = await asyncio.wait_for(handle.result(), 20)

    assert [one.succeeded for one in found] == [True, True]
    assert service.polls(ended) == asked


async def test_a_workflow_of_a_user_runs_in_the_sandbox(
    service: Simulator, temporal: Client, queue: str, activities: FineTuneActivities
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], finetuned_output="m-1")

    async with working(temporal, queue, activities):
        model = await temporal.execute_workflow(Nightly.run, job_id, id=f"test-{uuid4()}", task_queue=queue)

    assert model == "m-1"
