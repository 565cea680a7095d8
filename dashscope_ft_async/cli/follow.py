"""Following jobs to their ends with one client, and telling the views of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from dashscope_ft_async.cli.board import Board, Row
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob


class View(Protocol):
    """Something that shows what happens to the jobs."""

    def tell(self, row: Row) -> None:
        """Something is new about this job; with its `exit` set, its wait is over."""
        ...


async def follow(
    client: FineTuneClient, board: Board, views: Sequence[View], *, timeout: float | None
) -> None:
    """Wait for all jobs of `board`; a job whose wait goes wrong does not stop the others."""

    def tell(row: Row) -> None:
        for view in views:
            view.tell(row)

    def on_update(job: FineTuneJob) -> None:
        # The terminal snapshot is told once, as the end.
        if not job.is_terminal:
            tell(board.seen(job, time.monotonic()))

    ends = client.as_completed(board.pending, timeout=timeout, on_update=on_update)
    async with aclosing(ends):
        async for end in ends:
            try:
                row = board.ended(await end, time.monotonic())
            except DashScopeFTError as error:
                if error.job_id not in board.rows:
                    raise
                row = board.gave_up(error.job_id, error)
            tell(row)
