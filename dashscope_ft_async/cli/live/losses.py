"""The losses of running jobs, read from their logs while the live view shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from contextlib import aclosing

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.live.sparkline import Curve
from dashscope_ft_async.cli.tracker import Row
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import JobStatus, TrainingMetric

MOST = 8
"""Logs read at once. An account usually trains one job at a time."""
_CHECK_EVERY = 0.5
"""Seconds between two looks for jobs whose logs are not read yet."""
_RETRY_AFTER = 30.0
"""Seconds before a log that was missing or failed is read again: a job may run before it has a log."""


class Losses:
    """The training losses of one job."""

    def __init__(self) -> None:
        self.curve = Curve()
        self.last: float | None = None
        self.metric: TrainingMetric | None = None
        """The line of the log with the last loss."""

    def add(self, metric: TrainingMetric) -> None:
        """Add the loss in a line of the log."""
        if metric.loss is not None:
            self.curve.add(metric.loss)
            self.last, self.metric = metric.loss, metric


async def follow_losses(
    client: FineTuneClient, visible: Callable[[], Iterable[Row]], losses: dict[str, Losses]
) -> None:
    """Read the logs of running jobs among the rows `visible` into `losses`, until cancelled.

    At most `MOST` are read at once, in the order of the rows, each to its end. Errors are not shown: the
    wait for the job reports those that matter.
    """

    async def read(row: Row) -> None:
        while _is_running(row):
            read_so_far = Losses()
            metrics = client.follow_metrics(row.job_id, timeout=None)
            try:
                async with aclosing(metrics):
                    async for metric in metrics:
                        read_so_far.add(metric)
                        # Only now: until here, the result of an earlier attempt is shown.
                        losses[row.job_id] = read_so_far
            except DashScopeFTError:
                await asyncio.sleep(_RETRY_AFTER)
            else:
                return

    reading: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as readers:
        while True:
            for row in _unread(visible(), losses)[: MOST - len(reading)]:
                losses[row.job_id] = Losses()
                reader = readers.create_task(read(row))
                reading.add(reader)
                reader.add_done_callback(reading.discard)
            await asyncio.sleep(_CHECK_EVERY)


def _unread(rows: Iterable[Row], known: Container[str]) -> list[Row]:
    return [row for row in rows if row.job_id not in known and _is_running(row)]


def _is_running(row: Row) -> bool:
    return row.exit_code is None and row.job is not None and row.job.status is JobStatus.RUNNING
