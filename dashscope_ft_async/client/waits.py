"""Waits for one job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.wire import job_id_of
from dashscope_ft_async._engine.completion import OnUpdate, follow
from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.client.base import ClientBase, Watchable
from dashscope_ft_async.errors import (
    ConfigurationError,
    DashScopeFTError,
    JobCanceledError,
    JobError,
    JobFailedError,
)
from dashscope_ft_async.models import FineTuneJob, JobStatus, WatchState, safe_text
from dashscope_ft_async.models.checks import Timeout, checked
from dashscope_ft_async.models.limits import DAY, FAILURE_LOG_TIMEOUT, LOG_PAGE_LINES
from dashscope_ft_async.policy import PollPolicy


class Waiting:
    """A wait that runs in the block of `FineTuneClient.waiting`."""

    def __init__(self, scheduler: Scheduler, wait: Wait) -> None:
        self._scheduler = scheduler
        self._wait = wait

    def __repr__(self) -> str:
        job = self.last_job
        return f"<Waiting {self._wait.key} {'not seen yet' if job is None else job.raw_status}>"

    @property
    def last_job(self) -> FineTuneJob | None:
        """The newest snapshot; `None` while there is none."""
        return self._wait.last_job

    @property
    def state(self) -> WatchState:
        """Where the wait stands at this moment. Keep it, and another process can go on from it."""
        return self._scheduler.saved(self._wait)

    async def terminal(self, *, on_update: OnUpdate | None = None) -> FineTuneJob:
        """The terminal job. `on_update` and errors are those of `FineTuneClient.wait_for_terminal`.

        Cancelling this call does not end the wait.

        Raises:
            ConfigurationError: called after the ``async with`` block, which ended the wait.
        """
        if self._wait.ended.cancelled():
            raise ConfigurationError("the wait ended with its async with block: await it inside the block.")
        if on_update is None:
            ended: FineTuneJob = await asyncio.shield(self._wait.ended)
            return ended
        return await follow(self._wait, on_update)


class Waits(ClientBase):
    """Waits for the end of one job."""

    async def wait_for_terminal(
        self,
        job: Watchable,
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> FineTuneJob:
        """Wait until the job has SUCCEEDED, FAILED or been CANCELED, and return it.

        All waits of a client share one scheduler, so await as many at once as you like; waits for the same
        job share its polls. Transient failures do not end a wait. Cancelling is prompt, and affects
        neither other waits nor the job.

        Args:
            job: Id of the job, a snapshot of it, or the `WatchState` of an earlier wait, which goes on
                where it stood and keeps its own deadline; `timeout` is then not used.
            timeout: Seconds, or a `timedelta`, until the wait gives up, a request in flight included;
                `None` is never, 0 is one poll. If it cuts a pause short, one last poll of at most 2
                seconds is made.
            poll: Replaces the client's policy for this wait.
            on_update: Called with the first snapshot, each change and the terminal snapshot, and awaited
                if it returns an awaitable. While it runs, a newer snapshot replaces one that was not
                passed yet. If the wait fails meanwhile, as at its deadline, it is cancelled. An exception
                that it raises ends this wait and is raised here.

        Raises:
            ConfigurationError: bad input, before any request.
            APIError: a permanent failure: `NotFoundError`, `AuthenticationError`,
                `PermissionDeniedError`, `BadRequestError`, …; or the service was never reached, after
                `RetryPolicy.attempts` tries.
            WaitTimeoutError: `timeout` passed. The error has the last snapshot, as the following ones.
            OutageError: polls failed without a break for longer than `PollPolicy.outage_tolerance`.
            JobVanishedError: the job was seen, and then answered 404 twice.
            ClientClosedError: the client is or was closed.
        """
        scheduler, wait = self._begin_wait(job, timeout, poll)
        try:
            return await (wait.ended if on_update is None else follow(wait, on_update))
        finally:
            scheduler.remove(wait)

    async def wait_for_success(
        self,
        job: Watchable,
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        failure_logs: int = 20,
    ) -> FineTuneJob:
        """As `wait_for_terminal`, but raise an error if the job did not succeed.

        Args:
            failure_logs: Number of the last log lines that `JobFailedError.log_lines` has if the job
                itself gives no reason (`FineTuneJob.failure`); 0 to 1000. They are requested once, for at
                most 10 seconds, and left out if that fails.

        Raises:
            JobFailedError, JobCanceledError: the job ended so; the error's `job` is its last snapshot.
            JobError: the job ended under a status this version does not know.
        """
        if type(failure_logs) is not int or not 0 <= failure_logs <= 1000:
            raise ConfigurationError(
                f"failure_logs must be a whole number from 0 to 1000, not {failure_logs!r}."
            )
        ended = await self.wait_for_terminal(job, timeout=timeout, poll=poll, on_update=on_update)
        match ended.status:
            case JobStatus.SUCCEEDED:
                return ended
            case JobStatus.FAILED:
                reason = safe_text((ended.failure and ended.failure.message) or "", 2000)
                lines = await self._last_lines(ended.job_id, 0 if reason else failure_logs)
                raise JobFailedError(reason or "the job failed", job=ended, log_lines=lines)
            case JobStatus.CANCELED:
                message = safe_text(ended.message or "", 2000)
                raise JobCanceledError(message or "the job was canceled", job=ended)
            case _:
                raise JobError("the job ended in a status this version does not know", job=ended)

    async def _last_lines(self, job_id: str, number: int) -> tuple[str, ...]:
        """The last lines of a log, or none: a failure here must not hide the failure of the job."""
        if not number:
            return ()
        try:
            async with asyncio.timeout(FAILURE_LOG_TIMEOUT):
                page = await self._runner.attempt(calls.log_page(job_id, 0, 1))
                if page.total is not None and page.total > number:
                    offset = page.total - number  # or one more, if the service counts lines from 1
                    last = calls.log_page(job_id, offset, min(number + 1, LOG_PAGE_LINES))
                else:
                    last = calls.log_page(job_id, 0, LOG_PAGE_LINES)
                page = await self._runner.attempt(last)
                if page.total is None and len(page.lines) >= LOG_PAGE_LINES:
                    return ()  # the last lines could be anywhere
                return page.lines[-number:]
        except (TimeoutError, DashScopeFTError):
            return ()

    def watch(
        self,
        job: Watchable,
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[FineTuneJob, None]:
        """Iterate over the first snapshot, each change, and the terminal snapshot.

        `FineTuneJob.is_change_from` defines a change. A slow loop body does not delay polls; it gets the
        newest snapshot next. Parameters and errors are those of `wait_for_terminal`; `timeout` counts from
        the first step of the iteration.
        """
        self._check_wait(job, timeout, poll)
        return self._watch(job, timeout, poll)

    async def _watch(
        self, job: Watchable, timeout: Timeout, poll: PollPolicy | None
    ) -> AsyncGenerator[FineTuneJob, None]:
        scheduler, wait = self._begin_wait(job, timeout, poll)
        try:
            while (snapshot := await wait.next_change()) is not None:
                yield snapshot
        finally:
            scheduler.remove(wait)

    def waiting(
        self,
        job: Watchable,
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> AbstractAsyncContextManager[Waiting]:
        """A wait that can be inspected and saved while it runs.

            async with client.waiting(job_id) as wait:
                keep(wait.state.to_json())
                job = await wait.terminal()

        It runs from the start of the block to its end. Parameters are those of `wait_for_terminal`.

        Raises:
            ConfigurationError: bad input, before any request.
            ClientClosedError: at the start of the block: the client is closed.
        """
        self._check_wait(job, timeout, poll)
        return self._waiting(job, timeout, poll)

    @asynccontextmanager
    async def _waiting(
        self, job: Watchable, timeout: Timeout, poll: PollPolicy | None
    ) -> AsyncGenerator[Waiting]:
        scheduler, wait = self._begin_wait(job, timeout, poll)
        try:
            yield Waiting(scheduler, wait)
        finally:
            wait.ended.cancel()  # so that nobody awaits it for ever
            scheduler.remove(wait)

    def next_poll(self, job: str | FineTuneJob) -> float | None:
        """Seconds until this client polls the job again for its waits.

        0 while a request for it is made or held back; `None` if no wait for it runs. A list page may show
        it earlier.

        Raises:
            ConfigurationError: a bad id.
        """
        job_id = job_id_of(job)
        return None if self._made_scheduler is None else self._made_scheduler.next_poll(job_id)

    async def resume(
        self, state: WatchState, *, poll: PollPolicy | None = None, on_update: OnUpdate | None = None
    ) -> FineTuneJob:
        """Go on with a wait that was given up, here or in another process, and return the terminal job.

        The wait keeps its deadline (if that has passed, one last poll is made), its age and so its
        interval, and its place in the back-off. It polls at once. The time of an outage is counted anew,
        since nothing was tried meanwhile, and so is `WaitError.polls`.

        Args:
            state: From `WaitError.state` or `Waiting.state`, perhaps through `WatchState.to_json`.
            poll: As in `wait_for_terminal`.
            on_update: As in `wait_for_terminal`.

        Raises:
            ConfigurationError: the state is of another base URL or workspace than this client.
            DashScopeFTError: as `wait_for_terminal`.
        """
        return await self.wait_for_terminal(
            checked(state, WatchState, "state"), poll=poll, on_update=on_update
        )
