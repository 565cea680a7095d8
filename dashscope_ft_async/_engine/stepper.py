"""Applies outcomes to waits: keeps snapshots, lets `next_step` decide, resolves futures, emits events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import TypeAlias

import attrs

from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async._engine.watch import Watch
from dashscope_ft_async.errors import DashScopeFTError, WaitError
from dashscope_ft_async.hooks import (
    ModelNameMissing,
    PollFailed,
    Retrying,
    StatusChanged,
    StillWaiting,
    WaitEnded,
    WaitStarted,
)
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.limits import FIRST_HEARTBEAT, SLOWEST_HEARTBEAT, TIMER_SLACK
from dashscope_ft_async.policy import Contact, Done, Fail, Outcome, Sleep, Snapshot, WaitState, next_step

Save: TypeAlias = Callable[[str, WaitState, FineTuneJob | None], WatchState]
"""Turns the id of a job, the state of a wait for it and its newest snapshot into a `WatchState`."""


class Stepper:
    """Takes the steps of the waits of one client. It knows neither the heap nor the requests."""

    def __init__(self, events: EventStream, save: Save) -> None:
        self._events = events
        self._save = save
        self._heartbeat_gap = FIRST_HEARTBEAT
        self.heartbeat_at = inf
        """When the next heartbeat is due."""

    def record(self, watch: Watch, snapshot: Snapshot, mark: object, began: float, now: float) -> None:
        """Keep a snapshot; `mark` is that of its row, or `None` if a GET brought it."""
        if isinstance(snapshot, FineTuneJob):
            before = watch.last if isinstance(watch.last, FineTuneJob) else None
            if before is None or before.raw_status != snapshot.raw_status:
                self._events.emit(
                    StatusChanged(
                        job=snapshot,
                        before=before,
                        unseen=None if before is None else now - watch.seen_at,
                        age=now - watch.started,
                        polls=watch.waits[0].state.polls + 1,
                    )
                )
        watch.last, watch.seen_at, watch.mark = snapshot, began, mark

    def step(self, wait: Wait, outcome: Outcome, now: float, u: float, contact: Contact) -> bool:
        """Do what `next_step` decides for one wait. Returns whether the wait has ended."""
        match next_step(wait.policy, wait.state, outcome, now=now, u=u, contact=contact):
            case Sleep(seconds, state):
                self._put_change(wait, outcome)
                wait.state = state
                # A sleep that the deadline clips ends with a last poll, which waits of a job share.
                is_clipped = wait.limit is not None and now + seconds >= wait.limit - TIMER_SLACK
                wait.due = inf if is_clipped else now + seconds
                if self._events.has_hooks and isinstance(outcome, BaseException):
                    self._emit_retry(wait, outcome, seconds)
                return False
            case Done(snapshot):
                if wait.state.without_name and snapshot.finetuned_output is None:
                    self._events.emit(ModelNameMissing(job=snapshot))
                wait.resolve(snapshot)
            case Fail(error):
                if isinstance(outcome, FineTuneJob):  # the deadline has passed
                    self._put_change(wait, outcome)
                    wait.state = attrs.evolve(wait.state, last=outcome)
                self.reject(wait, error)
        return True

    @staticmethod
    def _put_change(wait: Wait, outcome: Outcome) -> None:
        if isinstance(outcome, FineTuneJob):
            last = wait.state.last
            if not isinstance(last, FineTuneJob) or outcome.is_change_from(last):
                wait.put_change(outcome)

    def reject(self, wait: Wait, error: BaseException) -> None:
        """End a wait with an error, which gets the job and the state of the wait."""
        if isinstance(wait.key, str):
            if isinstance(error, DashScopeFTError):
                error.job_id = wait.key
            if isinstance(error, WaitError):
                error.state = self.saved(wait)
        wait.reject(error)

    def saved(self, wait: Wait) -> WatchState:
        """Where a wait for a job stands, to go on with it elsewhere."""
        return self._save(str(wait.key), wait.state, wait.last_job)

    # --- events -----------------------------------------------------------------------------------------

    def emit_start(self, wait: Wait) -> None:
        """Emit that a wait for a job began."""
        if isinstance(wait.key, str):
            self._events.emit(WaitStarted(wait=wait.number, job_id=str(wait.key)))

    def emit_end(self, wait: Wait, now: float) -> None:
        """Emit that a wait for a job is over."""
        if not isinstance(wait.key, str):
            return
        known = wait.ended.done() and not wait.ended.cancelled()
        error = wait.ended.exception() if known else None
        snapshot = wait.ended.result() if known and error is None else None
        self._events.emit(
            WaitEnded(
                wait=wait.number,
                job_id=str(wait.key),
                seconds=now - wait.state.started,
                polls=wait.state.polls + (snapshot is not None),
                job=snapshot,
                error=error,
            )
        )

    def emit_failure(self, watch: Watch, error: BaseException, held: float) -> None:
        """Emit that a poll failed; `held` are the seconds for which the gate is closed."""
        self._events.emit(PollFailed(job_id=str(watch.key), error=error, held=max(0.0, held)))

    def start_heartbeat(self, now: float) -> None:
        """The first wait of a set begins."""
        self._heartbeat_gap = FIRST_HEARTBEAT
        self.heartbeat_at = now + FIRST_HEARTBEAT

    def heartbeat(self, watches: Iterable[Watch], now: float) -> None:
        """Emit what is waited for. The next heartbeat comes after twice the time."""
        self._heartbeat_gap = min(SLOWEST_HEARTBEAT, 2 * self._heartbeat_gap)
        self.heartbeat_at = now + self._heartbeat_gap
        lasts = (watch.last for watch in watches if watch.attempt is None)
        words = (last.raw_status if isinstance(last, FineTuneJob) else "not seen yet" for last in lasts)
        if statuses := Counter(words):
            self._events.emit(StillWaiting(statuses=statuses))

    def _emit_retry(self, wait: Wait, error: BaseException, seconds: float) -> None:
        if not isinstance(wait.key, str):
            return
        self._events.emit(
            Retrying(
                call=None,
                wait=wait.number,
                job_id=str(wait.key),
                attempt=0 if wait.state.trouble is None else wait.state.trouble.attempts,
                seconds=seconds,
                error=error,
            )
        )
