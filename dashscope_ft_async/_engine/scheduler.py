"""The one scheduler of all waits of a client.

One heap of wake-up times, one timer, a bounded number of requests in flight. A wait is a small object on
the watch of its job, never a task, and all waits of a job share its polls. The scheduler decides only the
order of requests: `next_step` decides what an answer means, the gate when requests may go out, the sweeper
whether list pages cost less than GETs.

The way of one poll: the timer wakes a watch that is due (QUEUED); a sweep of pages may take it along
(SWEEPING), else the gate allows its GET (POLLING); `next_step` decides for each wait; the watch sleeps
until its next poll (ASLEEP), or the future of the wait is resolved. `watch.py` describes the stages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from math import isfinite
from typing import Any, Literal, TypeAlias

import attrs

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.runner import Runner, next_number
from dashscope_ft_async._engine.stepper import Save, Stepper
from dashscope_ft_async._engine.sweep import Meaning, Observation, Sweeper
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async._engine.watch import Attempt, Stage, Watch, WatchTable
from dashscope_ft_async.errors import APIError, APITimeoutError, ClientClosedError, RateLimitError
from dashscope_ft_async.hooks import ListChanged
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.limits import (
    FIRST_HEARTBEAT,
    LAST_POLL,
    PAGE_IS_WORTH,
    PAGE_TIMEOUT,
    PAGES_AT_ONCE,
    PLAN_INTERVAL,
    SLOWEST_HEARTBEAT,
    TIMER_SLACK,
)
from dashscope_ft_async.models.stats import ClientStats
from dashscope_ft_async.policy import Outcome, Snapshot, WaitPolicy, WaitState, gave_up, is_transient

Coalesce: TypeAlias = bool | Literal["confirm"]


class Scheduler:
    """Drives the waits of one client, in one event loop.

    `save` turns the state of a wait into a `WatchState`; `uniform` gives the random numbers in [0, 1) that
    jitter is made of.
    """

    def __init__(
        self,
        runner: Runner,
        events: EventStream,
        *,
        save: Save,
        coalesce: Coalesce = True,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._runner = runner
        self._events = events
        self._stepper = Stepper(events, save)
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._gate = runner.gate
        self._list_gate = runner.list_gate
        self._table = WatchTable()
        self._sweeper = Sweeper(self._table, confirm_all=coalesce == "confirm") if coalesce else None
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # uvloop's handle of a timer that is due now does not know its time
        self._tasks: set[asyncio.Task[None]] = set()
        self._page_goes_first = False
        self._plan_from = float("-inf")
        self._new_watches = 0
        self._heartbeat_at = float("inf")
        self._heartbeat_gap = FIRST_HEARTBEAT
        self._list_state = "unproven"
        self._closed = False
        self._polls = 0
        self._waits = 0
        self._observations = 0

    # --- waits ------------------------------------------------------------------------------------------

    def add(
        self, key: Hashable, policy: WaitPolicy, begin: WaitState, attempt: Attempt | None = None
    ) -> Wait:
        """Begin a wait that goes on from `begin`; `remove` must follow.

        `key` is a job id, or another key together with the `attempt` that polls it. The first poll is due
        at once; if another wait has just seen the job, that counts as the first.
        """
        if self._closed:
            raise ClientClosedError("the client is closed.", job_id=str(key) if attempt is None else None)
        now = self._loop.time()
        if not self._table.by_key:
            self._gate.forget_misses()
            self._heartbeat_gap = FIRST_HEARTBEAT
            self._heartbeat_at = now + FIRST_HEARTBEAT
        watch = self._table.by_key.get(key)
        if watch is None:
            watch = self._table.by_key[key] = Watch(key, attempt, now, 0.5 + 0.5 * self._uniform())
            self._new_watches += 1
        watch.started = min(watch.started, begin.started)
        due, state = now, begin
        if watch.last is not None and watch.seen_at + policy.poll.initial > now:
            due = watch.seen_at + policy.poll.initial
            state = attrs.evolve(begin, last=watch.last, trouble=None)
        number = next_number() if self._events.has_hooks else 0
        wait = Wait(key, policy, state, now, due, number)
        if isinstance(state.last, FineTuneJob):
            wait.put_change(state.last)
        watch.add(wait)
        self._waits += 1
        if watch.stage is Stage.ASLEEP:
            watch.due = min(watch.due, due)
        soonest = due if wait.limit is None else min(due, wait.limit)
        if not watch.entry or soonest < watch.wake:
            self._table.wake_at(watch, soonest)
        self._arm()
        self._stepper.emit_start(wait)
        return wait

    def remove(self, wait: Wait) -> None:
        """End a wait, whether its caller gives it up or it has ended; with the last one its watch ends."""
        if wait.index < 0:
            return
        watch = self._table.by_key.get(wait.key)
        if watch is not None:
            watch.remove(wait)
            if not watch.waits:
                self._table.forget(watch)
                if watch.task is not None and watch.task is not asyncio.current_task():
                    watch.task.cancel()
                if not self._table.by_key:
                    self._rest()
        wait.index = -1
        self._waits -= 1
        self._stepper.emit_end(wait, self._loop.time())

    def saved(self, wait: Wait) -> WatchState:
        """Where a wait for a job stands, to go on with it elsewhere."""
        return self._stepper.saved(wait)

    def next_poll(self, job_id: str) -> float | None:
        """Seconds until the job is due, 0 while a request for it is made; `None` if nobody waits for it."""
        watch = self._table.by_key.get(job_id)
        if watch is None:
            return None
        return max(0.0, watch.due - self._loop.time()) if watch.stage is Stage.ASLEEP else 0.0

    def stats(self) -> ClientStats:
        """What this scheduler and its runner are doing."""
        state, reason = self._list_state_now()
        rate = self._gate.rate
        return ClientStats(
            waits=self._waits,
            jobs=len(self._table.by_key),
            queued=len(self._table.queued) + len(self._table.to_confirm),
            in_flight=self._polls + (0 if self._sweeper is None else self._sweeper.in_flight),
            requests=self._runner.requests,
            observations=self._observations,
            window=self._gate.window,
            rate=rate if isfinite(rate) else None,
            list_state=state,
            list_reason=reason,
        )

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and every request in flight. Nothing is left running."""
        self._closed = True
        now = self._loop.time()
        for watch in self._table.by_key.values():
            for wait in watch.waits:
                self._stepper.reject(
                    wait, gave_up(ClientClosedError, "the client was closed", wait.state, now)
                )
        tasks = list(self._tasks)
        self._rest()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rest(self) -> None:
        """Stop what is left when nobody waits."""
        self._table.clear()
        if self._sweeper is not None:
            self._sweeper.stop()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the timer --------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the timer for the next watch that wakes up, or for the next request that the gate allows."""
        table = self._table
        when = table.next_wake()
        if (table.queued or table.to_confirm) and self._polls < self._gate.window:
            when = self._gate.next_at if when is None else min(when, self._gate.next_at)
        if self._has_room_for_page():
            gates_open_at = max(self._gate.next_at, self._list_gate.next_at)
            when = gates_open_at if when is None else min(when, gates_open_at)
        if self._timer is not None:
            if self._timer_at == when:
                return
            self._timer.cancel()
        # What is due now is done in the next iteration of the loop, so that a whole gather is one set.
        self._timer = None if when is None else self._loop.call_at(when, self._tick)
        self._timer_at = when or 0.0

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            for watch, waits in self._table.wake(now):
                for wait in waits:
                    self._expire(watch, wait, now)
                if watch.waits:
                    self._table.plan(watch)
            if now >= self._heartbeat_at:
                self._beat(now)
            self._send()
        except Exception as error:  # noqa: BLE001 - the waits must go on
            self._loop.call_exception_handler({"message": "the scheduler failed", "exception": error})
        finally:
            self._arm()

    def _beat(self, now: float) -> None:
        self._heartbeat_gap = min(SLOWEST_HEARTBEAT, 2 * self._heartbeat_gap)
        self._heartbeat_at = now + self._heartbeat_gap
        self._stepper.emit_heartbeat(self._table.by_key.values())

    def _expire(self, watch: Watch, wait: Wait, now: float) -> None:
        """The deadline of a wait has come: one last poll if it cuts a sleep short, else the end."""
        in_flight = watch.stage in (Stage.POLLING, Stage.CONFIRMING)
        cuts_sleep = not in_flight or wait.limit == wait.began
        shares = now - watch.last_poll_at < LAST_POLL and watch.seen_at >= watch.last_poll_at
        gate_is_open = self._gate.opens_at <= now + TIMER_SLACK
        if cuts_sleep and gate_is_open and not wait.last_poll and not shares:
            wait.last_poll = True
            wait.limit = now + LAST_POLL
            watch.note_limit(wait)
            watch.last_poll_at = watch.due = now
            if watch.stage in (Stage.ASLEEP, Stage.SWEEPING):
                self._table.move(watch, Stage.QUEUED)
            return
        listed = watch.listed if watch.listed is not None and self._may_believe(watch.listed) else None
        if self._stepper.step(wait, listed, now, 0.0, self._gate.contact):
            self.remove(wait)

    # --- requests ---------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Start the requests that the gates allow. Polls and pages take turns, so that under a tight limit
        neither holds the other up."""
        gate, table, now = self._gate, self._table, self._loop.time()
        if gate.opens_at > now + TIMER_SLACK:
            return
        if table.queued and self._sweeper is not None:
            self._begin_sweep(self._sweeper, now)
        while gate.next_at <= now + TIMER_SLACK:
            may_poll = self._polls < gate.window and bool(table.to_confirm or table.queued)
            may_list = self._list_gate.next_at <= now + TIMER_SLACK and self._has_room_for_page()
            if self._sweeper is not None and may_list and (self._page_goes_first or not may_poll):
                self._page_goes_first = False
                gate.sent(now)
                self._list_gate.sent(now)
                self._start(self._page(self._sweeper, self._sweeper.next_page(), now))
            elif may_poll and (watch := table.next_request()) is not None:
                self._page_goes_first = True
                gate.sent(now)
                self._polls += 1
                self._start(self._poll(watch, now), watch)
            else:
                return

    def _start(self, request: Coroutine[Any, Any, None], watch: Watch | None = None) -> None:
        task = self._loop.create_task(request)
        self._tasks.add(task)
        if watch is not None and not task.done():  # an eager task may have finished already
            watch.task = task
        task.add_done_callback(partial(self._request_done, watch))

    def _request_done(self, watch: Watch | None, task: asyncio.Task[None]) -> None:
        """Use the room that a finished request has left. A cancelled one leaves room too, even if it was
        cancelled before its first step, when nothing of its coroutine runs."""
        self._tasks.discard(task)
        if watch is not None:
            self._polls -= 1
            if watch.task is task:
                watch.task = None
        if not self._closed:
            try:
                self._send()
            finally:
                self._arm()

    async def _poll(self, watch: Watch, began: float) -> None:
        outcome: Snapshot | BaseException
        try:
            if watch.attempt is None:
                outcome = await self._runner.attempt(calls.get_job(str(watch.key)))
            else:
                outcome = await watch.attempt()
        except Exception as error:  # noqa: BLE001 - whatever it is, the waits for this job receive it
            outcome = error
        try:
            self._settle(watch, outcome, began)
        except Exception as error:  # noqa: BLE001 - no wait may hang because of a bug
            for wait in tuple(watch.waits):
                self._stepper.reject(wait, error)
                self.remove(wait)

    def _settle(self, watch: Watch, outcome: Snapshot | BaseException, began: float) -> None:
        """Use the outcome of a poll for every wait that it concerns."""
        if watch.stage is Stage.ENDED:
            return
        now, u = self._loop.time(), self._uniform()
        self._table.move(watch, Stage.ASLEEP)
        watch.own_get_at = began
        if watch.listed is not None:
            outcome = self._confirmed(watch, outcome)
        if not isinstance(outcome, BaseException):
            self._record(watch, outcome, None, began, now)
        elif watch.attempt is None:
            self._stepper.emit_failure(watch, outcome, self._gate.opens_at - now)
        # A service that was never reached concerns every wait, whichever of them made the attempts.
        if self._gate.contact.misses >= watch.waits[0].policy.retry.attempts:
            for each in tuple(self._table.by_key.values()):
                self._advance(each, outcome, now, u)
        else:
            self._advance(watch, outcome, now, u)

    def _record(self, watch: Watch, snapshot: Snapshot, mark: object, began: float, now: float) -> None:
        self._observations += 1
        self._stepper.record(watch, snapshot, mark, began, now)
        if self._sweeper is not None and snapshot.is_terminal and isinstance(snapshot, FineTuneJob):
            self._sweeper.remember_end(snapshot.job_id, now)

    def _advance(self, watch: Watch, outcome: Outcome, now: float, u: float) -> None:
        """Let every wait of a watch take its next step, and plan the next poll."""
        for wait in tuple(watch.waits):
            if self._stepper.step(wait, outcome, now, u, self._gate.contact):
                self.remove(wait)
        if watch.waits and watch.stage is Stage.ASLEEP:
            self._table.sleep(watch, now)

    # --- list pages -------------------------------------------------------------------------------------

    def _begin_sweep(self, sweeper: Sweeper, now: float) -> None:
        watches = len(self._table.by_key)
        if sweeper.active or watches < PAGE_IS_WORTH:
            return
        if now < self._plan_from and self._new_watches < max(PAGE_IS_WORTH, watches // 10):
            return
        if sweeper.is_usable(now) and self._list_gate.next_at <= now + TIMER_SLACK:
            self._plan_from = now + PLAN_INTERVAL
            self._new_watches = 0
            sweeper.begin(now)

    def _has_room_for_page(self) -> bool:
        sweeper = self._sweeper
        if sweeper is None or not sweeper.has_page():
            return False
        return sweeper.in_flight < min(PAGES_AT_ONCE, self._list_gate.window)

    async def _page(self, sweeper: Sweeper, page_no: int, began: float) -> None:
        clock = self._loop.time
        try:
            try:
                async with asyncio.timeout(PAGE_TIMEOUT):
                    page = await self._runner.attempt(calls.list_page(page_no, sweeper.page_size))
            except (APIError, TimeoutError) as error:
                failure = (
                    error if isinstance(error, APIError) else APITimeoutError("the list page was slow")
                )
                throttled = isinstance(failure, RateLimitError) and is_transient(failure)
                sweeper.page_failed(page_no, failure, clock(), throttled=throttled)
            else:
                for seen in sweeper.page_arrived(page_no, page, began, clock()):
                    self._apply(seen, began, clock())
        except Exception as error:  # noqa: BLE001 - no failure of the list may cost a wait
            sweeper.page_failed(
                page_no, APIError(f"{type(error).__name__}: {error}"), clock(), throttled=False
            )
        sweeper.finish_or_go_on(clock())
        self._emit_list_state()

    def _apply(self, seen: Observation, began: float, now: float) -> None:
        """Use what a page shows of a watched job."""
        watch, job = seen.watch, seen.job
        if watch.stage is Stage.ENDED:
            return
        if seen.meaning is Meaning.UNCONFIRMED_END:
            watch.listed = job
            self._table.move(watch, Stage.CONFIRM_QUEUED)
            self._table.plan(watch)
            return
        self._record(watch, job, watch.mark, began, now)
        if watch.stage is not Stage.ASLEEP:
            self._table.move(watch, Stage.ASLEEP)
        self._advance(watch, job, now, self._uniform())

    def _confirmed(self, watch: Watch, outcome: Snapshot | BaseException) -> Snapshot | BaseException:
        """The outcome of the GET that confirms a terminal row, or the row if the GET failed and the list is
        proven."""
        listed, watch.listed = watch.listed, None
        if listed is None or self._sweeper is None:
            return outcome
        if isinstance(outcome, FineTuneJob):
            self._sweeper.trust.record_end(listed, outcome)
            self._emit_list_state()
        return listed if isinstance(outcome, BaseException) and self._may_believe(listed) else outcome

    def _may_believe(self, listed: FineTuneJob) -> bool:
        return self._sweeper is not None and self._sweeper.trust.is_complete(listed)

    def _emit_list_state(self) -> None:
        state, reason = self._list_state_now()
        if state != self._list_state:
            self._list_state = state
            self._events.emit(ListChanged(state=state, reason=reason))

    def _list_state_now(self) -> tuple[str, str | None]:
        return ("off", None) if self._sweeper is None else self._sweeper.state(self._loop.time())
