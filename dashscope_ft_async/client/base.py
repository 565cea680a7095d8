"""What the methods of the client share: the parts, and how a wait begins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import attrs

from dashscope_ft_async._api.config import Settings
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.runner import Runner
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.wire import job_id_of
from dashscope_ft_async._engine.scheduler import Coalesce, Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.checks import Timeout, checked, timeout_seconds
from dashscope_ft_async.policy import PollPolicy, Trouble, WaitPolicy, WaitState

Watchable: TypeAlias = str | FineTuneJob | WatchState
"""What may be waited for: a job id, a snapshot, or the state of an earlier wait to go on with."""


class ClientBase:
    """The parts of a client. The scheduler is made for the first wait, in the event loop that drives it."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        policy: WaitPolicy,
        events: EventStream,
        *,
        coalesce: Coalesce,
        max_rate: float | None,
    ) -> None:
        self._settings = settings
        self._session = session
        self._policy = policy
        self._events = events
        self._coalesce: Coalesce = coalesce
        self._runner = Runner(session, settings, policy.retry, events, max_rate)
        self._made_scheduler: Scheduler | None = None

    def _scheduler(self) -> Scheduler:
        self._session.check_usable()
        if self._made_scheduler is None:
            self._made_scheduler = Scheduler(
                self._runner, self._events, save=self._save, coalesce=self._coalesce
            )
        return self._made_scheduler

    def _begin_wait(
        self, job: Watchable, timeout: Timeout, poll: PollPolicy | None
    ) -> tuple[Scheduler, Wait]:
        """Begin a wait; the scheduler's `remove` must follow."""
        job_id, policy = self._job_id_of(job), self._policy_for(poll)
        begin = self._begin_state(job, deadline_after(timeout_seconds(timeout)))
        scheduler = self._scheduler()
        return scheduler, scheduler.add(job_id, policy, begin)

    def _check_wait(self, job: Watchable, timeout: Timeout, poll: PollPolicy | None) -> None:
        """Raise what `_begin_wait` would raise for its arguments."""
        timeout_seconds(timeout)
        self._policy_for(poll)
        self._job_id_of(job)

    def _policy_for(self, poll: PollPolicy | None) -> WaitPolicy:
        if poll is None:
            return self._policy
        return attrs.evolve(self._policy, poll=checked(poll, PollPolicy, "poll"))

    def _job_id_of(self, job: Watchable) -> str:
        """The id of the job. Raises `ConfigurationError` if a state belongs to another URL or workspace."""
        if isinstance(job, WatchState):
            for name in ("base_url", "workspace"):
                of_state, of_client = getattr(job, name), getattr(self._settings, name)
                if of_state != of_client:
                    raise ConfigurationError(
                        f"the state was saved with {name} {of_state!r}; this client has {of_client!r}."
                    )
        return job_id_of(job)

    def _begin_state(self, job: Watchable, deadline: float | None) -> WaitState:
        """The state of a wait that begins now, or goes on from a saved state with its own deadline."""
        now = asyncio.get_running_loop().time()
        if not isinstance(job, WatchState):
            return WaitState(now, deadline)
        clock = datetime.now(UTC)
        # A clock that is behind the one of the earlier process must not make the age negative.
        age = max(0.0, (clock - job.started).total_seconds())
        left = None if job.deadline is None else (job.deadline - clock).total_seconds()
        return WaitState(
            now - age,
            None if left is None else now + left,
            trouble=Trouble(attempts=job.failures, since=now) if job.failures else None,
            origin=job,
        )

    def _save(self, job_id: str, state: WaitState, last_job: FineTuneJob | None) -> WatchState:
        failures = 0 if state.trouble is None else state.trouble.attempts
        if state.origin is not None:
            last_status = state.origin.last_status if last_job is None else last_job.raw_status
            return attrs.evolve(state.origin, last_status=last_status, failures=failures)
        now, clock = asyncio.get_running_loop().time(), datetime.now(UTC)
        return WatchState(
            job_id=job_id,
            base_url=self._settings.base_url,
            workspace=self._settings.workspace,
            started=clock - timedelta(seconds=now - state.started),
            deadline=None if state.deadline is None else _later(clock, state.deadline - now),
            last_status=None if last_job is None else last_job.raw_status,
            failures=failures,
        )


def deadline_after(seconds: float | None) -> float | None:
    """The loop's time `seconds` from now; `None` for never."""
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


def _later(clock: datetime, seconds: float) -> datetime | None:
    """The time `seconds` after `clock`; `None` beyond the end of the calendar."""
    try:
        return clock + timedelta(seconds=seconds)
    except OverflowError:
        return None
