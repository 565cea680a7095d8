"""Waits for one job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from dashscope_ft_async._api.wire import job_id_of
from dashscope_ft_async._engine.completion import OnUpdate, follow
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.client.core import DAY, Core, Watchable
from dashscope_ft_async.errors import (
    ConfigurationError,
    DashScopeFTError,
    JobCanceledError,
    JobError,
    JobFailedError,
)
from dashscope_ft_async.models import FineTuneJob, JobStatus, WatchState
from dashscope_ft_async.models.checks import checked
from dashscope_ft_async.models.redact import shown
from dashscope_ft_async.policy import PollPolicy

_LAST_LINES_PATIENCE = 10.0


class Waiting:
    """A wait under way, from `FineTuneClient.waiting`."""

    def __init__(self, wait: Wait) -> None:
        self._wait = wait

    @property
    def last_job(self) -> FineTuneJob | None:
        """The newest snapshot; `None` while there is none."""
        return self._wait.last_job

    @property
    def state(self) -> WatchState:
        """Where the wait stands at this moment. Keep it, and another process can go on from it."""
        return self._wait.saved()

    async def terminal(self, *, on_update: OnUpdate | None = None) -> FineTuneJob:
        """The terminal job. `on_update` and errors are those of `FineTuneClient.wait_for_terminal`.

        Raises:
            ConfigurationError: called behind its ``async with`` block, which gave it up.
        """
        if self._wait.ended.cancelled():
            raise ConfigurationError("the wait was given up with its async with block: await it inside.")
        if on_update is None:
            return await asyncio.shield(self._wait.ended)  # who stops awaiting has not given the wait up
        return await follow(self._wait, on_update)


class Waits(Core):
    """Waits for the end of one job."""

    async def wait_for_terminal(
        self,
        job: Watchable,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> FineTuneJob:
        """Wait until the job has SUCCEEDED, FAILED or been CANCELED, and return it.

        All waits of a client share one driver, so await as many at once as you like; waits for the same
        job share its polls. Transient trouble is sat out. Cancelling is prompt, touches no other wait
        and never the job.

        Args:
            job: Id of the job, a snapshot of it, or the `WatchState` of an earlier wait, which goes on
                where it stood and keeps its own deadline, whatever `timeout` says.
            timeout: Seconds until the wait gives up, a request in flight included; `None` is never, 0
                is one poll. Where it cuts a pause short, one last poll is made, of at most 2 seconds.
            poll: Instead of the client's policy.
            on_update: Called, and awaited if it asks for it, with the first snapshot, with every
                change and with the terminal one. While it runs, newer snapshots replace unseen ones.
                What it raises ends this wait and is raised here.

        Raises:
            ConfigurationError: bad input, before any request.
            APIError: an answer that no waiting will mend: `NotFoundError`, `AuthenticationError`,
                `PermissionDeniedError`, `BadRequestError`; or `APIConnectionError` while the service
                was never reached.
            WaitTimeoutError: `timeout` passed; with the last snapshot, as for the following two.
            OutageError: failure without a break for longer than `PollPolicy.outage_tolerance`.
            JobVanishedError: the job was there, and is no more.
            ClientClosedError: the client is or was closed.
        """
        with self._wait(job, timeout, poll) as wait:
            return await _terminal(wait, on_update)

    async def wait_for_success(
        self,
        job: Watchable,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        failure_logs: int = 20,
    ) -> FineTuneJob:
        """As `wait_for_terminal`, but a job that did not succeed is raised.

        Args:
            failure_logs: Where a failed job gives no reason itself (`FineTuneJob.failure`), as many of
                the last lines of its log go with the error, 1000 at most; 0 for none. They are asked
                for once, for at most 10 seconds, and missing where that brings nothing.

        Raises:
            JobFailedError, JobCanceledError: the job ended so; the error's `job` is its last snapshot.
            JobError: the job ended under a status this version does not know.
        """
        if type(failure_logs) is not int or not 0 <= failure_logs <= 1000:
            raise ConfigurationError(
                f"failure_logs must be a whole number from 0 to 1000, not {failure_logs!r}."
            )
        ended = await self.wait_for_terminal(job, timeout=timeout, poll=poll, on_update=on_update)
        said = shown(ended.message or "", 2000)
        match ended.status:
            case JobStatus.SUCCEEDED:
                return ended
            case JobStatus.FAILED:
                reason = shown((ended.failure and ended.failure.message) or "", 2000)
                lines = await self._last_lines(ended.job_id, 0 if reason else failure_logs)
                raise JobFailedError(reason or "the job failed", job=ended, log_lines=lines)
            case JobStatus.CANCELED:
                raise JobCanceledError(said or "the job was canceled", job=ended)
            case _:
                raise JobError("the job ended in a status this version does not know", job=ended)

    async def _last_lines(self, job_id: str, number: int) -> tuple[str, ...]:
        """The last lines of a log, or none: what goes wrong here must not hide why they are wanted."""
        if not number:
            return ()
        try:
            async with asyncio.timeout(_LAST_LINES_PATIENCE):
                page = await self._log_page(job_id, 0, 1000)
                if page.total is None and len(page.lines) >= 1000:
                    return ()  # no telling where the last ones are
                if page.total is not None and page.total > len(page.lines):
                    page = await self._log_page(job_id, max(0, page.total - number), 1000)
                return page.lines[-number:]
        except (TimeoutError, DashScopeFTError):
            return ()

    def watch(
        self,
        job: Watchable,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[FineTuneJob, None]:
        """The first snapshot, every change, and last the terminal one.

        A change is what `FineTuneJob.is_change_from` says. A slow loop body delays nobody; it sees the
        newest snapshot next. Parameters and errors are those of `wait_for_terminal`; the time counts
        from the first step.
        """
        self._check(job, timeout, poll)
        return self._watch(job, timeout, poll)

    async def _watch(
        self, job: Watchable, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[FineTuneJob, None]:
        with self._wait(job, timeout, poll) as wait:
            async with aclosing(wait.changes()) as changes:
                async for snapshot in changes:
                    yield snapshot

    def waiting(
        self,
        job: Watchable,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AbstractAsyncContextManager[Waiting]:
        """A wait that can be looked at while it runs, and saved.

            async with client.waiting(job_id) as wait:
                keep(wait.state.to_json())
                job = await wait.terminal()

        It runs from the start of the block to its end. Parameters are those of `wait_for_terminal`.

        Raises:
            ConfigurationError: bad input, before any request.
            ClientClosedError: at the start of the block: the client is closed.
        """
        self._check(job, timeout, poll)
        return self._waiting(job, timeout, poll)

    @asynccontextmanager
    async def _waiting(
        self, job: Watchable, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[Waiting]:
        with self._wait(job, timeout, poll) as wait:
            try:
                yield Waiting(wait)
            finally:
                wait.ended.cancel()  # nothing drives it any more

    def next_poll(self, job: str | FineTuneJob) -> float | None:
        """Seconds until the waits of this client look at the job again.

        0 while they are looking, or are held back by throttling; `None` where nobody waits for it. A page
        of the list may show it earlier.

        Raises:
            ConfigurationError: a bad id.
        """
        job_id = job_id_of(job)
        return None if self._hub is None else self._hub.next_look(job_id)

    async def resume(
        self, state: WatchState, *, poll: PollPolicy | None = None, on_update: OnUpdate | None = None
    ) -> FineTuneJob:
        """Go on with a wait that was given up, here or in another process, and return the terminal job.

        The wait keeps its deadline (where it has passed, one last poll is made), its age and so its
        pace, and its place in the back-off. It asks at once. The count of an outage begins anew, since
        nothing was tried meanwhile, and so does that of `WaitError.polls`.

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


def _terminal(wait: Wait, on_update: OnUpdate | None) -> Awaitable[FineTuneJob]:
    """What to await; a wait without a callback needs no frame of ours."""
    return wait.ended if on_update is None else follow(wait, on_update)
