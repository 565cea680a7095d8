"""The wait itself, in the triggerer's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs
from airflow.triggers.base import BaseTrigger, TriggerEvent

from dashscope_ft_async.airflow.hooks import DEFAULT_CONNECTION, DashScopeHook
from dashscope_ft_async.airflow.outcomes import Outcome, of_error, of_success
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.policy import PollPolicy

Poll: TypeAlias = PollPolicy | Mapping[str, Any]
"""A policy, or its fields by name: that survives JSON."""


class FineTuneTrigger(BaseTrigger):
    """Fires once, when all its jobs have ended or the deadline has passed.

    The event's payload is ``{"jobs": [...]}``, in the order of `job_ids`; each has the keys that
    `WaitForFineTuneOperator` puts in XCom. Serialised, it holds ids and moments, and no key: a triggerer
    that takes it over from a dead one goes on at the same pace, with the same deadline.

    Args:
        job_ids: One id, or many.
        dashscope_conn_id: As of `DashScopeHook`.
        started: When the wait began, with a time zone, or as ISO text; by default now.
        deadline: When it gives up; by default never.
        poll: Instead of the usual pace.
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
        self.started = _moment(started) or datetime.now(UTC)
        self.deadline = _moment(deadline)
        self.poll = PollPolicy(**poll) if isinstance(poll, Mapping) else poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the class is, and what makes the same wait again; all of it plain JSON."""
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
        """The one event. Cancelling leaves the wait and never touches the jobs."""
        outcomes = await self._outcomes()  # and leave the client before an event suspends this
        yield TriggerEvent({"jobs": outcomes})

    async def _outcomes(self) -> list[Outcome]:
        try:
            async with (
                DashScopeHook(self.dashscope_conn_id).client() as client,
                asyncio.TaskGroup() as group,
            ):
                waits = [group.create_task(self._outcome(client, job_id)) for job_id in self.job_ids]
        except DashScopeFTError as no_client:
            return [of_error(job_id, no_client) for job_id in self.job_ids]
        return [wait.result() for wait in waits]

    async def _outcome(self, client: FineTuneClient, job_id: str) -> Outcome:
        try:
            state = WatchState(
                job_id=job_id,
                base_url=client.base_url,
                workspace=client.workspace,
                started=self.started,
                deadline=self.deadline,
            )
            return of_success(await client.wait_for_success(state, poll=self.poll, on_update=self._tell))
        except DashScopeFTError as error:
            return of_error(job_id, error)

    def _tell(self, job: FineTuneJob) -> None:
        self.log.info("%s is %s", job.job_id, job.status)


def _moment(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
