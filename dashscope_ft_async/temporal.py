"""Fine-tuning jobs as a step of Temporal workflows (extra ``temporal``).

    activities = FineTuneActivities()
    worker = Worker(
        client, task_queue="fine-tunes", workflows=[WaitForFineTunes], activities=activities.all
    )
    ...
    outcomes = await client.execute_workflow(
        WaitForFineTunes.run, FineTuneBatch(job_ids=job_ids), id="nightly", task_queue="fine-tunes"
    )

One activity waits for a batch of jobs. Its heartbeats carry where each wait stands, so that another worker
goes on from there when this one dies. The API key is the worker's own: nothing here takes one, and the
history of a workflow never holds it.

In a workflow of your own, pass this module through the sandbox: ``with
workflow.unsafe.imports_passed_through(): from dashscope_ft_async.temporal import …``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Protocol

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from dashscope_ft_async.client import FineTuneClient, Waiting
from dashscope_ft_async.client.shared import shared_client
from dashscope_ft_async.errors import (
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    DashScopeFTError,
    EndpointNotFoundError,
    JobCanceledError,
    JobError,
    JobFailedError,
    JobVanishedError,
    NotFoundError,
    OutageError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import Failure, FineTuneJob, JobStatus, WatchState
from dashscope_ft_async.policy import is_transient

__all__ = ["ClientFactory", "FineTuneActivities", "FineTuneBatch", "JobOutcome", "WaitForFineTunes"]

_ABOUT_ONE_JOB = (NotFoundError, JobVanishedError, WaitTimeoutError)
"""Errors that say nothing about the other jobs of a batch."""
_KINDS = {JobStatus.FAILED: JobFailedError, JobStatus.CANCELED: JobCanceledError}
_LONGEST_REASON = 500
"""Characters: a batch has to fit into one heartbeat."""
_BEATS = 4
"""Heartbeats within the heartbeat timeout. Temporal sends fewer, and always the newest."""
_BEAT_WITHOUT_TIMEOUT = 10.0
_FOR_EVER = timedelta(days=3650)
_RETRIES = RetryPolicy(maximum_interval=timedelta(minutes=1))
_LAST_LOOK = 60.0
"""Seconds after the deadline, for an attempt that begins at the end of it."""


@dataclass(frozen=True, kw_only=True)
class FineTuneBatch:
    """Which jobs to wait for, where, and how. It stands in the history of the workflow."""

    job_ids: Sequence[str]
    """Each id is waited for once."""
    base_url: str | None = None
    """As of `FineTuneClient`, as are `region` and `workspace`; else what the worker's environment says."""
    region: str | None = None
    workspace: str | None = None
    timeout: float | None = 86_400.0
    """Seconds from when the activity was scheduled until it gives up on the jobs that have not ended, over
    all attempts; `None` is never."""
    must_succeed: bool = False
    """Whether the first job that ends otherwise fails the activity, for good. The others go on; nobody
    waits for them any more."""
    batch_size: int = 50
    """Used by `WaitForFineTunes`: jobs per activity."""
    heartbeat_timeout: float = 20.0
    """Used by `WaitForFineTunes`: seconds after which a silent worker counts as dead. A worker hears of a
    cancelled workflow within 0.8 of it."""
    cancel_jobs: bool = False
    """Used by `WaitForFineTunes`: whether cancelling the workflow cancels its jobs at the service too."""

    def __post_init__(self) -> None:
        # Said where the batch is made: in a workflow it would be tried again for ever.
        if isinstance(self.job_ids, str):
            raise ConfigurationError("job_ids must be a list of ids, not one text.")
        if self.timeout is not None and not 0 <= self.timeout < inf:
            raise ConfigurationError(f"timeout must be seconds from 0, or None, not {self.timeout!r}.")
        if self.batch_size < 1:
            raise ConfigurationError(f"batch_size must be a whole number from 1, not {self.batch_size!r}.")
        if not 0 < self.heartbeat_timeout < inf:
            raise ConfigurationError(
                f"heartbeat_timeout must be seconds greater than 0, not {self.heartbeat_timeout!r}."
            )

    def split(self) -> list[FineTuneBatch]:
        """Batches of at most `batch_size` of the jobs, each job once."""
        job_ids = list(dict.fromkeys(self.job_ids))
        starts = range(0, len(job_ids), self.batch_size)
        return [replace(self, job_ids=job_ids[start : start + self.batch_size]) for start in starts]


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How the wait for one job ended: the job did, or `error` says why nobody waits for it any more."""

    job_id: str
    status: str | None = None
    """A word of `JobStatus`: the last one seen, or `None` where there was none."""
    finetuned_output: str | None = None
    """The name of the model; one that can be used where the job `succeeded`."""
    usage: int | None = None
    """Tokens trained on (other units for other kinds of jobs)."""
    code: str | None = None
    """The service's code for why the job FAILED, or `None`."""
    reason: str | None = None
    """Why it FAILED, or the text of `error`; 500 characters at most."""
    error: str | None = None
    """``NotFoundError``, ``JobVanishedError`` or ``WaitTimeoutError``, or `None` where the job ended."""

    @property
    def succeeded(self) -> bool:
        """Whether the job SUCCEEDED."""
        return self.status == JobStatus.SUCCEEDED


class ClientFactory(Protocol):
    """What `FineTuneActivities` gets its clients from; `shared_client` is one."""

    def __call__(
        self, *, base_url: str | None, region: str | None, workspace: str | None
    ) -> AbstractAsyncContextManager[FineTuneClient]:
        """A client to be used inside the block, and left open or closed at its end."""
        ...


class FineTuneActivities:
    """The activities, for a worker. All waits of a worker with the same host and key share one client.

    Args:
        client: Where clients come from. ``functools.partial(shared_client, api_key=…, poll=…)`` gives
            them a key and policies; by default the key is the environment's.
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

        A job that FAILED or was CANCELED, is not there, or has not ended in time is an outcome, unless
        `FineTuneBatch.must_succeed`. A later attempt goes on from the last heartbeat: same deadline, same
        pace, and what has ended is not asked for again. Cancelling is prompt and touches no job.

        Raises:
            ApplicationError: its `type` is the name of our error, its details are the outcomes so far. It
                is non-retryable where no waiting will mend it: a wrong key, bad input, a job that did not
                succeed and had to.
        """
        info = activity.info()
        progress = _Progress(batch, info.heartbeat_details)
        left = _left(batch.timeout, info.scheduled_time)
        try:
            async with self._at(batch) as client:
                await _wait_for_all(client, progress, left, _seconds_between_beats(info.heartbeat_timeout))
        except DashScopeFTError as error:
            # Past the deadline an attempt is one last look, and there is no use in a second one.
            failure = _failure(error, progress.outcomes(), retry=_may_clear(error) and left != 0)
        else:
            return progress.outcomes()
        raise failure

    @activity.defn(name="dashscope_ft.cancel_jobs")
    async def cancel_jobs(self, batch: FineTuneBatch) -> None:
        """Ask the service to cancel every job of the batch; those that have ended, or are gone, are well.

        Raises:
            ApplicationError: as `wait_for_jobs`.
        """
        try:
            async with self._at(batch) as client:
                for job_id in dict.fromkeys(batch.job_ids):
                    try:
                        await client.cancel(job_id)
                    except EndpointNotFoundError:
                        raise  # nothing was cancelled, and nothing can be, here
                    except (BadRequestError, NotFoundError):
                        pass
        except DashScopeFTError as error:
            failure = _failure(error, [], retry=_may_clear(error))
        else:
            return
        raise failure

    def _at(self, batch: FineTuneBatch) -> AbstractAsyncContextManager[FineTuneClient]:
        return self._client(base_url=batch.base_url, region=batch.region, workspace=batch.workspace)


# Only these lines run in it, and they are deterministic: a sandbox would import aiohttp for each run.
@workflow.defn(name="dashscope_ft.WaitForFineTunes", sandboxed=False)
class WaitForFineTunes:
    """Waits for any number of jobs, with one activity for each `FineTuneBatch.batch_size` of them."""

    @workflow.run
    async def run(self, batch: FineTuneBatch) -> list[JobOutcome]:
        """The outcomes, in the order of the ids; fails as `FineTuneActivities.wait_for_jobs` does."""
        parts = batch.split()
        try:
            found = await asyncio.gather(*map(_waited_for, parts))
        except (asyncio.CancelledError, ActivityError) as error:
            if batch.cancel_jobs and is_cancelled_exception(error):
                await asyncio.gather(*map(_canceled, parts))
            raise
        return [outcome for part in found for outcome in part]


async def _waited_for(part: FineTuneBatch) -> list[JobOutcome]:
    longest = _FOR_EVER if part.timeout is None else timedelta(seconds=part.timeout + _LAST_LOOK)
    return await workflow.execute_activity_method(
        FineTuneActivities.wait_for_jobs,
        part,
        # Of one attempt: where no worker ran until after the deadline, each job is still looked at once.
        start_to_close_timeout=longest,
        heartbeat_timeout=timedelta(seconds=part.heartbeat_timeout),
        retry_policy=_RETRIES,
    )


async def _canceled(part: FineTuneBatch) -> None:
    await workflow.execute_activity_method(
        FineTuneActivities.cancel_jobs,
        part,
        start_to_close_timeout=timedelta(minutes=10),
        schedule_to_close_timeout=timedelta(days=1),
        retry_policy=_RETRIES,
    )


class _Progress:
    """What is known of the jobs of a batch, and as much of it as a heartbeat carries."""

    def __init__(self, batch: FineTuneBatch, details: Sequence[Any]) -> None:
        """`details` are those of an earlier attempt's heartbeat, if there was one."""
        self.must_succeed = batch.must_succeed
        self._order = list(dict.fromkeys(batch.job_ids))
        self._waits: dict[str, Waiting] = {}
        ended = [_outcome_from(raw) for detail in details for raw in detail["ended"]]
        states = [WatchState.from_json(text) for detail in details for text in detail["waiting"]]
        self._states = {state.job_id: state for state in states}
        # One that fails the batch is looked at again: the worker may have died before it could say so.
        self._ended = {one.job_id: one for one in ended if one.succeeded or not batch.must_succeed}

    def to_wait_for(self) -> list[tuple[str, str | WatchState]]:
        """The ids that have not ended, and where their waits stood."""
        return [(name, self._states.get(name, name)) for name in self._order if name not in self._ended]

    def begin(self, job_id: str, wait: Waiting) -> None:
        """The job is waited for."""
        self._waits[job_id] = wait

    def end(self, outcome: JobOutcome) -> None:
        """The job is not waited for any more."""
        self._ended[outcome.job_id] = outcome
        del self._waits[outcome.job_id]

    def outcomes(self) -> list[JobOutcome]:
        """Those there are, in the order of the ids."""
        return [self._ended[job_id] for job_id in self._order if job_id in self._ended]

    def beat(self) -> None:
        """Keep where everything stands."""
        ended = [asdict(outcome) for outcome in self._ended.values()]
        waiting = [wait.state.to_json() for wait in self._waits.values()]
        activity.heartbeat({"ended": ended, "waiting": waiting})


async def _wait_for_all(
    client: FineTuneClient, progress: _Progress, left: float | None, beat: float
) -> None:
    async with AsyncExitStack() as waits:
        tasks: list[asyncio.Task[None]] = []
        pending: set[asyncio.Task[None]] = set()
        try:
            for job_id, job in progress.to_wait_for():
                wait = await waits.enter_async_context(client.waiting(job, timeout=left))
                progress.begin(job_id, wait)
                tasks.append(asyncio.create_task(_wait_for_one(job_id, wait, progress)))
                pending.add(tasks[-1])
            while pending:
                progress.beat()
                done, pending = await asyncio.wait(
                    pending, timeout=beat, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
        except BaseException:
            # The next attempt goes on from here, not from what was so a heartbeat ago.
            progress.beat()
            raise
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for_one(job_id: str, wait: Waiting, progress: _Progress) -> None:
    """Take the outcome down; raise what concerns the whole batch."""
    try:
        job = await wait.terminal()
    except _ABOUT_ONE_JOB as error:
        seen = wait.last_job
        progress.end(
            JobOutcome(
                job_id=job_id,
                status=None if seen is None else seen.status.value,
                reason=str(error)[:_LONGEST_REASON],
                error=type(error).__name__,
            )
        )
        if progress.must_succeed:
            raise
    else:
        outcome = _outcome_of(job)
        progress.end(outcome)
        if progress.must_succeed and not job.succeeded:
            kind = _KINDS.get(job.status, JobError)
            raise kind(outcome.reason or "the job did not succeed", job=job)


def _outcome_of(job: FineTuneJob) -> JobOutcome:
    why = job.failure or Failure()
    return JobOutcome(
        job_id=job.job_id,
        status=job.status.value,
        finetuned_output=job.finetuned_output,
        usage=job.usage,
        code=why.code,
        reason=why.message and why.message[:_LONGEST_REASON],
    )


def _outcome_from(raw: Mapping[str, Any]) -> JobOutcome:
    known = {field.name for field in fields(JobOutcome)}  # a newer version may have written it
    return JobOutcome(**{name: value for name, value in raw.items() if name in known})


def _left(timeout: float | None, scheduled: datetime) -> float | None:
    """Seconds to the deadline, which is the same for every attempt."""
    if timeout is None:
        return None
    passed = (datetime.now(UTC) - scheduled).total_seconds()
    return min(timeout, max(0.0, timeout - passed))  # the server's clock may be ahead of this one


def _seconds_between_beats(timeout: timedelta | None) -> float:
    return _BEAT_WITHOUT_TIMEOUT if timeout is None else timeout.total_seconds() / _BEATS


def _may_clear(error: DashScopeFTError) -> bool:
    """Whether another attempt may do better."""
    return isinstance(error, OutageError | ClientClosedError) or is_transient(error)


def _failure(error: DashScopeFTError, outcomes: list[JobOutcome], *, retry: bool) -> ApplicationError:
    return ApplicationError(str(error), outcomes, type=type(error).__name__, non_retryable=not retry)
