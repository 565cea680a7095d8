"""The one driver of all waits of a client.

One heap of wake-up times, one timer, a few requests under way. A wait is a small object on the watch of
its job, never a task; all waits of one job share its polls. The hub knows nothing of HTTP: it is given
`fetch` and `fetch_page`, asks `next_step` what an answer means, the gate when requests may go out, and
the roster whether a page of the list is cheaper. It decides nothing itself but order: jobs that a page
showed as ended go first, then the oldest due.

Long because a watch's life is one circle: cut in two, each half would write the other's state.

A poll's life: the timer finds a watch due -> it queues -> a sweep of pages takes it along, or the gate
has room and `fetch` is called -> `next_step` for each of its waits -> the next wake-up is pushed, or the
wait's future is resolved.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

import attrs

from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.journal import Journal
from dashscope_ft_async._api.wire import Row, ScannedPage
from dashscope_ft_async._engine.list_planner import WORTH, Roster, is_backward, unlisted_for
from dashscope_ft_async._engine.lister import FetchPage, Lister
from dashscope_ft_async._engine.watch import Wait, Watch
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    ClientClosedError,
    ConfigurationError,
)
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.policy import (
    TIMER_SLACK,
    Done,
    Fail,
    Outcome,
    Sleep,
    WaitPolicy,
    WaitState,
    gave_up,
    next_step,
)

if TYPE_CHECKING:
    from dashscope_ft_async._api.telling import Telling

Fetch: TypeAlias = Callable[[str], Awaitable[FineTuneJob]]

LAST_POLL = 2.0
"""Seconds that the one poll at a wait's deadline may take."""
OWN_LOOK = 300.0
"""Seconds after which a job is asked for by itself, whatever pages say of it."""
_NEXT_SCAN = 0.5
_SLACK = TIMER_SLACK


class Hub:
    """Drives the waits of one client, in one event loop.

    `fetch` makes one attempt to get a job, `fetch_page` one to get a page of the list (`None`: the list is
    not used); both raise our errors. `fetch` is never under way twice for one job. The list has a gate
    of its own: where it is throttled, single polls go on. `save` tells where a wait stands, in times that
    outlive the loop. `uniform` gives the random numbers in [0, 1) that jitter is made of. `hooks` want to
    know of waits and changes.
    """

    def __init__(
        self,
        fetch: Fetch,
        gate: Gate,
        journal: Journal,
        *,
        save: Callable[[Wait], WatchState],
        fetch_page: FetchPage | None = None,
        list_gate: Gate | None = None,
        uniform: Callable[[], float] = random.random,
        hooks: Telling | None = None,
    ) -> None:
        self._fetch = fetch
        self._save = save
        self._hooks = hooks
        self._gate = gate
        self._lister = fetch_page and Lister(fetch_page, list_gate or gate, gate, journal, uniform)
        self._sweep: asyncio.Task[None] | None = None
        self._next_scan = float("-inf")
        self._journal = journal
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._watches: dict[str, Watch] = {}
        self._heap: list[tuple[float, int, Watch]] = []
        self._entries = 0
        self._queue: deque[Watch] = deque()
        self._to_confirm: deque[Watch] = deque()
        self._polls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0  # uvloop's handle for a time that is now does not know it
        self._closed = False

    def __repr__(self) -> str:
        left = max(0.0, self._wakes_at - self._loop.time())
        wakes = "never" if self._timer is None else f"in {left:.3f} s"
        return (
            f"<Hub watches={len(self._watches)} heap={len(self._heap)} queued={len(self._queue)} "
            f"polls={len(self._polls)} wakes={wakes} {self._gate!r}{' sweeping' if self._sweep else ''}>"
        )

    def wait(self, job_id: str, policy: WaitPolicy, begin: WaitState) -> Wait:
        """A wait for the end of a job that goes on from `begin`; to be used in a ``with`` block.

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
            watch = self._watches[job_id] = Watch(job_id, now)
            self._put_off_own_look(watch, now)
        fresh_until = watch.seen_at + policy.poll.initial
        known = watch.last_job if fresh_until > now else None
        due = now if known is None else fresh_until
        state = begin if known is None else attrs.evolve(begin, last_job=known, trouble=None)
        wait = Wait(self.leave, self._save, watch, policy, state, now, due)
        if known is not None:
            wait.tell(known)
        watch.waits.append(wait)
        if watch.asleep:
            watch.due = min(watch.due, due)
        self._plan(watch)
        self._arm()
        if self._hooks is not None:
            self._hooks.wait_started(wait)
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
        if self._hooks is not None:
            self._hooks.wait_ended(wait, self._loop.time())

    def next_look(self, job_id: str) -> float | None:
        """Seconds until the job is due again, 0 while it is being looked at; `None` where nobody waits."""
        watch = self._watches.get(job_id)
        if watch is None:
            return None
        return max(0.0, watch.due - self._loop.time()) if watch.asleep else 0.0

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and every poll under way; then nothing is left."""
        self._closed = True
        now = self._loop.time()
        for watch in self._watches.values():
            for wait in watch.waits:
                wait.reject(gave_up(ClientClosedError, "the client was closed", wait.state, now))
        self._watches.clear()
        self._rest()
        tasks = [*self._polls, *([] if self._sweep is None else [self._sweep])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rest(self) -> None:
        """Nobody waits: drop what is left of those who did."""
        self._heap.clear()
        self._queue.clear()
        self._to_confirm.clear()
        if self._sweep is not None:
            self._sweep.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the timer ----------------------------------------------------------------------------------

    def _wake_at(self, watch: Watch, when: float) -> None:
        """Look at this watch at `when`, and not at the time set before."""
        if watch.entry and watch.wake == when:
            return
        self._entries += 1
        watch.entry, watch.wake = self._entries, when
        heappush(self._heap, (when, watch.entry, watch))
        # Overtaken entries die at the top of the heap; too many of them are swept out together.
        if len(self._heap) > 2 * len(self._watches) + 64:
            self._heap = [item for item in self._heap if item[2].entry == item[1]]
            heapify(self._heap)

    def _arm(self) -> None:
        heap = self._heap
        while heap and heap[0][2].entry != heap[0][1]:
            heappop(heap)
        when = heap[0][0] if heap else None
        if (self._queue or self._to_confirm) and len(self._polls) < self._gate.window:
            when = self._gate.next_at if when is None else min(when, self._gate.next_at)
        if self._timer is not None:
            if self._wakes_at == when:
                return
            self._timer.cancel()
        # What is due now comes on the next turn of the loop, so that a whole gather is one set.
        self._timer = None if when is None else self._loop.call_at(when, self._tick)
        self._wakes_at = when or 0.0

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

    def _look_at(self, watch: Watch, now: float) -> None:
        for wait in tuple(watch.waits):
            if wait.limit is not None and wait.limit <= now + _SLACK:
                self._run_out(wait, now)
        if watch.asleep and watch.due <= now + _SLACK and watch.waits:
            watch.queued = True
            self._queue.append(watch)
        self._plan(watch)

    def _run_out(self, wait: Wait, now: float) -> None:
        """The deadline is here: one last poll where it clipped a sleep, else the end."""
        watch = wait.watch
        if watch.listed is not None:
            self._step(wait, watch.listed, now, 0.0)
            return
        clipped = watch.poll is None or wait.limit == wait.entered
        if clipped and not wait.last_poll and self._gate.opens_at <= now + _SLACK:
            wait.last_poll = True
            wait.limit = now + LAST_POLL
            watch.swept = False
            watch.due = now
        else:
            self._step(wait, None, now, 0.0)

    def _plan(self, watch: Watch) -> None:
        """Set the next look: at the next poll, or when a wait runs out, whichever comes first."""
        times = [wait.limit for wait in watch.waits if wait.limit is not None]
        if watch.asleep and watch.waits:
            times.append(watch.due)
        if times:
            self._wake_at(watch, min(times))

    # --- polls --------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Start the requests that the gate has room for: confirmations, then the oldest due."""
        now = self._loop.time()
        if self._gate.opens_at > now + _SLACK:
            self._do_without_confirmation(now)
            return
        self._sweep_where_it_pays(now)
        while len(self._polls) < self._gate.window and self._gate.next_at <= now + _SLACK:
            if self._to_confirm:
                watch = self._to_confirm.popleft()
            elif self._queue:
                watch = self._queue.popleft()
            else:
                return
            if watch.queued and watch.waits:
                watch.queued = False
                watch.poll = self._loop.create_task(self._poll(watch))
                watch.poll.add_done_callback(self._freed)
                self._polls.add(watch.poll)
                self._gate.sent(now)

    async def _poll(self, watch: Watch) -> None:
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

    def _settle(self, watch: Watch, outcome: FineTuneJob | Exception, began: float) -> None:
        """Tell everyone concerned what a poll brought, and plan what comes next."""
        now, u = self._loop.time(), self._uniform()
        gate = self._gate
        try:
            gate.saw(outcome, began=began, now=now, u=u)
        except ConfigurationError as error:  # the user's wait strategy is broken
            outcome = error
        self._put_off_own_look(watch, began)
        if watch.listed is not None:
            outcome = self._confirmed(watch, outcome)
        if isinstance(outcome, FineTuneJob):
            self._note(watch, outcome, None, began, now)
            if outcome.is_terminal and self._lister is not None:
                self._lister.roster.ended(watch.job_id, now)
        else:
            self._journal.failed(watch.job_id, outcome, now, held=gate.opens_at - now)
        # Where nobody was ever reached, it concerns every wait, whoever made the attempt.
        for each in tuple(self._watches.values()) if gate.hopeless else (watch,):
            self._tell(each, outcome, now, u)

    def _note(self, watch: Watch, job: FineTuneJob, mark: object, began: float, now: float) -> None:
        first = watch.waits[0].state
        self._journal.answered(job, watch.last_job, now, first.started, first.polls + 1)
        if self._hooks is not None:
            self._hooks.seen(job, watch.last_job, now - watch.seen_at)
        watch.last_job, watch.seen_at, watch.mark = job, began, mark

    def _tell(self, watch: Watch, outcome: Outcome, now: float, u: float) -> None:
        for wait in tuple(watch.waits):
            self._step(wait, outcome, now, u)
        watch.asleep_since = now
        watch.due = min((wait.due for wait in watch.waits), default=now)
        self._plan(watch)

    def _step(self, wait: Wait, outcome: Outcome, now: float, u: float) -> None:
        if isinstance(outcome, FineTuneJob) and outcome.is_change_from(wait.state.last_job):
            wait.tell(outcome)
        unreached = self._gate.unreached
        match next_step(wait.policy, wait.state, outcome, now=now, u=u, unreached=unreached):
            case Sleep(seconds, state):
                wait.state = state
                wait.due = now + seconds
                if self._hooks is not None and isinstance(outcome, BaseException):
                    self._hooks.wait_failed(wait, outcome, seconds)
            case Done(job):
                wait.resolve(job)
                self.leave(wait)
            case Fail(error):
                wait.reject(error)
                self.leave(wait)

    # --- pages --------------------------------------------------------------------------------------

    def _sweep_where_it_pays(self, now: float) -> None:
        """Leave what is due, and what soon will be, to a sweep of pages, if that is cheaper.

        Without the look ahead, jitter would leave one job due at each instant and no page would pay.
        """
        lister = self._lister
        if lister is None or self._sweep is not None or len(self._watches) < WORTH or not self._queue:
            return
        # A look at every watch is not for every answer: with many watches it would cost more than polls.
        if now < self._next_scan or not lister.usable(now + _SLACK):
            return
        self._next_scan = now + _NEXT_SCAN
        soon = [watch for watch in self._watches.values() if self._may_be_swept(watch, now)]
        if len(soon) < WORTH or not lister.roster.worth(watch.rank for watch in soon):
            return
        for watch in soon:
            watch.queued, watch.swept = False, True
        self._sweep = self._loop.create_task(self._swept(lister, soon))
        self._sweep.add_done_callback(self._sweep_done)

    def _may_be_swept(self, watch: Watch, now: float) -> bool:
        sleeping = watch.due - watch.asleep_since
        return (
            watch.poll is None
            and watch.listed is None
            and (watch.queued or watch.due - now <= sleeping / 2)
            and watch.list_from <= now
            and now + sleeping <= watch.own_look_by
            and not any(wait.last_poll for wait in watch.waits)
        )

    def _put_off_own_look(self, watch: Watch, now: float) -> None:
        # Spread, or a crowd that began together would look together.
        watch.own_look_by = now + OWN_LOOK * (0.5 + 0.5 * self._uniform())

    async def _swept(self, lister: Lister, due: list[Watch]) -> None:
        """Tell every watched job on the pages that `due` are worth; the rest look after themselves."""
        walk = lister.walk(lambda: [watch.rank for watch in due if watch.swept and watch.waits])
        try:
            async with aclosing(walk):
                async for number, began, page in walk:
                    self._read(lister.roster, page, number, began)
        finally:
            self._do_without_pages([watch for watch in due if watch.swept], absent=lister.walked_whole_list)

    def _read(self, roster: Roster, page: ScannedPage, number: int, began: float) -> None:
        now = self._loop.time()
        for place, row in enumerate(page.rows):
            watch = self._watches.get(row.job_id)
            if watch is not None:
                watch.rank = (number - 1) * page.page_size + place
                self._read_row(watch, row, began, now)
            elif roster.may_contradict(row.job_id, mark := row.mark(), began):
                if _is_ended(row):
                    roster.agreed(row.job_id, mark)
                else:
                    roster.distrust(row.job_id)
        self._arm()

    def _read_row(self, watch: Watch, row: Row, began: float, now: float) -> None:
        if watch.poll is not None or watch.listed is not None or watch.seen_at >= began:
            return  # its own answer is newer, or will be
        mark = row.mark()
        if watch.last_job is None or mark != watch.mark:
            try:
                job = row.job()
            except APIResponseValidationError:
                return
            if is_backward(job, watch.last_job):
                return
        else:
            job = watch.last_job
        watch.absent, watch.swept, watch.queued = 0, False, False
        if job.is_terminal:
            watch.listed, watch.queued = job, True
            self._to_confirm.append(watch)
            return
        self._note(watch, job, mark, began, now)
        self._tell(watch, job, now, self._uniform())

    def _do_without_pages(self, left: list[Watch], *, absent: bool) -> None:
        now = self._loop.time()
        for watch in left:
            watch.swept = False
            if absent:
                watch.absent += 1
                watch.list_from = now + unlisted_for(watch.absent)
            if watch.waits and self._watches.get(watch.job_id) is watch:
                self._look_at(watch, now)

    def _sweep_done(self, sweep: asyncio.Task[None]) -> None:
        self._sweep = None
        if not self._closed:
            self._send()
            self._arm()

    # --- confirmations ------------------------------------------------------------------------------

    def _confirmed(self, watch: Watch, outcome: FineTuneJob | Exception) -> FineTuneJob | Exception:
        """What to tell of a job that a page showed as ended, now that it was asked for by itself."""
        listed, watch.listed = watch.listed, None
        if isinstance(outcome, FineTuneJob):
            if not outcome.is_terminal and self._lister is not None:
                self._lister.roster.distrust(watch.job_id)
            return outcome
        return outcome if listed is None else listed

    def _do_without_confirmation(self, now: float) -> None:
        """The gate is closed: what the page showed is the answer."""
        while self._to_confirm:
            watch = self._to_confirm.popleft()
            listed, watch.listed, watch.queued = watch.listed, None, False
            if listed is not None and watch.waits:
                self._note(watch, listed, None, now, now)
                self._tell(watch, listed, now, 0.0)


def _is_ended(row: Row) -> bool:
    try:
        return row.job().is_terminal
    except APIResponseValidationError:
        return True
