"""Following jobs to their ends with one client, and telling the views of it."""

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
    """Something that shows what happens to the jobs."""

    def update(self, row: Row) -> None:
        """Something is new about this job; with its `exit` set, its wait is over."""
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

    def tell(row: Row) -> None:
        for view in views:
            view.update(row)

    def on_update(job: FineTuneJob) -> None:
        # The terminal snapshot is told once, as the end.
        if not job.is_terminal:
            tell(tracker.record_snapshot(job, time.monotonic()))

    ends = client.as_completed(job_ids, timeout=timeout, on_update=on_update)
    async with aclosing(ends):
        async for end in ends:
            try:
                row = tracker.record_end(await end, time.monotonic())
            except DashScopeFTError as error:
                if error.job_id not in tracker.rows:
                    raise
                row = tracker.record_error(error.job_id, error)
            tell(row)


async def follow_all(
    client: FineTuneClient,
    tracker: JobTracker,
    views: Sequence[View],
    *,
    refresh: float,
    trouble: Callable[[DashScopeFTError], None],
) -> None:
    """Follow every active job of the account, and those that come later, until cancelled.

    They are looked for every `refresh` seconds. Where the first look goes wrong, that is raised; what goes
    wrong with a later one is for `trouble`, and harms no wait.
    """
    looked = False
    try:
        async with asyncio.TaskGroup() as crowd:
            while True:
                try:
                    new = [job_id for job_id in await active(client) if job_id not in tracker.rows]
                except DashScopeFTError as error:
                    if not looked:
                        raise
                    trouble(error)
                    new = []
                looked = True
                tracker.add(new, time.monotonic())
                if new:
                    crowd.create_task(follow(client, tracker, new, views, timeout=None))
                await asyncio.sleep(refresh)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the command ends with one


async def active(client: FineTuneClient) -> list[str]:
    """Ids of the jobs that have not ended now, in the order of their creation."""
    newest_first = [job.job_id async for job in client.iter_jobs() if not job.is_terminal]
    return newest_first[::-1]
