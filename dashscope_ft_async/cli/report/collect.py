"""Bringing together what the service says of jobs, what their logs say, and what records tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.messages import short_error as brief
from dashscope_ft_async.cli.report.facts import JobFacts, Log, LogReader
from dashscope_ft_async.cli.report.patience import Patience
from dashscope_ft_async.cli.report.recorded import Recorded
from dashscope_ft_async.cli.tracker import Row
from dashscope_ft_async.errors import DashScopeFTError, NotFoundError, RateLimitError, WaitTimeoutError
from dashscope_ft_async.models import FineTuneJob, JobStatus

_AT_ONCE = 4
_NOT_BEGUN = frozenset({JobStatus.PENDING, JobStatus.QUEUING})


@attrs.frozen
class Collected:
    """One job, and what went wrong on the way to it."""

    facts: JobFacts
    errors: Sequence[DashScopeFTError]


async def collect(
    client: FineTuneClient,
    rows: Iterable[Row],
    recorded: Recorded,
    patience: Patience,
    done: Callable[[], None],
) -> list[Collected]:
    """The facts of the jobs that were looked at. An error is a fact too, and ends nothing.

    `done` is called for each job that is complete.
    """
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Row) -> Collected:
        async with room:
            collected = await _one(client, row, recorded, patience)
        done()
        return collected

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    return [task.result() for task in tasks]


async def _one(client: FineTuneClient, row: Row, recorded: Recorded, patience: Patience) -> Collected:
    job, error = await _fresh(client, row, patience)
    errors = [] if error is None else [error]
    log = Log()
    if job is not None and error is None and job.status not in _NOT_BEGUN:
        log, failed = await _log(client, row.job_id, patience)
        errors += [] if failed is None else [failed]
    recorded_at = None
    if job is None and row.job_id in recorded.snapshots:
        recorded_at, job = recorded.snapshots[row.job_id]
    facts = JobFacts(
        job_id=row.job_id,
        job=job,
        recorded_at=recorded_at,
        error=None if error is None else brief(error),
        log=log,
        sightings=recorded.sightings.get(row.job_id, ()),
    )
    return Collected(facts, errors)


async def _fresh(
    client: FineTuneClient, row: Row, patience: Patience
) -> tuple[FineTuneJob | None, DashScopeFTError | None]:
    """The last snapshot of the job, and why there is no later one."""
    if row.error is not None and not isinstance(row.error, WaitTimeoutError):
        return row.job, row.error
    if row.job is not None:
        return row.job, None
    try:  # its one poll went wrong in passing
        return await patience.answer(partial(client.get, row.job_id), row.job_id), None
    except DashScopeFTError as error:
        return None, error


async def _log(
    client: FineTuneClient, job_id: str, patience: Patience
) -> tuple[Log, DashScopeFTError | None]:
    reader, lines, number = LogReader(), client.iter_logs(job_id), 0

    async def next_line() -> str | None:
        nonlocal lines
        try:
            return await anext(lines, None)
        except RateLimitError:
            lines = client.iter_logs(job_id, after=number)  # for the next attempt of `patience`
            raise

    try:
        while (line := await patience.answer(next_line, job_id)) is not None:
            number += 1
            reader.take(line)
    except NotFoundError:
        return reader.log(), None  # a job need not have one
    except DashScopeFTError as error:
        return reader.log(brief(error)), error
    return reader.log(), None
