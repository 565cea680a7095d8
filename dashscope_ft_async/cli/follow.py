"""Follows jobs to their ends and passes every change to the views."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob


class View(Protocol):
    """Output that shows changes of jobs."""

    def update(self, row: Row) -> None:
        """Show a change of a job. If its `exit_code` is set, its wait is over."""
        ...


async def follow(
    client: FineTuneClient,
    tracker: JobTracker,
    job_ids: Iterable[str],
    views: Sequence[View],
    *,
    timeout: float | None,
) -> None:
    """Wait for `job_ids`, which are rows of `tracker`. A wait that fails does not stop the others."""

    def update_views(row: Row) -> None:
        for view in views:
            view.update(row)

    def on_update(job: FineTuneJob) -> None:
        # The terminal snapshot is shown once, as the end.
        if not job.is_terminal:
            update_views(tracker.record_snapshot(job, time.monotonic()))

    ends = client.as_completed(job_ids, timeout=timeout, on_update=on_update)
    async with aclosing(ends):
        async for end in ends:
            try:
                row = tracker.record_end(await end, time.monotonic())
            except DashScopeFTError as error:
                if error.job_id not in tracker.rows:
                    raise
                row = tracker.record_error(error.job_id, error)
            update_views(row)


async def follow_all(
    client: FineTuneClient,
    tracker: JobTracker,
    views: Sequence[View],
    *,
    refresh: float,
    on_error: Callable[[DashScopeFTError], None],
) -> None:
    """Follow every active job of the account, also those created later, until cancelled.

    The list of jobs is read every `refresh` seconds. An error of the first read is raised. Errors of later
    reads go to `on_error`, and the waits continue.
    """
    is_first = True
    try:
        async with asyncio.TaskGroup() as waits:
            while True:
                try:
                    new = [job_id for job_id in await active(client) if job_id not in tracker.rows]
                except DashScopeFTError as error:
                    if is_first:
                        raise
                    on_error(error)
                    new = []
                is_first = False
                tracker.add(new, time.monotonic())
                if new:
                    waits.create_task(follow(client, tracker, new, views, timeout=None))
                await asyncio.sleep(refresh)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # a command ends with one error


async def active(client: FineTuneClient) -> list[str]:
    """Return the ids of the jobs that have not ended, in the order of their creation."""
    newest_first = [job.job_id async for job in client.iter_jobs() if not job.is_terminal]
    return newest_first[::-1]
