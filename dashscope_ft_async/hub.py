"""Floor 3: the one driver of all waits of a client.

One heap of wake-up times, one timer, a few polls under way. A wait is a small object on the watch of
its job, never a task; all waits of one job share its polls. The hub knows nothing of HTTP: it is given
`fetch`, asks `next_step` what an answer means, and asks the gate when polls may go out. It decides
nothing itself but order: the oldest due goes first.

A poll's life: the timer finds a watch due -> it queues -> the gate has room -> `fetch` -> `next_step`
for each of its waits -> the next wake-up is pushed, or the wait's future is resolved.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from heapq import heapify, heappop, heappush
from typing import Self, TypeAlias

from dashscope_ft_async._journal import Journal
from dashscope_ft_async.errors import ClientClosedError, ConfigurationError, DashScopeFTError
from dashscope_ft_async.gate import Gate
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.policy import (
    Done,
    Fail,
    Outcome,
    Sleep,
    WaitPolicy,
    WaitState,
    gave_up,
    next_step,
)

Fetch: TypeAlias = Callable[[str], Awaitable[FineTuneJob]]

LAST_POLL = 2.0
"""Seconds that the one poll at a wait's deadline may take."""
_SLACK = 0.001  # timers fire a little early; what is due within this is due


class Wait:
    """One caller's interest in a job: made by `Hub.wait`, given up by leaving its ``with`` block."""

    __slots__ = (
        "_hub",
        "_news",
        "_unread",
        "due",
        "ended",
        "last_poll",
        "limit",
        "policy",
        "state",
        "watch",
    )

    def __init__(self, hub: Hub, watch: _Watch, policy: WaitPolicy, state: WaitState, due: float) -> None:
        self._hub = hub
        self.watch = watch
        self.policy = policy
        self.state = state
        self.due = due
        self.limit = state.deadline
        """When the timer must see to this wait even if no poll is due."""
        self.last_poll = False
        """Whether the poll granted at the deadline was used."""
        self.ended: asyncio.Future[FineTuneJob] = asyncio.get_running_loop().create_future()
        """Resolved once, with the terminal job or the error that ends this wait."""
        self._unread: FineTuneJob | None = None
        self._news: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give it up; a wait that has ended may be left as well."""
        self._hub.leave(self)

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
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # a caller who is in a slow callback owes asyncio no look at it
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class _Watch:
    """One job under watch, and everyone who waits for it."""

    __slots__ = ("due", "entry", "job_id", "last_job", "poll", "queued", "seen_at", "waits", "wake")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.waits: list[Wait] = []
        self.due = float("inf")
        """When the next poll is due; the earliest of its waits' times."""
        self.queued = False
        self.poll: asyncio.Task[None] | None = None
        self.entry = 0
        """Number of the live heap entry, 0 for none; all others of this watch are stale."""
        self.wake = 0.0
        """Time of the live heap entry."""
        self.last_job: FineTuneJob | None = None
        self.seen_at = float("-inf")
        """When the poll that brought `last_job` was sent."""


class Hub:
    """Drives the waits of one client, in one event loop.

    `fetch` makes one attempt to get a job and raises our errors; it is never under way twice for one job.
    `uniform` gives the random numbers in [0, 1) that jitter is made of.
    """

    def __init__(
        self,
        fetch: Fetch,
        gate: Gate,
        journal: Journal,
        *,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._gate = gate
        self._journal = journal
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._watches: dict[str, _Watch] = {}
        self._heap: list[tuple[float, int, _Watch]] = []
        self._entries = 0
        self._queue: deque[_Watch] = deque()
        self._polls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        timer = self._timer
        wakes = "never" if timer is None else f"in {max(0.0, timer.when() - self._loop.time()):.3f} s"
        return (
            f"<Hub watches={len(self._watches)} heap={len(self._heap)} queued={len(self._queue)} "
            f"polls={len(self._polls)} wakes={wakes} {self._gate!r}>"
        )

    def wait(self, job_id: str, policy: WaitPolicy, deadline: float | None) -> Wait:
        """A wait for the end of a job, until `deadline` (loop time); to be used in a ``with`` block.

        The first poll is due at once; where another wait has just seen the job, that counts as it.
        """
        if self._closed:
            raise ClientClosedError("the client is closed.", job_id=job_id)
        now = self._loop.time()
        if not self._watches:
            self._gate.forget_unreached()
            self._journal.start(now)
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = _Watch(job_id)
        fresh_until = watch.seen_at + policy.poll.initial
        known = watch.last_job if fresh_until > now else None
        due = now if known is None else fresh_until
        wait = Wait(self, watch, policy, WaitState(now, deadline, last_job=known), due)
        if known is not None:
            wait.tell(known)
        watch.waits.append(wait)
        if watch.poll is None and not watch.queued:
            watch.due = min(watch.due, due)
            self._wake_at(watch, due)
        if deadline is not None:
            self._wake_at(watch, deadline)
        return wait

    def leave(self, wait: Wait) -> None:
        """Give a wait up; with the last one of a job goes its poll under way."""
        watch = wait.watch
        if wait not in watch.waits:
            return
        watch.waits.remove(wait)
        if not watch.waits:
            watch.entry = 0
            if self._watches.get(watch.job_id) is watch:
                del self._watches[watch.job_id]
            if watch.poll is not None:
                watch.poll.cancel()
        if not self._watches:
            self._rest()

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and every poll under way; then nothing is left."""
        self._closed = True
        now = self._loop.time()
        for watch in self._watches.values():
            for wait in watch.waits:
                wait.reject(gave_up(ClientClosedError, "the client was closed", wait.state, now))
        self._watches.clear()
        self._rest()
        polls = tuple(self._polls)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    def _rest(self) -> None:
        """Nobody waits: drop what is left of those who did."""
        self._heap.clear()
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the timer ----------------------------------------------------------------------------------

    def _wake_at(self, watch: _Watch, when: float) -> None:
        """Look at this watch at `when`, unless a look comes earlier."""
        if watch.entry and watch.wake <= when:
            return
        self._entries += 1
        watch.entry, watch.wake = self._entries, when
        heappush(self._heap, (when, watch.entry, watch))
        # Overtaken entries die at the top of the heap; too many of them are swept out together.
        if len(self._heap) > 2 * len(self._watches) + 64:
            self._heap = [item for item in self._heap if item[2].entry == item[1]]
            heapify(self._heap)
        self._arm()

    def _arm(self) -> None:
        when = self._heap[0][0] if self._heap else None
        if self._queue and not self._polls:
            when = self._gate.opens_at if when is None else min(when, self._gate.opens_at)
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
        # What is due now comes on the next turn of the loop, so that a whole gather is one set.
        self._timer = None if when is None else self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now + _SLACK:
            _, entry, watch = heappop(self._heap)
            if watch.entry == entry:
                watch.entry = 0
                self._look_at(watch, now)
        if now >= self._journal.beat_at and self._watches:
            self._journal.beat((watch.last_job for watch in self._watches.values()), now)
        self._send()
        self._arm()

    def _look_at(self, watch: _Watch, now: float) -> None:
        for wait in tuple(watch.waits):
            if wait.limit is not None and wait.limit <= now + _SLACK:
                self._run_out(wait, now)
        if watch.poll is None and not watch.queued and watch.due <= now + _SLACK and watch.waits:
            watch.queued = True
            self._queue.append(watch)
        self._plan(watch)

    def _run_out(self, wait: Wait, now: float) -> None:
        """The deadline is here: one last poll where it clipped a sleep, else the end."""
        clipped = wait.watch.poll is None or wait.limit == wait.state.started
        if clipped and not wait.last_poll and self._gate.opens_at <= now + _SLACK:
            wait.last_poll = True
            wait.limit = now + LAST_POLL
            wait.watch.due = now
        else:
            self._step(wait, None, now, 0.0)

    def _plan(self, watch: _Watch) -> None:
        """Set the next look: at the next poll, or when a wait runs out, whichever comes first."""
        times = [wait.limit for wait in watch.waits if wait.limit is not None]
        if watch.poll is None and not watch.queued and watch.waits:
            times.append(watch.due)
        if times:
            self._wake_at(watch, min(times))

    # --- polls --------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Start the polls that the gate has room for, the oldest due first."""
        if self._gate.opens_at > self._loop.time() + _SLACK:
            return
        while self._queue and len(self._polls) < self._gate.window:
            watch = self._queue.popleft()
            watch.queued = False
            if watch.waits:
                watch.poll = self._loop.create_task(self._poll(watch))
                watch.poll.add_done_callback(self._freed)
                self._polls.add(watch.poll)

    async def _poll(self, watch: _Watch) -> None:
        began = self._loop.time()
        outcome: FineTuneJob | Exception
        try:
            outcome = await self._fetch(watch.job_id)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait for this job
            outcome = error
        watch.poll = None
        self._settle(watch, outcome, began)

    def _freed(self, poll: asyncio.Task[None]) -> None:
        self._polls.discard(poll)
        if not self._closed:
            self._send()
            self._arm()

    def _settle(self, watch: _Watch, outcome: FineTuneJob | Exception, began: float) -> None:
        """Tell everyone concerned what a poll brought, and plan what comes next."""
        now, u = self._loop.time(), self._uniform()
        gate, journal = self._gate, self._journal
        try:
            gate.saw(outcome, began=began, now=now, u=u)
        except ConfigurationError as error:  # the user's wait strategy is broken
            outcome = error
        if isinstance(outcome, FineTuneJob):
            first = watch.waits[0].state
            journal.answered(outcome, watch.last_job, now, first.started, first.polls + 1)
            watch.last_job, watch.seen_at = outcome, began
        else:
            journal.failed(watch.job_id, outcome, now, held=gate.opens_at - now)
        # Where nobody was ever reached, it concerns every wait, whoever made the attempt.
        for each in tuple(self._watches.values()) if gate.hopeless else (watch,):
            for wait in tuple(each.waits):
                self._step(wait, outcome, now, u)
            each.due = min((wait.due for wait in each.waits), default=now)
            self._plan(each)

    def _step(self, wait: Wait, outcome: Outcome, now: float, u: float) -> None:
        if isinstance(outcome, FineTuneJob) and outcome.is_change_from(wait.state.last_job):
            wait.tell(outcome)
        unreached = self._gate.unreached
        match next_step(wait.policy, wait.state, outcome, now=now, u=u, unreached=unreached):
            case Sleep(seconds, state):
                wait.state = state
                wait.due = now + seconds
            case Done(job):
                wait.resolve(job)
                self.leave(wait)
            case Fail(error):
                wait.reject(error)
                self.leave(wait)
