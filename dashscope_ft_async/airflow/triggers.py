"""The wait in the event loop of a triggerer, and its results as JSON for the task and XCom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypedDict

import attrs
from airflow.triggers.base import BaseTrigger, TriggerEvent

from dashscope_ft_async import (
    DashScopeFTError,
    FineTuneClient,
    FineTuneJob,
    JobCanceledError,
    JobError,
    JobFailedError,
    PollPolicy,
    WaitError,
    WaitTimeoutError,
    WatchState,
)
from dashscope_ft_async.airflow.hooks import DEFAULT_CONNECTION, DashScopeHook

Poll: TypeAlias = PollPolicy | Mapping[str, Any]
"""A policy, or its fields by name, which can be stored as JSON."""
_JOB_ERRORS = {kind.__name__ for kind in (JobError, JobFailedError, JobCanceledError)}
_MAX_REASONS = 10


class Outcome(TypedDict):
    """The result of the wait for one job, as it is in XCom."""

    job_id: str
    status: str | None
    """The last status; `None` if no poll succeeded."""
    finetuned_output: str | None
    """Name of the model, if the job has SUCCEEDED."""
    usage: int | None
    """Tokens trained on."""
    error: str | None
    """Name of the class of the error; `None` if the job has SUCCEEDED."""
    reason: str | None
    """Text of that error."""


class FineTuneTrigger(BaseTrigger):
    """Waits for jobs, and fires once: when all have ended, or at the deadline.

    The payload of the event is ``{"jobs": [...]}`` in the order of `job_ids`, with the keys that
    `WaitForFineTuneOperator` documents. The serialised trigger holds job ids and times and no key. Another
    triggerer that takes it over continues with the same deadline and polling interval.

    Args:
        job_ids: One id, or many.
        dashscope_conn_id: As of `DashScopeHook`.
        started: When the wait began, with a time zone, or as ISO text; by default now.
        deadline: When the wait gives up; by default never.
        poll: Replaces the default policy.
    """

    def __init__(
        self,
        job_ids: str | Iterable[str],
        *,
        dashscope_conn_id: str = DEFAULT_CONNECTION,
        started: datetime | str | None = None,
        deadline: datetime | str | None = None,
        poll: Poll | None = None,
    ) -> None:
        super().__init__()
        self.job_ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        self.dashscope_conn_id = dashscope_conn_id
        self.started = _to_datetime(started) or datetime.now(UTC)
        self.deadline = _to_datetime(deadline)
        self.poll = PollPolicy(**poll) if isinstance(poll, Mapping) else poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class, and its arguments as JSON values."""
        return (
            "dashscope_ft_async.airflow.FineTuneTrigger",
            {
                "job_ids": self.job_ids,
                "dashscope_conn_id": self.dashscope_conn_id,
                "started": self.started.isoformat(),
                "deadline": None if self.deadline is None else self.deadline.isoformat(),
                "poll": None if self.poll is None else attrs.asdict(self.poll),
            },
        )

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Yield the one event. Cancelling ends the waits and does not touch the jobs."""
        outcomes = await self._wait_for_all()  # the client is released before the generator is suspended
        yield TriggerEvent({"jobs": outcomes})

    async def _wait_for_all(self) -> list[Outcome]:
        try:
            async with (
                DashScopeHook(self.dashscope_conn_id).client() as client,
                asyncio.TaskGroup() as group,
            ):
                waits = [group.create_task(self._wait_for(client, job_id)) for job_id in self.job_ids]
        except DashScopeFTError as error:  # there is no client
            return [_outcome(job_id, None, error) for job_id in self.job_ids]
        return [wait.result() for wait in waits]

    async def _wait_for(self, client: FineTuneClient, job_id: str) -> Outcome:
        try:
            state = WatchState(
                job_id=job_id,
                base_url=client.base_url,
                workspace=client.workspace,
                started=self.started,
                deadline=self.deadline,
            )
            job = await client.wait_for_success(state, poll=self.poll, on_update=self._log_status)
        except JobError as error:
            return _outcome(job_id, error.job, error)
        except WaitError as error:
            return _outcome(job_id, error.last_job, error)
        except DashScopeFTError as error:
            return _outcome(job_id, None, error)
        return _outcome(job_id, job, None)

    def _log_status(self, job: FineTuneJob) -> None:
        self.log.info("%s is %s", job.job_id, job.status)


def is_job_error(outcomes: Sequence[Outcome]) -> bool:
    """Return whether a job ended without success, which no further wait can change."""
    return any(outcome["error"] in _JOB_ERRORS for outcome in outcomes)


def is_timeout(outcomes: Sequence[Outcome]) -> bool:
    """Return whether the deadline passed before a job ended."""
    return any(outcome["error"] == WaitTimeoutError.__name__ for outcome in outcomes)


def error_message(outcomes: Sequence[Outcome]) -> str | None:
    """Return the text of the errors; `None` if all jobs have SUCCEEDED."""
    errors = [f"{outcome['error']}: {outcome['reason']}" for outcome in outcomes if outcome["error"]]
    if not errors:
        return None
    if len(outcomes) == 1:
        return errors[0]
    more = [f"and {len(errors) - _MAX_REASONS} more"] if len(errors) > _MAX_REASONS else []
    head = f"{len(errors)} of {len(outcomes)} jobs did not succeed:"
    return "\n".join([head, *errors[:_MAX_REASONS], *more])


def _outcome(job_id: str, job: FineTuneJob | None, error: DashScopeFTError | None) -> Outcome:
    return {
        "job_id": job_id,
        "status": None if job is None else job.status.value,
        # The service reserves the name early, so it means nothing before the job has succeeded.
        "finetuned_output": None if job is None or error is not None else job.finetuned_output,
        "usage": None if job is None else job.usage,
        "error": None if error is None else type(error).__name__,
        "reason": None if error is None else str(error),
    }


def _to_datetime(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
