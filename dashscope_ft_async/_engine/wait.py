"""A wait: one caller's interest in the end of a job, or of something else that is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.policy import Snapshot, WaitPolicy, WaitState


class Wait:
    """A caller's wait. The scheduler resolves it; the caller awaits `ended` or reads `next_change`."""

    __slots__ = (
        "_changed",
        "_unread",
        "began",
        "due",
        "ended",
        "index",
        "key",
        "last_poll",
        "limit",
        "number",
        "policy",
        "state",
    )

    def __init__(
        self, key: Hashable, policy: WaitPolicy, state: WaitState, began: float, due: float, number: int
    ) -> None:
        self.key = key
        """The job id, or another key for what is no job."""
        self.policy = policy
        self.state = state
        self.began = began
        """When this process began it; a resumed wait began earlier (`WaitState.started`)."""
        self.due = due
        """When its next poll is due; `inf` if its deadline comes first."""
        self.limit = None if state.deadline is None else max(state.deadline, began)
        """When the scheduler must look at it even if no poll is due."""
        self.last_poll = False
        """Whether the poll at its deadline was granted."""
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """Resolved once, with the terminal snapshot or the error that ends this wait."""
        self.number = number
        """Its number in events."""
        self.index = -1
        """Its place among the waits of the watch; -1 when it has left."""
        self._unread: FineTuneJob | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def last_job(self) -> FineTuneJob | None:
        """The newest snapshot of the job, the terminal one included."""
        ended = self.ended
        if ended.done() and not ended.cancelled() and ended.exception() is None:
            newest: object = ended.result()
        else:
            newest = self.state.last
        return newest if isinstance(newest, FineTuneJob) else None

    async def next_change(self) -> FineTuneJob | None:
        """The next snapshot: the first, each change, the terminal one; then `None`.

        A snapshot that was not read yet is replaced by a newer one. Raises the error that ends the wait.
        """
        while True:
            if self._unread is not None:
                job, self._unread = self._unread, None
                return job
            if self.ended.done():
                self.ended.result()
                return None
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    def put_change(self, job: FineTuneJob) -> None:
        """Keep a snapshot for `next_change`."""
        self._unread = job
        self._wake_reader()

    def resolve(self, snapshot: Snapshot) -> None:
        """End the wait with its terminal snapshot."""
        if isinstance(snapshot, FineTuneJob):
            self._unread = snapshot
        if not self.ended.done():
            self.ended.set_result(snapshot)
        self._wake_reader()

    def reject(self, error: BaseException) -> None:
        """End the wait with an error."""
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # marks it retrieved: a caller in a slow callback may read it late
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
