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
from dashscope_ft_async._engine.list_trust import Meaning
from dashscope_ft_async._engine.stepper import Save, Stepper
from dashscope_ft_async._engine.sweep import Observation, PageRead, Sweeper
from dashscope_ft_async._engine.timer import Timer
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async._engine.watch import Attempt, Stage, Watch, WatchTable
from dashscope_ft_async.errors import ClientClosedError
from dashscope_ft_async.hooks import ListChanged
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.limits import TIMER_SLACK
from dashscope_ft_async.models.stats import ClientStats
from dashscope_ft_async.policy import Outcome, Snapshot, WaitPolicy, WaitState, gave_up

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
        self._sweeper = Sweeper(self._table, enabled=bool(coalesce), confirm_all=coalesce == "confirm")
        self._timer = Timer(partial(self._guarded, self._tick))
        self._tasks: set[asyncio.Task[None]] = set()
        self._page_goes_first = False
        # One random number per sweep: jobs that pages show stay together, and so need fewer pages.
        self._sweep_u = 0.5
        self._closed = False
        self._polls = 0
        self._waits = 0
        self._observations = 0

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
            self._stepper.start_heartbeat(now)
        watch = self._table.by_key.get(key)
        if watch is None:
            watch = self._table.add(Watch(key, attempt, now, 0.5 + 0.5 * self._uniform()))
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
        if self._events.has_hooks:
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
                if watch.listed is not None:
                    self._loop.call_soon(self._guarded, self._judge_again, watch.key)
                if watch.task is not None and watch.task is not asyncio.current_task():
                    watch.task.cancel()
                if not self._table.by_key:
                    self._rest()
        wait.index = -1
        self._waits -= 1
        if self._events.has_hooks:
            self._stepper.emit_end(wait, self._loop.time())

    def saved(self, wait: Wait) -> WatchState:
        """Where a wait for a job stands, to go on with it elsewhere."""
        return self._stepper.saved(wait)

    def next_poll(self, job_id: str) -> float | None:
        """Seconds until the job is due, 0 while a request for it is made; `None` if nobody waits for it."""
        return self._table.time_to_next_poll(job_id, self._loop.time())

    def stats(self) -> ClientStats:
        """What this scheduler and its runner are doing."""
        state, reason = self._sweeper.state(self._loop.time())
        rate = self._gate.rate
        return ClientStats(
            waits=self._waits,
            jobs=len(self._table.by_key),
            queued=len(self._table.queued) + len(self._table.to_confirm) + len(self._table.held),
            in_flight=self._polls + self._sweeper.in_flight,
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
                closed = gave_up(ClientClosedError, "the client was closed", wait.state, now)
                self._stepper.reject(wait, closed)
        tasks = list(self._tasks)
        self._rest()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rest(self) -> None:
        """Stop what is left when nobody waits."""
        self._table.clear()
        if self._sweeper.active:
            self._sweeper.stop()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._timer.set(None)

    def _arm(self) -> None:
        """Set the timer for the next watch that wakes up, or for the next request that the gate allows."""
        table = self._table
        when = table.next_wake()
        if (table.queued or table.to_confirm) and self._polls < self._gate.window:
            when = self._gate.next_at if when is None else min(when, self._gate.next_at)
        if self._sweeper.active and self._sweeper.has_room_for_page(self._list_gate.window):
            gates_open_at = max(self._gate.next_at, self._list_gate.next_at)
            when = gates_open_at if when is None else min(when, gates_open_at)
        self._timer.set(when)

    def _guarded(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Run what the event loop calls, then set the timer. An exception is reported; the waits go on."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - a bug
            self._loop.call_exception_handler({"message": "the scheduler failed", "exception": error})
        finally:
            self._arm()

    def _tick(self) -> None:
        now = self._loop.time()
        for watch, waits in self._table.wake(now):
            for wait in waits:
                self._expire(watch, wait, now)
            if watch.waits:
                self._table.plan(watch)
        if now >= self._stepper.heartbeat_at:
            self._stepper.heartbeat(self._table.by_key.values(), now)
        self._send()

    def _expire(self, watch: Watch, wait: Wait, now: float) -> None:
        """The deadline of a wait has come: one last poll if it cuts a sleep short, else the end."""
        gate_is_open = self._gate.opens_at <= now + TIMER_SLACK
        if gate_is_open and self._table.grant_last_poll(watch, wait, now):
            return
        row = watch.listed
        known = row if row is not None and self._sweeper.trust.is_complete(row) else None
        self._step(wait, known, now, 0.0)

    def _send(self) -> None:
        """Start the requests that the gates allow. Polls and pages take turns, so that under a tight limit
        neither holds the other up."""
        gate, table, now = self._gate, self._table, self._loop.time()
        if gate.opens_at > now + TIMER_SLACK or not table.by_key:
            return
        sweeper, soon = self._sweeper, now + TIMER_SLACK
        if sweeper.enabled and table.queued and self._list_gate.next_at <= soon and sweeper.begin(now):
            self._sweep_u = self._uniform()
        while gate.next_at <= soon:
            may_poll = self._polls < gate.window and bool(table.to_confirm or table.queued)
            may_list = (
                sweeper.active
                and self._list_gate.next_at <= soon
                and sweeper.has_room_for_page(self._list_gate.window)
            )
            if may_list and (self._page_goes_first or not may_poll):
                self._page_goes_first = False
                gate.sent(now)
                self._list_gate.sent(now)
                self._start(self._page(sweeper.next_page(), now))
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
        if watch is not None:
            watch.task = None if task.done() else task  # an eager task may have finished already
            task.add_done_callback(partial(self._guarded, self._poll_over, watch))
        task.add_done_callback(self._tasks.discard)

    def _poll_over(self, watch: Watch, task: asyncio.Task[None]) -> None:
        """Count a poll as over, and use the room it has left. If its task was cancelled from outside,
        perhaps before its first step, it is made again."""
        self._polls -= 1
        if watch.task is task:
            watch.task = None
            if self._table.by_key.get(watch.key) is watch:
                watch.listed = None
                self._table.sleep(watch, self._loop.time())
        self._send()

    async def _poll(self, watch: Watch, began: float) -> None:
        outcome: Snapshot | BaseException
        try:
            if watch.attempt is None:
                outcome = await self._runner.attempt(calls.get_job(str(watch.key)))
            else:
                outcome = await watch.attempt()
        except Exception as error:  # noqa: BLE001 - whatever it is, the waits for this job receive it
            outcome = error
        watch.task = None
        try:
            self._settle(watch, outcome, began)
        except Exception as error:  # noqa: BLE001 - no wait may hang because of a bug
            for wait in tuple(watch.waits):
                wait.reject(error)
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
        if self._sweeper.enabled and isinstance(snapshot, FineTuneJob) and snapshot.is_terminal:
            self._sweeper.remember_end(snapshot.job_id, now)

    def _advance(self, watch: Watch, outcome: Outcome, now: float, u: float) -> None:
        """Let every wait of a watch take its next step, and plan the next poll."""
        for wait in watch.waits[:]:
            self._step(wait, outcome, now, u)
        if watch.waits and watch.stage is Stage.ASLEEP:
            self._table.sleep(watch, now)

    def _step(self, wait: Wait, outcome: Outcome, now: float, u: float) -> None:
        """Let one wait take its next step. An exception, which is a bug, ends this wait only."""
        try:
            ended = self._stepper.step(wait, outcome, now, u, self._gate.contact)
        except Exception as error:  # noqa: BLE001 - no wait may hang because of a bug
            wait.reject(error)
            ended = True
        if ended:
            self.remove(wait)

    async def _page(self, page_no: int, began: float) -> None:
        sweeper, clock = self._sweeper, self._loop.time
        try:
            page = await self._runner.list_page(page_no, sweeper.page_size)
            self._apply_page(sweeper.page_arrived(page_no, page, began, clock()), began, clock())
        except Exception as error:  # noqa: BLE001 - no failure of the list may cost a wait
            sweeper.page_failed(page_no, error, clock(), self._list_gate.opens_at)
        sweeper.finish_or_go_on(clock())
        self._emit_list_change()
        self._loop.call_soon(self._guarded, self._send)

    def _apply_page(self, page: PageRead, began: float, now: float) -> None:
        """Use what a page shows of the watched jobs."""
        self._observations += len(page.unchanged)
        for watch in page.unchanged:
            watch.seen_at = began
            if watch.stage is not Stage.ASLEEP:
                self._table.move(watch, Stage.ASLEEP)
            self._advance(watch, watch.last, now, self._sweep_u)
        for seen in page.changed:
            self._apply(seen, began, now)

    def _apply(self, seen: Observation, began: float, now: float) -> None:
        watch, job = seen.watch, seen.job
        if watch.stage is Stage.ENDED:
            return
        if seen.meaning in (Meaning.UNCONFIRMED_END, Meaning.HELD_END):
            to = Stage.HELD if seen.meaning is Meaning.HELD_END else Stage.CONFIRM_QUEUED
            watch.listed = job
            if watch.stage is not to:
                self._table.move(watch, to)
            self._table.plan(watch)
            return
        watch.listed = None
        self._record(watch, job, watch.mark, began, now)
        if watch.stage is not Stage.ASLEEP:
            self._table.move(watch, Stage.ASLEEP)
        self._advance(watch, job, now, self._sweep_u)

    def _confirmed(self, watch: Watch, outcome: Snapshot | BaseException) -> Snapshot | BaseException:
        """The outcome of the GET that confirms a terminal row, or the row if the GET failed and the list is
        proven."""
        listed, watch.listed = watch.listed, None
        self._loop.call_soon(self._guarded, self._judge_again, watch.key)
        if listed is not None and isinstance(outcome, FineTuneJob):
            self._sweeper.trust.record_end(listed, outcome)
        elif listed is not None and self._sweeper.trust.is_complete(listed):
            return listed
        return outcome

    def _judge_again(self, confirmed: Hashable) -> None:
        """The GET of `confirmed` is over: ends that await a confirmation may need none any more."""
        if self._closed:
            return
        samples = self._sweeper.trust.samples
        was_sample = confirmed in samples
        samples.discard(str(confirmed))
        if self._emit_list_change() or (was_sample and not samples):
            now = self._loop.time()
            for seen in self._sweeper.judge_again():
                self._apply(seen, now, now)
            self._send()

    def _emit_list_change(self) -> bool:
        change = self._sweeper.changed_state(self._loop.time())
        if change is not None:
            self._events.emit(ListChanged(state=change[0], reason=change[1]))
        return change is not None
