"""What the hub keeps: a job under watch, and the waits for its end. No I/O, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Self

from dashscope_ft_async.errors import DashScopeFTError, WaitError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.policy import WaitPolicy, WaitState


class Wait:
    """One caller's interest in a job: made by `Hub.wait`, given up by leaving its ``with`` block."""

    __slots__ = (
        "_leave",
        "_news",
        "_save",
        "_unread",
        "due",
        "ended",
        "entered",
        "last_poll",
        "limit",
        "number",
        "policy",
        "state",
        "watch",
    )

    def __init__(
        self,
        leave: Callable[[Wait], None],
        save: Callable[[Wait], WatchState],
        watch: Watch,
        policy: WaitPolicy,
        state: WaitState,
        entered: float,
        due: float,
    ) -> None:
        self._leave = leave
        self._save = save
        self.watch = watch
        self.policy = policy
        self.state = state
        self.entered = entered
        """When the hub took it in; a resumed wait began before."""
        self.due = due
        self.limit = None if state.deadline is None else max(state.deadline, entered)
        """When the timer must see to this wait even if no poll is due."""
        self.last_poll = False
        """Whether the poll granted at the deadline was used."""
        self.ended: asyncio.Future[FineTuneJob] = asyncio.get_running_loop().create_future()
        """Resolved once, with the terminal job or the error that ends this wait."""
        self.number = 0
        """What hooks know it by."""
        self._unread: FineTuneJob | None = None
        self._news: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give it up; a wait that has ended may be left as well."""
        self._leave(self)

    @property
    def last_job(self) -> FineTuneJob | None:
        """The newest snapshot, the terminal one included."""
        ended = self.ended
        if ended.done() and not ended.cancelled() and ended.exception() is None:
            return ended.result()
        return self.state.last_job

    def saved(self) -> WatchState:
        """Where it stands, to go on with it elsewhere."""
        return self._save(self)

    async def changes(self) -> AsyncGenerator[FineTuneJob, None]:
        """The first snapshot, every change and the terminal one; unseen ones give way to the newest.

        Raises what ends the wait badly.
        """
        while True:
            while self._unread is not None:
                job, self._unread = self._unread, None
                yield job
            if self.ended.done():
                self.ended.result()
                return
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def tell(self, job: FineTuneJob) -> None:
        """Note a change for `changes`."""
        self._unread = job
        self._wake()

    def resolve(self, job: FineTuneJob) -> None:
        """End well."""
        if not self.ended.done():
            self.ended.set_result(job)
        self._wake()

    def reject(self, error: BaseException) -> None:
        """End badly."""
        if isinstance(error, DashScopeFTError):
            error.job_id = self.watch.job_id
        if isinstance(error, WaitError):
            error.state = self.saved()
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # a caller who is in a slow callback owes asyncio no look at it
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Watch:
    """One job under watch, and everyone who waits for it."""

    __slots__ = (
        "absent",
        "asleep_since",
        "due",
        "entry",
        "job_id",
        "last_job",
        "list_from",
        "listed",
        "mark",
        "own_look_by",
        "poll",
        "queued",
        "rank",
        "seen_at",
        "swept",
        "waits",
        "wake",
    )

    def __init__(self, job_id: str, now: float) -> None:
        self.job_id = job_id
        self.waits: list[Wait] = []
        self.asleep_since = now
        """When the sleep until `due` began."""
        self.due = float("inf")
        """When the next poll is due; the earliest of its waits' times."""
        self.queued = False
        self.swept = False
        """Whether pages are being asked for that should show it."""
        self.poll: asyncio.Task[None] | None = None
        self.entry = 0
        """Number of the live heap entry, 0 for none; all others of this watch are stale."""
        self.wake = 0.0
        """Time of the live heap entry."""
        self.last_job: FineTuneJob | None = None
        self.seen_at = float("-inf")
        """When the request that brought `last_job` was sent."""
        self.own_look_by = now
        """When it is to be asked for by itself at the latest, whatever pages say of it."""
        self.listed: FineTuneJob | None = None
        """The terminal snapshot a page showed, until a GET has confirmed it."""
        self.mark: object = None
        """What the last row of it looked like, before it was structured."""
        self.rank: int | None = None
        """Where in the list it was seen last."""
        self.absent = 0
        """How often running it was in no page."""
        self.list_from = float("-inf")
        """It is not looked for in the list before this time."""

    @property
    def asleep(self) -> bool:
        """Whether nothing is being done about it."""
        return self.poll is None and not self.queued and not self.swept
