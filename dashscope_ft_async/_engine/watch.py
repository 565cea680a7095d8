"""The scheduler's records: a watch for each job, its stage, and the table of all watches.

A watch is in exactly one stage. `TRANSITIONS` has every legal change, and `WatchTable.move` is the only
function that makes one:

- ASLEEP: nothing is done until `due`; the watch has one live entry in the scheduler's heap.
- QUEUED: due, and waiting for the gate to allow its GET.
- POLLING: its GET is in flight.
- SWEEPING: a sweep of list pages is expected to show it.
- CONFIRM_QUEUED: a page showed its end, which a GET must confirm; it goes before the QUEUED ones.
- HELD: a page showed its end, which counts if a sample that is being confirmed agrees.
- CONFIRMING: that GET is in flight.
- ENDED: nobody waits for it any more; the scheduler has forgotten it.

Invariants: a watch that is not ENDED has a wait; only POLLING and CONFIRMING have a task; `listed` is set
in HELD, CONFIRM_QUEUED and CONFIRMING only.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from enum import IntEnum
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TypeAlias

from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.models.limits import LAST_POLL, TIMER_SLACK
from dashscope_ft_async.policy import Snapshot

Attempt: TypeAlias = Callable[[], Awaitable[Snapshot]]
"""One request for the newest snapshot; raises our errors."""


class Stage(IntEnum):
    """What is being done about a watch. An integer, since the hash of other enums is slow."""

    ASLEEP = 0
    QUEUED = 1
    POLLING = 2
    SWEEPING = 3
    CONFIRM_QUEUED = 4
    HELD = 5
    CONFIRMING = 6
    ENDED = 7


TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    Stage.ASLEEP: frozenset({Stage.QUEUED, Stage.SWEEPING, Stage.CONFIRM_QUEUED, Stage.HELD, Stage.ENDED}),
    Stage.QUEUED: frozenset(
        {Stage.POLLING, Stage.SWEEPING, Stage.CONFIRM_QUEUED, Stage.HELD, Stage.ASLEEP, Stage.ENDED}
    ),
    Stage.POLLING: frozenset({Stage.ASLEEP, Stage.ENDED}),
    Stage.SWEEPING: frozenset({Stage.QUEUED, Stage.CONFIRM_QUEUED, Stage.HELD, Stage.ASLEEP, Stage.ENDED}),
    Stage.CONFIRM_QUEUED: frozenset({Stage.CONFIRMING, Stage.HELD, Stage.ASLEEP, Stage.ENDED}),
    Stage.HELD: frozenset({Stage.CONFIRM_QUEUED, Stage.ASLEEP, Stage.ENDED}),
    Stage.CONFIRMING: frozenset({Stage.ASLEEP, Stage.ENDED}),
    Stage.ENDED: frozenset(),
}


class Watch:
    """One job, or something else that is polled, and all waits for it. They share its polls."""

    __slots__ = (
        "_limits",
        "absent",
        "asleep_since",
        "attempt",
        "due",
        "entry",
        "key",
        "last",
        "last_poll_at",
        "list_from",
        "listed",
        "mark",
        "own_get_at",
        "own_get_spread",
        "rank",
        "seen_at",
        "stage",
        "started",
        "task",
        "waits",
        "wake",
    )

    def __init__(self, key: Hashable, attempt: Attempt | None, now: float, spread: float) -> None:
        self.key = key
        """The job id, or another key for what is no job."""
        self.attempt = attempt
        """How it is polled; `None` for a job, which the runner gets and which list pages may show."""
        self.waits: list[Wait] = []
        self._limits: list[tuple[float, int, Wait]] | None = None
        self.stage = Stage.ASLEEP
        self.started = now
        """When the oldest wait for it began, in its earlier processes too."""
        self.asleep_since = now
        """When the sleep until `due` began."""
        self.due = float("inf")
        """When the next poll is due: the earliest of its waits' times, perhaps `inf`."""
        self.entry = 0
        """Number of its live heap entry, 0 for none. Its other entries are stale."""
        self.wake = 0.0
        """Time of the live heap entry."""
        self.task: asyncio.Task[None] | None = None
        self.last: Snapshot | None = None
        """The newest snapshot."""
        self.seen_at = float("-inf")
        """When the request that brought `last` was sent."""
        self.last_poll_at = float("-inf")
        """When the last poll at a deadline was sent."""
        self.own_get_at = now
        """When its last GET was sent."""
        self.own_get_spread = spread
        """0.5 to 1: the share of the longest time between two GETs that this watch uses. Different shares
        keep jobs that began together from being fetched together."""
        self.listed: FineTuneJob | None = None
        """The terminal row that awaits its confirmation."""
        self.mark: object = None
        """The raw values of the last row, to recognise an unchanged one."""
        self.rank: int | None = None
        """Its place in the list when a page showed it last, counted from 0 (`list_planner.best_plan`)."""
        self.absent = 0
        """How often in a row it was on no page."""
        self.list_from = float("-inf")
        """It is not looked for in the list before this time."""

    def add(self, wait: Wait) -> None:
        """Take a wait in."""
        wait.index = len(self.waits)
        self.waits.append(wait)
        if len(self.waits) == 2 or (self._limits is None and len(self.waits) > 1):
            self._limits = [(each.limit, each.index, each) for each in self.waits if each.limit is not None]
            heapify(self._limits)
        elif self._limits is not None:
            self.note_limit(wait)

    def remove(self, wait: Wait) -> None:
        """Let a wait go, in constant time."""
        last = self.waits.pop()
        if last is not wait:
            self.waits[wait.index] = last
            last.index = wait.index
        wait.index = -1

    def note_limit(self, wait: Wait) -> None:
        """Record that the limit of a wait is new."""
        if self._limits is not None and wait.limit is not None:
            heappush(self._limits, (wait.limit, id(wait), wait))

    def next_limit(self) -> float | None:
        """The earliest limit of its waits."""
        limits = self._limits
        if limits is None:
            return self.waits[0].limit if self.waits else None
        while limits and (limits[0][2].index < 0 or limits[0][2].limit != limits[0][0]):
            heappop(limits)
        return limits[0][0] if limits else None

    def pop_expired(self, until: float) -> list[Wait]:
        """The waits whose limit is not after `until`."""
        if self._limits is None:
            return [wait for wait in self.waits if wait.limit is not None and wait.limit <= until]
        expired: list[Wait] = []
        while (limit := self.next_limit()) is not None and limit <= until:
            expired.append(heappop(self._limits)[2])
        return expired


class WatchTable:
    """All watches of a client: by key, by stage, and by the time of their next wake-up."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, Watch] = {}
        self.queued: OrderedDict[Watch, None] = OrderedDict()
        self.to_confirm: OrderedDict[Watch, None] = OrderedDict()
        self.held: OrderedDict[Watch, None] = OrderedDict()
        self.sweeping: OrderedDict[Watch, None] = OrderedDict()
        self._members: list[OrderedDict[Watch, None] | None] = [None] * len(Stage)
        self._members[Stage.QUEUED] = self.queued
        self._members[Stage.CONFIRM_QUEUED] = self.to_confirm
        self._members[Stage.HELD] = self.held
        self._members[Stage.SWEEPING] = self.sweeping
        self._heap: list[tuple[float, int, Watch]] = []
        self._entries = 0
        self.added = 0
        """Watches added since this was last set to 0."""

    @property
    def entries(self) -> int:
        """Entries of the heap, stale ones included."""
        return len(self._heap)

    def move(self, watch: Watch, to: Stage) -> None:
        """Change the stage of a watch.

        Raises:
            ValueError: the transition is not one of `TRANSITIONS`, which is a bug.
        """
        stage = watch.stage
        if to not in TRANSITIONS[stage]:
            raise ValueError(f"a watch cannot go from {stage.name} to {to.name}")
        left, entered = self._members[stage], self._members[to]
        if left is not None:
            left.pop(watch, None)
        if entered is not None:
            entered[watch] = None
        watch.stage = to

    def add(self, watch: Watch) -> Watch:
        """Take a new watch in."""
        self.by_key[watch.key] = watch
        self.added += 1
        return watch

    def forget(self, watch: Watch) -> None:
        """Drop a watch that nobody waits for."""
        self.move(watch, Stage.ENDED)
        watch.entry = 0
        if self.by_key.get(watch.key) is watch:
            del self.by_key[watch.key]

    def clear(self) -> None:
        """Drop everything."""
        self.by_key.clear()
        self._heap.clear()
        for members in (self.queued, self.to_confirm, self.held, self.sweeping):
            members.clear()

    def next_request(self) -> Watch | None:
        """The watch whose GET goes out next, moved to POLLING or CONFIRMING: confirmations first, then the
        oldest due."""
        if self.to_confirm:
            watch = next(iter(self.to_confirm))
            self.move(watch, Stage.CONFIRMING)
        elif self.queued:
            watch = next(iter(self.queued))
            self.move(watch, Stage.POLLING)
        else:
            return None
        return watch

    def sort_queue(self) -> None:
        """Put the queued watches in the order in which they became due.

        A watch that only wakes up is the last one due, and stands at the end already. One that a sweep did
        not show has been due for longer than those that were queued meanwhile.
        """
        for watch in sorted(self.queued, key=attrgetter("due")):
            self.queued.move_to_end(watch)

    def sleep(self, watch: Watch, now: float) -> None:
        """Let a watch sleep until the earliest of its waits is due."""
        if watch.stage is not Stage.ASLEEP:
            self.move(watch, Stage.ASLEEP)
        watch.asleep_since = now
        waits = watch.waits
        watch.due = waits[0].due if len(waits) == 1 else min(wait.due for wait in waits)
        self.plan(watch)

    def plan(self, watch: Watch) -> None:
        """Wake a watch when it is due or at the next limit of its waits, whichever is first."""
        limit = watch.next_limit()
        if watch.stage is Stage.ASLEEP:
            self.wake_at(watch, watch.due if limit is None else min(limit, watch.due))
        elif limit is not None:
            self.wake_at(watch, limit)

    def wake_at(self, watch: Watch, when: float) -> None:
        """Give a watch a heap entry for `when`; its earlier entry becomes stale."""
        if watch.entry and watch.wake == when:
            return
        self._entries += 1
        watch.entry, watch.wake = self._entries, when
        heappush(self._heap, (when, watch.entry, watch))
        # Stale entries are dropped at the top of the heap; if there are too many, all at once.
        if len(self._heap) > 2 * len(self.by_key) + 64:
            self._heap = [item for item in self._heap if item[2].entry == item[1]]
            heapify(self._heap)

    def grant_last_poll(self, watch: Watch, wait: Wait, now: float) -> bool:
        """Make a last poll for a wait whose deadline cuts its sleep short; say whether one is made.

        The waits of a job share it: none is made within `LAST_POLL` seconds after another, and one that is
        in flight serves those whose deadlines come meanwhile.
        """
        in_flight = watch.stage in (Stage.POLLING, Stage.CONFIRMING)
        cuts_sleep = not in_flight or wait.due > now + TIMER_SLACK or wait.limit == wait.began
        was_made = now - watch.last_poll_at < LAST_POLL and watch.own_get_at >= watch.last_poll_at
        if wait.last_poll or was_made or not cuts_sleep:
            return False
        wait.last_poll = True
        wait.limit = now + LAST_POLL
        watch.note_limit(wait)
        if in_flight:
            return True
        watch.last_poll_at = now
        if watch.stage in (Stage.ASLEEP, Stage.SWEEPING):
            watch.due = min(watch.due, now)
            self.move(watch, Stage.QUEUED)
        elif watch.stage is Stage.HELD:
            self.move(watch, Stage.CONFIRM_QUEUED)
        return True

    def time_to_next_poll(self, key: Hashable, now: float) -> float | None:
        """Seconds until a watch is due, 0 unless it is asleep; `None` if there is no such watch."""
        watch = self.by_key.get(key)
        if watch is None:
            return None
        if watch.stage is not Stage.ASLEEP:
            return 0.0
        limit = watch.next_limit()
        return max(0.0, (watch.due if limit is None else min(watch.due, limit)) - now)

    def next_wake(self) -> float | None:
        """When the first watch wakes up."""
        heap = self._heap
        while heap and heap[0][2].entry != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else None

    def wake(self, now: float) -> list[tuple[Watch, list[Wait]]]:
        """Queue the watches that are due. Return those that have waits whose limit has come, with these."""
        until = now + TIMER_SLACK
        expired: list[tuple[Watch, list[Wait]]] = []
        heap = self._heap
        while heap and heap[0][0] <= until:
            _, entry, watch = heappop(heap)
            if watch.entry != entry:
                continue
            watch.entry = 0
            if watch.stage is Stage.ASLEEP and watch.due <= until:
                self.move(watch, Stage.QUEUED)
            if waits := watch.pop_expired(until):
                expired.append((watch, waits))
            else:
                self.plan(watch)
        return expired
