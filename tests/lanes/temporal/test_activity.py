"""The activity without a server: outcomes, heartbeats of an earlier attempt, and errors."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from dashscope_ft_async import ConfigurationError, WatchState
from dashscope_ft_async.temporal import FineTuneActivities, FineTuneBatch, JobOutcome
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY

RUNNING = [(0, "RUNNING")]


class Attempt:
    """One attempt that continues from `details`. It keeps its heartbeats."""

    def __init__(self, *details: Any, scheduled: datetime | None = None) -> None:
        self.heartbeats: list[Any] = []
        self._environment = ActivityEnvironment()
        self._environment.on_heartbeat = self.heartbeats.append
        self._environment.info = replace(
            self._environment.info,
            heartbeat_details=details,
            scheduled_time=scheduled or datetime.now(UTC),
            heartbeat_timeout=timedelta(seconds=0.2),
        )

    async def wait(self, activities: FineTuneActivities, batch: FineTuneBatch) -> list[JobOutcome]:
        return await self._environment.run(activities.wait_for_jobs, batch)

    async def cancel(self, activities: FineTuneActivities, batch: FineTuneBatch) -> None:
        await self._environment.run(activities.cancel_jobs, batch)


async def test_outcomes_have_the_order_of_the_ids(
    service: Simulator, activities: FineTuneActivities
) -> None:
    good = service.add_job([(0, "RUNNING"), (0.1, "SUCCEEDED")], usage=5, finetuned_output="m-1")
    bad = service.add_job([(0, "FAILED")], code="InvalidParameter", message="no data")
    stopped = service.add_job([(0, "CANCELED")])
    slow = service.add_job(RUNNING)

    found = await Attempt().wait(
        activities,
        FineTuneBatch(job_ids=[good, bad, "ft-none", slow, stopped, good], timeout=0.5),
    )

    assert [one.job_id for one in found] == [good, bad, "ft-none", slow, stopped]
    assert found[0] == JobOutcome(job_id=good, status="SUCCEEDED", usage=5, finetuned_output="m-1")
    assert (found[1].status, found[1].code, found[1].reason) == ("FAILED", "InvalidParameter", "no data")
    assert (found[2].status, found[2].error) == (None, "NotFoundError")
    assert (found[3].status, found[3].error) == ("RUNNING", "WaitTimeoutError")
    assert (found[4].status, found[4].error, found[4].succeeded) == ("CANCELED", None, False)


async def test_a_later_attempt_does_not_poll_ended_jobs_and_keeps_the_deadline(
    service: Simulator, activities: FineTuneActivities
) -> None:
    ended, runs = service.add_job([(0, "SUCCEEDED")]), service.add_job(RUNNING)
    batch = FineTuneBatch(job_ids=[ended, runs], timeout=60)
    first = Attempt()
    dead = asyncio.create_task(first.wait(activities, batch))
    while not first.heartbeats or not first.heartbeats[-1]["ended"]:
        await asyncio.sleep(0.02)
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    detail = first.heartbeats[-1]
    [state] = [WatchState.from_json(text) for text in detail["waiting"]]
    polls = service.polls(ended), service.polls(runs)
    service.set_status(runs, "SUCCEEDED")

    # Scheduled long ago by now: only the state knows the deadline, and it has not passed.
    second = Attempt(detail, scheduled=datetime.now(UTC) - timedelta(hours=1))
    found = await second.wait(activities, batch)

    assert [one.succeeded for one in found] == [True, True]
    assert (service.polls(ended), service.polls(runs)) == (polls[0], polls[1] + 1)
    assert WatchState.from_json(second.heartbeats[0]["waiting"][0]).deadline == state.deadline
    assert KEY not in repr(first.heartbeats)


async def test_a_later_attempt_without_a_heartbeat_keeps_the_deadline(
    service: Simulator, activities: FineTuneActivities
) -> None:
    scheduled = datetime.now(UTC) - timedelta(seconds=59.8)

    [found] = await asyncio.wait_for(
        Attempt(scheduled=scheduled).wait(
            activities, FineTuneBatch(job_ids=[service.add_job(RUNNING)], timeout=60)
        ),
        5,
    )

    assert found.error == "WaitTimeoutError"


async def failure(activities: FineTuneActivities, attempt: Attempt, **batch: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await attempt.wait(activities, FineTuneBatch(**batch))
    assert caught.value.__cause__ is None
    assert KEY not in repr(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.error(401, "InvalidApiKey"), "AuthenticationError"),
        (Fault.error(403, "AccessDenied"), "PermissionDeniedError"),
        (Fault.error(400, "Throttling.AllocationQuota"), "RateLimitError"),
    ],
)
async def test_an_error_of_the_whole_batch_fails_it_with_the_name_of_the_error(
    service: Simulator, activities: FineTuneActivities, fault: Fault, kind: str
) -> None:
    job_id = service.add_job(RUNNING, faults=[fault])

    error = await failure(activities, Attempt(), job_ids=[job_id, service.add_job([(0, "SUCCEEDED")])])

    assert (error.type, error.non_retryable) == (kind, True)


async def test_an_unreachable_service_is_retried_until_the_deadline(
    activities: FineTuneActivities, nowhere: str
) -> None:
    down: dict[str, Any] = {"job_ids": ["ft-1", "ft-2", "ft-3"], "base_url": nowhere, "timeout": 60}

    error = await failure(activities, Attempt(), **down)
    late = Attempt(scheduled=datetime.now(UTC) - timedelta(seconds=61))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)
    with pytest.raises(ApplicationError) as last:
        await late.wait(activities, FineTuneBatch(**down))
    assert last.value.non_retryable


async def test_bad_input_is_not_retried(activities: FineTuneActivities) -> None:
    error = await failure(activities, Attempt(), job_ids=["../deployments"])

    assert (error.type, error.non_retryable) == ("ConfigurationError", True)


@pytest.mark.parametrize(
    ("status", "kind"), [("FAILED", "JobFailedError"), ("CANCELED", "JobCanceledError")]
)
async def test_a_job_that_must_succeed_fails_the_batch_at_once_without_a_retry(
    service: Simulator, activities: FineTuneActivities, status: str, kind: str
) -> None:
    job_id = service.add_job([(0, status)])

    error = await asyncio.wait_for(
        failure(activities, Attempt(), job_ids=[job_id, service.add_job(RUNNING)], must_succeed=True), 5
    )

    assert (error.type, error.non_retryable) == (kind, True)
    assert [(one.job_id, one.status) for one in error.details[0]] == [(job_id, status)]


async def test_a_failed_job_fails_the_batch_also_after_a_worker_crash(
    service: Simulator, activities: FineTuneActivities
) -> None:
    job_id = service.add_job([(0, "FAILED")])
    detail = {"ended": [{"job_id": job_id, "status": "FAILED", "of a newer version": 1}], "waiting": []}

    error = await failure(activities, Attempt(detail), job_ids=[job_id], must_succeed=True)

    assert error.type == "JobFailedError"


@pytest.mark.parametrize(
    "wrong",
    [
        {"job_ids": "ft-1"},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"batch_size": 0},
        {"heartbeat_timeout": 0.0},
    ],
    ids=str,
)
def test_an_impossible_batch_is_refused_when_it_is_made(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"job_ids": ["ft-1"]}

    with pytest.raises(ConfigurationError):
        FineTuneBatch(**(good | wrong))


async def test_cancelling_skips_jobs_that_have_ended_or_do_not_exist(
    service: Simulator, activities: FineTuneActivities
) -> None:
    ended, runs = service.add_job([(0, "SUCCEEDED")]), service.add_job(RUNNING)

    await Attempt().cancel(activities, FineTuneBatch(job_ids=[ended, "ft-none", runs]))

    stops = [seen.status for seen in service.requests if seen.path.endswith("/cancel")]
    assert stops == [400, 404, 200]
