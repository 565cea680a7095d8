"""Pure: one pass over list pages, and what their rows say about the jobs that are watched.

The scheduler sends the requests: it asks `Sweeper` for the next page, gives it the pages that arrive, and
gets back what the pages show of the jobs that are watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

import attrs

from dashscope_ft_async._api.wire import Row, ScannedPage
from dashscope_ft_async._engine.list_planner import NOT_FOUND, ListPlanner, unlisted_pause
from dashscope_ft_async._engine.list_trust import (
    ListState,
    ListTrust,
    Meaning,
    is_backward,
    longest_time_without_get,
)
from dashscope_ft_async._engine.watch import Stage, Watch, WatchTable
from dashscope_ft_async.errors import APIResponseValidationError, RateLimitError
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.models.limits import (
    PAGE_IS_WORTH,
    PAGE_TIMEOUT,
    PAGES_AT_ONCE,
    PLAN_INTERVAL,
    REMEMBERED_ENDS,
    TIMER_SLACK,
)
from dashscope_ft_async.policy import is_transient

_REQUESTED_ITSELF = frozenset(
    {Stage.POLLING, Stage.CONFIRMING, Stage.CONFIRM_QUEUED, Stage.HELD, Stage.ENDED}
)


@attrs.frozen
class Observation:
    """What a page shows of one watched job."""

    watch: Watch
    job: FineTuneJob
    meaning: Meaning


@attrs.frozen
class PageRead:
    """What a page shows of the watched jobs."""

    unchanged: list[Watch]
    """Those whose rows are as they were last time."""
    changed: list[Observation]
    """Progress first, then the ends in the order of their `end_time`."""


class Sweeper:
    """Plans sweeps and reads their pages, for the watches of one client.

    At most one sweep runs at a time. Its watches are in `Stage.SWEEPING`; those that no page shows are
    polled by GETs of their own.
    """

    def __init__(self, table: WatchTable, *, enabled: bool, confirm_all: bool) -> None:
        self._table = table
        self.enabled = enabled
        """Whether list pages are used at all."""
        self._last_state = "unproven" if enabled else "off"
        self._plan_from = float("-inf")
        self.trust = ListTrust(confirm_all=confirm_all)
        self.planner = ListPlanner()
        self._pages: deque[int] = deque()
        self._in_flight: set[int] = set()
        self._read: set[int] = set()
        self._drift: int | None = None
        self._failed = False
        self._ends: dict[str, float] = {}
        self._agreed: dict[str, object] = {}
        self.page_size = 0
        """Page size of the sweep under way."""
        self.active = False
        """Whether a sweep is under way."""

    # --- planning ---------------------------------------------------------------------------------------

    def state(self, now: float) -> tuple[str, str | None]:
        """The state as in `ClientStats.list_state`, and its reason."""
        trust = self.trust
        if not self.enabled:
            return "off", None
        if trust.trust.state is not ListState.GIVEN_UP and self.planner.off_until > now:
            return "unavailable", self.planner.reason
        return str(trust.trust.state), trust.reason

    def changed_state(self, now: float) -> tuple[str, str | None] | None:
        """`state`, if it has changed since the last call."""
        state = self.state(now)
        if state[0] == self._last_state:
            return None
        self._last_state = state[0]
        return state

    def begin(self, now: float) -> bool:
        """Begin a sweep for the watches that are due, if pages cost less than GETs; say whether it began.

        Watches that will be due within half of their sleep are taken along. Without this look ahead, jitter
        would leave one job due at each moment.
        """
        table = self._table
        if not self.enabled or self.active or len(table.by_key) < PAGE_IS_WORTH:
            return False
        if now < self._plan_from and table.added < max(PAGE_IS_WORTH, len(table.by_key) // 10):
            return False
        if self.planner.off_until > now or self.trust.trust.state is ListState.GIVEN_UP:
            return False
        self._plan_from, table.added = now + PLAN_INTERVAL, 0
        members = [watch for watch in self._table.by_key.values() if self._may_be_listed(watch, now)]
        plan = self.planner.plan([watch.rank for watch in members])
        if not plan.pages:
            return False
        self.active = True
        self.page_size = plan.page_size
        self._pages.extend(plan.pages)
        self._read.clear()
        self._drift = None
        self._failed = False
        for watch in members:
            self._table.move(watch, Stage.SWEEPING)
            if not watch.entry:  # else it wakes up for the limit of a wait soon enough
                self._table.plan(watch)
        return True

    def _may_be_listed(self, watch: Watch, now: float) -> bool:
        sleep = watch.due - watch.asleep_since
        if watch.stage is Stage.ASLEEP:
            if watch.due - now > sleep / 2:
                return False
        elif watch.stage is not Stage.QUEUED:
            return False
        if watch.attempt is not None or watch.list_from > now or now + sleep > self._get_due_at(watch, now):
            return False
        # At its deadline, and for a missing model name, a job gets a GET of its own.
        return all(not (wait.last_poll or wait.state.without_name) for wait in watch.waits)

    def _get_due_at(self, watch: Watch, now: float) -> float:
        """When the job gets a GET of its own at the latest, whatever pages show."""
        longest = longest_time_without_get(self.trust.trust, now - watch.started)
        return watch.own_get_at + longest * watch.own_get_spread

    def has_room_for_page(self, window: int) -> bool:
        """Whether a page is to be requested, and `window` allows one more in flight."""
        return bool(self._pages) and len(self._in_flight) < min(PAGES_AT_ONCE, window)

    def next_page(self) -> int:
        """The page to request now."""
        page_no = self._pages.popleft()
        self._in_flight.add(page_no)
        return page_no

    @property
    def in_flight(self) -> int:
        """Pages requested and not answered yet."""
        return len(self._in_flight)

    def finish_or_go_on(self, now: float) -> bool:
        """Plan more pages for the watches that were not found, or end the sweep; say whether it ended."""
        if not self.active or self._pages or self._in_flight:
            return False
        missed = list(self._table.sweeping)
        if self._read and missed and not self._failed:
            plan = self.planner.plan([watch.rank for watch in missed], self._read)
            self.page_size = plan.page_size
            self._pages.extend(plan.pages)
        if self._pages:
            return False
        absent = self.planner.is_whole_list(self._read)
        for watch in missed:
            if absent:
                watch.absent += 1
                watch.list_from = now + unlisted_pause(watch.absent)
            if watch.rank is None or self._drift is None:
                watch.rank = NOT_FOUND
            elif watch.rank // max(1, self.page_size) + 1 in self._read:
                watch.rank += self._drift  # new jobs move all others down by the same number of places
            due = watch.due <= now + TIMER_SLACK
            self._table.move(watch, Stage.QUEUED if due else Stage.ASLEEP)
            self._table.plan(watch)
        self._table.sort_queue()
        self.stop()
        return True

    def stop(self) -> None:
        """Forget the sweep under way."""
        self._pages.clear()
        self._in_flight.clear()
        self.active = False

    # --- pages ------------------------------------------------------------------------------------------

    def page_failed(self, page_no: int, error: Exception, now: float, opens_at: float) -> None:
        """Record that a page did not come. `opens_at` is when the gate of the list opens.

        A page that was throttled for a short time is requested again. Otherwise the rest of the sweep is
        dropped, and its jobs are polled by GETs; the pages read count.
        """
        self._in_flight.discard(page_no)
        throttled = isinstance(error, RateLimitError) and is_transient(error)
        if throttled and opens_at - now <= PAGE_TIMEOUT and not self._failed:
            self._pages.appendleft(page_no)
            return
        self._pages.clear()
        self._failed = True
        if not throttled:
            self.planner.record_failure(error, now)

    def page_arrived(self, page_no: int, page: ScannedPage, began: float, now: float) -> PageRead:
        """What a page that was requested at `began` shows of the watched jobs."""
        self._in_flight.discard(page_no)
        self._read.add(page_no)
        size = self.planner.record_page(page_no, len(page.rows), page.page_size, page.total, now)
        if size != self.page_size:
            self.page_size = size
            self._pages.clear()  # their numbers are those of another size; the rest is planned anew
        unchanged: list[Watch] = []
        progress: list[Observation] = []
        ends: list[tuple[Watch, FineTuneJob]] = []
        for place, row in enumerate(page.rows):
            watch = self._table.by_key.get(row.job_id)
            if watch is None:
                self._check_ended(row, began)
                continue
            rank = (page_no - 1) * size + place
            if watch.rank is not None and rank > watch.rank:
                self._drift = rank - watch.rank
            watch.rank = rank
            if watch.stage in _REQUESTED_ITSELF or watch.seen_at >= began:
                continue  # its own answer is newer, or will be
            mark = row.mark()
            if mark == watch.mark and watch.last is not None:
                watch.absent = 0
                unchanged.append(watch)
            elif (job := self._read_row(watch, row, mark)) is not None:
                if job.is_terminal:
                    ends.append((watch, job))
                else:
                    progress.append(Observation(watch, job, Meaning.PROGRESS))
        ends.sort(key=lambda end: _sort_key(end[1].end_time))
        return PageRead(unchanged, progress + self._judged(ends))

    def _judged(self, ends: Sequence[tuple[Watch, FineTuneJob]]) -> list[Observation]:
        meanings = self.trust.meanings([job for _, job in ends])
        return [Observation(*end, meaning) for end, meaning in zip(ends, meanings, strict=True)]

    def judge_again(self) -> list[Observation]:
        """What the ends mean that await a confirmation, after the trust or the samples have changed."""
        trust = self.trust
        waiting = [
            (watch, watch.listed)
            for watch in self._table.to_confirm
            if watch.listed is not None and watch.key not in trust.samples
        ]
        held = [(watch, watch.listed) for watch in self._table.held if watch.listed is not None]
        if trust.samples:
            return self._judged(waiting)
        return self._judged(waiting) + [
            Observation(watch, job, Meaning.END if trust.is_complete(job) else Meaning.UNCONFIRMED_END)
            for watch, job in held
        ]

    def _read_row(self, watch: Watch, row: Row, mark: object) -> FineTuneJob | None:
        """The job of a row that has changed; `None` if it cannot be read or is behind what is known."""
        known = watch.last
        try:
            job = row.job()
        except APIResponseValidationError:
            return None
        if isinstance(known, FineTuneJob):
            if watch.mark is None and not job.is_terminal:
                self.trust.record_sample(job, known)  # the first row after a GET
            if is_backward(job, known):
                return None
        watch.absent = 0
        if job.is_terminal:
            self._agreed[job.job_id] = mark
        else:
            watch.mark = mark
        return job

    # --- ends that are known ----------------------------------------------------------------------------

    def remember_end(self, job_id: str, now: float) -> None:
        """Remember an end that a GET showed, to compare later pages with it."""
        self._ends[job_id] = now
        if len(self._ends) > REMEMBERED_ENDS:
            oldest = next(iter(self._ends))
            del self._ends[oldest]
            self._agreed.pop(oldest, None)

    def _check_ended(self, row: Row, began: float) -> None:
        """A job that ended before the page was requested must not be shown as running."""
        ended_at = self._ends.get(row.job_id)
        if ended_at is None or ended_at >= began:
            return
        mark = row.mark()
        if self._agreed.get(row.job_id) == mark:
            return
        try:
            job = row.job()
        except APIResponseValidationError:
            return
        if job.is_terminal:
            self._agreed[row.job_id] = mark
        else:
            self.trust.record_disagreement(row.job_id, "status", job.raw_status, "its end")


def _sort_key(end_time: datetime | None) -> str:
    return "" if end_time is None else end_time.replace(tzinfo=None).isoformat()
