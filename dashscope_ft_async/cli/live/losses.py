"""The losses of the jobs that train, read from their logs while somebody looks at them."""

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
_LOOK = 0.5
_PAUSE = 30.0
"""Before a log that was missing, or went wrong, is read again: a job may train before it has one."""


class Losses:
    """The training losses of one job."""

    def __init__(self) -> None:
        self.curve = Curve()
        self.last: float | None = None
        self.metric: TrainingMetric | None = None
        """The line that told the last one."""

    def add(self, metric: TrainingMetric) -> None:
        """Note what a line of the log says."""
        if metric.loss is not None:
            self.curve.add(metric.loss)
            self.last, self.metric = metric.loss, metric


async def follow_losses(
    client: FineTuneClient, shown: Callable[[], Iterable[Row]], losses: dict[str, Losses]
) -> None:
    """Read the logs of running jobs among the rows `shown` into `losses`, until cancelled.

    At most `MOST` at once, in the order of the rows; each is read to its end. What goes wrong is not
    told: whoever waits for the job is told what matters.
    """

    async def read(row: Row) -> None:
        while _trains(row):
            told = Losses()
            metrics = client.follow_metrics(row.job_id, timeout=None)
            try:
                async with aclosing(metrics):
                    async for metric in metrics:
                        told.add(metric)
                        losses[row.job_id] = told  # until now what an earlier try has read stands there
            except DashScopeFTError:
                await asyncio.sleep(_PAUSE)
            else:
                return

    reading: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as readers:
        while True:
            for row in _unread(shown(), losses)[: MOST - len(reading)]:
                losses[row.job_id] = Losses()
                reader = readers.create_task(read(row))
                reading.add(reader)
                reader.add_done_callback(reading.discard)
            await asyncio.sleep(_LOOK)


def _unread(rows: Iterable[Row], known: Container[str]) -> list[Row]:
    return [row for row in rows if row.job_id not in known and _trains(row)]


def _trains(row: Row) -> bool:
    return row.exit_code is None and row.job is not None and row.job.status is JobStatus.RUNNING
