"""Waits for one job."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from dashscope_ft_async._checks import check_timeout
from dashscope_ft_async._crowd import OnUpdate, follow
from dashscope_ft_async._wire import job_id_of
from dashscope_ft_async.client.core import DAY, Core
from dashscope_ft_async.errors import JobCanceledError, JobError, JobFailedError
from dashscope_ft_async.models import FineTuneJob, JobStatus
from dashscope_ft_async.policy import PollPolicy


class Waits(Core):
    """Waits for the end of one job."""

    async def wait_for_terminal(
        self,
        job: str | FineTuneJob,
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
            job: Id of the job, or a snapshot of it.
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
        with self._wait(job_id_of(job), timeout, poll) as wait:
            return await follow(wait, on_update)

    async def wait_for_success(
        self,
        job: str | FineTuneJob,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> FineTuneJob:
        """As `wait_for_terminal`, but a job that did not succeed is raised.

        Raises:
            JobFailedError, JobCanceledError: the job ended so; the error's `job` is its last snapshot.
            JobError: the job ended under a status this version does not know.
        """
        ended = await self.wait_for_terminal(job, timeout=timeout, poll=poll, on_update=on_update)
        match ended.status:
            case JobStatus.SUCCEEDED:
                return ended
            case JobStatus.FAILED:
                raise JobFailedError(ended.message or "the job failed", job=ended)
            case JobStatus.CANCELED:
                raise JobCanceledError(ended.message or "the job was canceled", job=ended)
            case _:
                raise JobError("the job ended in a status this version does not know", job=ended)

    def watch(
        self,
        job: str | FineTuneJob,
        *,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[FineTuneJob, None]:
        """The first snapshot, every change, and last the terminal one.

        A change is what `FineTuneJob.is_change_from` says. A slow loop body delays nobody; it sees the
        newest snapshot next. Parameters and errors are those of `wait_for_terminal`; the time counts
        from the first step.
        """
        check_timeout(timeout)
        self._policy(poll)
        return self._watch(job_id_of(job), timeout, poll)

    async def _watch(
        self, job_id: str, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[FineTuneJob, None]:
        with self._wait(job_id, timeout, poll) as wait:
            async with aclosing(wait.changes()) as changes:
                async for snapshot in changes:
                    yield snapshot
