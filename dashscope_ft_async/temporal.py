"""Fine-tuning jobs as a step of Temporal workflows (extra ``temporal``).

    activities = FineTuneActivities()
    worker = Worker(
        client, task_queue="fine-tunes", workflows=[WaitForFineTunes], activities=activities.all
    )
    ...
    outcomes = await client.execute_workflow(
        WaitForFineTunes.run, FineTuneBatch(job_ids=job_ids), id="nightly", task_queue="fine-tunes"
    )

One activity waits for a batch of jobs. Its heartbeats contain the state of each wait, so that another
worker can continue if this one dies. The API key comes from the environment of the worker and is never in
the history of a workflow.

In your own workflow, pass this module through the sandbox:
``with workflow.unsafe.imports_passed_through(): from dashscope_ft_async.temporal import …``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Protocol

from dashscope_ft_async import (
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    DashScopeFTError,
    EndpointNotFoundError,
    Failure,
    FineTuneClient,
    FineTuneJob,
    JobCanceledError,
    JobError,
    JobFailedError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    OutageError,
    Waiting,
    WaitTimeoutError,
    WatchState,
    shared_client,
)
from dashscope_ft_async.policy import is_transient

try:
    from temporalio import activity, workflow
    from temporalio.common import RetryPolicy
    from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
except ModuleNotFoundError as error:
    raise ImportError(f"{__name__} needs temporalio: pip install 'dashscope-ft-async[temporal]'") from error

__all__ = ["ClientFactory", "FineTuneActivities", "FineTuneBatch", "JobOutcome", "WaitForFineTunes"]

_ERRORS_OF_ONE_JOB = (NotFoundError, JobVanishedError, WaitTimeoutError)
"""Errors that do not concern the other jobs of a batch."""
_JOB_ERRORS = {JobStatus.FAILED: JobFailedError, JobStatus.CANCELED: JobCanceledError}
_MAX_REASON = 500
"""Characters. The results of a whole batch must fit into one heartbeat."""
_HEARTBEATS_PER_TIMEOUT = 4
"""Temporal sends fewer of them, and always the newest."""
_DEFAULT_HEARTBEAT_INTERVAL = 10.0
_TEN_YEARS = timedelta(days=3650)
_RETRIES = RetryPolicy(maximum_interval=timedelta(minutes=1))
_LAST_POLL_TIME = 60.0
"""Seconds that an attempt may take which begins at the deadline."""


@dataclass(frozen=True, kw_only=True)
class FineTuneBatch:
    """Which jobs to wait for, and how. It is stored in the history of the workflow."""

    job_ids: Sequence[str]
    """Each id is waited for once."""
    base_url: str | None = None
    """As for `FineTuneClient`, like `region` and `workspace`; by default from the worker's environment."""
    region: str | None = None
    workspace: str | None = None
    timeout: float | None = 86_400.0
    """Seconds from the scheduling of the activity, over all its attempts, until it gives up on jobs that
    have not ended; `None` is never."""
    must_succeed: bool = False
    """Whether the first job that ends without success fails the activity, without a retry. The other jobs
    continue, and are not waited for any more."""
    batch_size: int = 50
    """Used by `WaitForFineTunes`: jobs per activity."""
    heartbeat_timeout: float = 20.0
    """Used by `WaitForFineTunes`: seconds without a heartbeat after which a worker counts as dead. A worker
    notices a cancelled workflow within 0.8 of this time."""
    cancel_jobs: bool = False
    """Used by `WaitForFineTunes`: whether cancelling the workflow also cancels its jobs at the service."""

    def __post_init__(self) -> None:
        # Raised where the batch is made: an error in a workflow would be retried for ever.
        if isinstance(self.job_ids, str):
            raise ConfigurationError("job_ids must be a list of ids, not a str.")
        if self.timeout is not None and not 0 <= self.timeout < inf:
            raise ConfigurationError(f"timeout must be seconds from 0, or None, not {self.timeout!r}.")
        if self.batch_size < 1:
            raise ConfigurationError(f"batch_size must be a whole number from 1, not {self.batch_size!r}.")
        if not 0 < self.heartbeat_timeout < inf:
            raise ConfigurationError(
                f"heartbeat_timeout must be seconds greater than 0, not {self.heartbeat_timeout!r}."
            )

    def split(self) -> list[FineTuneBatch]:
        """Return batches of at most `batch_size` jobs, with each job once."""
        job_ids = list(dict.fromkeys(self.job_ids))
        starts = range(0, len(job_ids), self.batch_size)
        return [replace(self, job_ids=job_ids[start : start + self.batch_size]) for start in starts]


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """The result of the wait for one job. If the wait was given up, `error` is set."""

    job_id: str
    status: str | None = None
    """The last status, one of `JobStatus`; `None` if no poll succeeded."""
    finetuned_output: str | None = None
    """The name of the model. It can be used only if the job `succeeded`."""
    usage: int | None = None
    """Tokens trained on (other units for other kinds of jobs)."""
    code: str | None = None
    """The service's code for why the job FAILED, or `None`."""
    reason: str | None = None
    """Why the job FAILED, or the text of `error`; at most 500 characters."""
    error: str | None = None
    """``NotFoundError``, ``JobVanishedError`` or ``WaitTimeoutError``, or `None` if the job ended."""

    @property
    def succeeded(self) -> bool:
        """Whether the job SUCCEEDED."""
        return self.status == JobStatus.SUCCEEDED


class ClientFactory(Protocol):
    """The type of functions that give `FineTuneActivities` a client, such as `shared_client`."""

    def __call__(
        self, *, base_url: str | None, region: str | None, workspace: str | None
    ) -> AbstractAsyncContextManager[FineTuneClient]:
        """Return a context manager of a client."""
        ...


class FineTuneActivities:
    """The activities of a worker. All waits in a worker that use the same host and key share one client.

    Args:
        client: Makes the clients. Other settings than those of the environment are passed like this:
            ``functools.partial(shared_client, api_key=…, poll=…, coalesce="confirm")``.
    """

    def __init__(self, client: ClientFactory = shared_client) -> None:
        self._client = client

    @property
    def all(self) -> list[Callable[..., Any]]:
        """Every activity, for ``Worker(activities=…)``."""
        return [self.wait_for_jobs, self.cancel_jobs]

    @activity.defn(name="dashscope_ft.wait_for_jobs")
    async def wait_for_jobs(self, batch: FineTuneBatch) -> list[JobOutcome]:
        """Wait until every job of the batch has ended, and return the outcomes in the order of the ids.

        A job that FAILED, was CANCELED, does not exist or has not ended in time is an outcome, unless
        `FineTuneBatch.must_succeed` is set. A later attempt continues from the last heartbeat, with the
        same deadline and polling interval, and does not poll jobs that have ended. Cancelling is prompt
        and does not touch the jobs.

        Raises:
            ApplicationError: its `type` is the name of this library's error, and its details are the
                outcomes so far. It is non-retryable if another attempt cannot help: a wrong key, bad
                input, a job that had to succeed and did not.
        """
        info = activity.info()
        progress = _Progress(batch, info.heartbeat_details)
        seconds_left = _seconds_left(batch.timeout, info.scheduled_time)
        try:
            async with self._client_for(batch) as client:
                await _wait_for_all(
                    client, progress, seconds_left, _heartbeat_interval(info.heartbeat_timeout)
                )
        except DashScopeFTError as error:
            # An attempt after the deadline makes one last poll; a second such attempt would not help.
            refusal = _application_error(
                error, progress.outcomes(), retry=_may_retry(error) and seconds_left != 0
            )
        else:
            return progress.outcomes()
        raise refusal

    @activity.defn(name="dashscope_ft.cancel_jobs")
    async def cancel_jobs(self, batch: FineTuneBatch) -> None:
        """Cancel every job of the batch at the service. Jobs that have ended or do not exist are skipped.

        Raises:
            ApplicationError: as `wait_for_jobs`.
        """
        try:
            async with self._client_for(batch) as client:
                for job_id in dict.fromkeys(batch.job_ids):
                    try:
                        await client.cancel(job_id)
                    except EndpointNotFoundError:
                        raise  # the service at this URL cannot cancel jobs
                    except (BadRequestError, NotFoundError):
                        pass
        except DashScopeFTError as error:
            refusal = _application_error(error, [], retry=_may_retry(error))
        else:
            return
        raise refusal

    def _client_for(self, batch: FineTuneBatch) -> AbstractAsyncContextManager[FineTuneClient]:
        return self._client(base_url=batch.base_url, region=batch.region, workspace=batch.workspace)


# The code below is deterministic. The sandbox would import aiohttp again for each run.
@workflow.defn(name="dashscope_ft.WaitForFineTunes", sandboxed=False)
class WaitForFineTunes:
    """Waits for any number of jobs, with one activity for each `FineTuneBatch.batch_size` of them."""

    @workflow.run
    async def run(self, batch: FineTuneBatch) -> list[JobOutcome]:
        """Return the outcomes in the order of the ids. Fails like `FineTuneActivities.wait_for_jobs`."""
        parts = batch.split()
        try:
            outcomes = await asyncio.gather(*map(_wait_for_part, parts))
        except (asyncio.CancelledError, ActivityError) as error:
            if batch.cancel_jobs and is_cancelled_exception(error):
                await asyncio.gather(*map(_cancel_part, parts))
            raise
        return [outcome for part in outcomes for outcome in part]


async def _wait_for_part(part: FineTuneBatch) -> list[JobOutcome]:
    longest = _TEN_YEARS if part.timeout is None else timedelta(seconds=part.timeout + _LAST_POLL_TIME)
    return await workflow.execute_activity_method(
        FineTuneActivities.wait_for_jobs,
        part,
        # For one attempt: if no worker runs before the deadline, each job is still polled once.
        start_to_close_timeout=longest,
        heartbeat_timeout=timedelta(seconds=part.heartbeat_timeout),
        retry_policy=_RETRIES,
    )


async def _cancel_part(part: FineTuneBatch) -> None:
    await workflow.execute_activity_method(
        FineTuneActivities.cancel_jobs,
        part,
        start_to_close_timeout=timedelta(minutes=10),
        schedule_to_close_timeout=timedelta(days=1),
        retry_policy=_RETRIES,
    )


class _Progress:
    """The outcomes and waits of a batch. Heartbeats carry them from one attempt to the next."""

    def __init__(self, batch: FineTuneBatch, details: Sequence[Any]) -> None:
        """Continue from `details`, the last heartbeat of the previous attempt, if there was one."""
        self.must_succeed = batch.must_succeed
        self._order = list(dict.fromkeys(batch.job_ids))
        self._waits: dict[str, Waiting] = {}
        ended = [_outcome_from(raw) for detail in details for raw in detail["ended"]]
        states = [WatchState.from_json(text) for detail in details for text in detail["waiting"]]
        self._states = {state.job_id: state for state in states}
        # A job that has to fail the batch is polled again: the last worker may have died before that.
        self._ended = {one.job_id: one for one in ended if one.succeeded or not batch.must_succeed}

    def remaining(self) -> list[tuple[str, str | WatchState]]:
        """Return the ids of jobs that have not ended, each with the state of its wait or the id again."""
        return [(name, self._states.get(name, name)) for name in self._order if name not in self._ended]

    def begin(self, job_id: str, wait: Waiting) -> None:
        """Record that the job is waited for."""
        self._waits[job_id] = wait

    def end(self, outcome: JobOutcome) -> None:
        """Record the outcome of a job."""
        self._ended[outcome.job_id] = outcome
        del self._waits[outcome.job_id]

    def outcomes(self) -> list[JobOutcome]:
        """Return the outcomes so far, in the order of the ids."""
        return [self._ended[job_id] for job_id in self._order if job_id in self._ended]

    def send_heartbeat(self) -> None:
        """Send a heartbeat with the outcomes and the states of all waits."""
        ended = [asdict(outcome) for outcome in self._ended.values()]
        waiting = [wait.state.to_json() for wait in self._waits.values()]
        activity.heartbeat({"ended": ended, "waiting": waiting})


async def _wait_for_all(
    client: FineTuneClient, progress: _Progress, timeout: float | None, heartbeat_interval: float
) -> None:
    async with AsyncExitStack() as waits:
        tasks: list[asyncio.Task[None]] = []
        pending: set[asyncio.Task[None]] = set()
        try:
            for job_id, job in progress.remaining():
                wait = await waits.enter_async_context(client.waiting(job, timeout=timeout))
                progress.begin(job_id, wait)
                tasks.append(asyncio.create_task(_wait_for_one(job_id, wait, progress)))
                pending.add(tasks[-1])
            while pending:
                progress.send_heartbeat()
                done, pending = await asyncio.wait(
                    pending, timeout=heartbeat_interval, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
        except BaseException:
            # The next attempt continues from here and not from the last regular heartbeat.
            progress.send_heartbeat()
            raise
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for_one(job_id: str, wait: Waiting, progress: _Progress) -> None:
    """Record the outcome of one job. Raise what concerns the whole batch."""
    try:
        job = await wait.terminal()
    except _ERRORS_OF_ONE_JOB as error:
        last_job = wait.last_job
        progress.end(
            JobOutcome(
                job_id=job_id,
                status=None if last_job is None else last_job.status.value,
                reason=str(error)[:_MAX_REASON],
                error=type(error).__name__,
            )
        )
        if progress.must_succeed:
            raise
    else:
        outcome = _outcome_of(job)
        progress.end(outcome)
        if progress.must_succeed and not job.succeeded:
            error_class = _JOB_ERRORS.get(job.status, JobError)
            raise error_class(outcome.reason or "the job did not succeed", job=job)


def _outcome_of(job: FineTuneJob) -> JobOutcome:
    failure = job.failure or Failure()
    return JobOutcome(
        job_id=job.job_id,
        status=job.status.value,
        finetuned_output=job.finetuned_output,
        usage=job.usage,
        code=failure.code,
        reason=failure.message and failure.message[:_MAX_REASON],
    )


def _outcome_from(raw: Mapping[str, Any]) -> JobOutcome:
    known = {field.name for field in fields(JobOutcome)}  # a newer version may have written others
    return JobOutcome(**{name: value for name, value in raw.items() if name in known})


def _seconds_left(timeout: float | None, scheduled: datetime) -> float | None:
    """Return the seconds until the deadline, which is the same for every attempt."""
    if timeout is None:
        return None
    passed = (datetime.now(UTC) - scheduled).total_seconds()
    return min(timeout, max(0.0, timeout - passed))  # the server's clock may be ahead of this one


def _heartbeat_interval(timeout: timedelta | None) -> float:
    return (
        _DEFAULT_HEARTBEAT_INTERVAL
        if timeout is None
        else timeout.total_seconds() / _HEARTBEATS_PER_TIMEOUT
    )


def _may_retry(error: DashScopeFTError) -> bool:
    """Return whether another attempt may succeed."""
    return isinstance(error, OutageError | ClientClosedError) or is_transient(error)


def _application_error(
    error: DashScopeFTError, outcomes: list[JobOutcome], *, retry: bool
) -> ApplicationError:
    return ApplicationError(str(error), outcomes, type=type(error).__name__, non_retryable=not retry)
