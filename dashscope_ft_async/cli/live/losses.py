"""The losses of the jobs that train, read from their logs while somebody looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from dashscope_ft_async.cli.board import Board
from dashscope_ft_async.cli.live.sparkline import Curve
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import JobStatus, TrainingMetric

MOST = 8
"""Logs read at once. An account usually trains one job at a time."""
_LOOK = 0.5


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


async def follow_losses(client: FineTuneClient, board: Board, losses: dict[str, Losses]) -> None:
    """Read the logs of running jobs of `board` into `losses`, until cancelled.

    At most `MOST` at once, in the order of the board. Each log is read once; one that is missing, or
    goes wrong, is left alone: whoever waits for the job is told what matters.
    """

    async def read(job_id: str) -> None:
        metrics = client.follow_metrics(job_id, timeout=None)
        try:
            async with aclosing(metrics):
                async for metric in metrics:
                    losses[job_id].add(metric)
        except DashScopeFTError:
            pass

    reading: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as readers:
        while True:
            for job_id in _running(board, losses)[: MOST - len(reading)]:
                losses[job_id] = Losses()
                reader = readers.create_task(read(job_id))
                reading.add(reader)
                reader.add_done_callback(reading.discard)
            await asyncio.sleep(_LOOK)


def _running(board: Board, known: Mapping[str, Losses]) -> list[str]:
    return [
        row.job_id
        for row in board.rows.values()
        if row.exit is None
        and row.job is not None
        and row.job.status is JobStatus.RUNNING
        and row.job_id not in known
    ]
