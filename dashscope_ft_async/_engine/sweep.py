"""Pure: one pass over list pages, and what their rows say about the jobs that are watched.

The scheduler sends the requests: it asks `Sweeper` for the next page, gives it the pages that arrive, and
gets back what the pages show of the jobs that are watched.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from enum import Enum

import attrs

from dashscope_ft_async._api.wire import Row, ScannedPage
from dashscope_ft_async._engine.list_planner import NOT_FOUND, ListPlanner, unlisted_pause
from dashscope_ft_async._engine.list_trust import (
    ListState,
    ListTrust,
    is_backward,
    longest_time_without_get,
)
from dashscope_ft_async._engine.watch import Stage, Watch, WatchTable
from dashscope_ft_async.errors import APIError, APIResponseValidationError
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.models.limits import PAGE_IS_WORTH, REMEMBERED_ENDS, TIMER_SLACK

_LISTABLE_STAGES = frozenset({Stage.ASLEEP, Stage.QUEUED})
_REQUESTED_ITSELF = frozenset({Stage.POLLING, Stage.CONFIRMING, Stage.CONFIRM_QUEUED, Stage.ENDED})


class Meaning(Enum):
    """What a row means for the waits of a job."""

    PROGRESS = "the job has not ended"
    END = "the job has ended; the row is the answer"
    UNCONFIRMED_END = "the job has ended, says the row; a GET must confirm it"


@attrs.frozen
class Observation:
    """What a page shows of one watched job."""

    watch: Watch
    job: FineTuneJob
    meaning: Meaning


class Sweeper:
    """Plans sweeps and reads their pages, for the watches of one client.

    At most one sweep runs at a time. Its watches are in `Stage.SWEEPING`; those that no page shows are
    polled by GETs of their own.
    """

    def __init__(self, table: WatchTable, *, confirm_all: bool) -> None:
        self._table = table
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

    def is_usable(self, now: float) -> bool:
        """Whether the list may be requested."""
        return self.planner.off_until <= now and self.trust.trust.state is not ListState.GIVEN_UP

    def state(self, now: float) -> tuple[str, str | None]:
        """The state as in `ClientStats.list_state`, and its reason."""
        trust = self.trust
        if trust.trust.state is not ListState.GIVEN_UP and self.planner.off_until > now:
            return "unavailable", self.planner.reason
        return str(trust.trust.state), trust.reason

    def begin(self, now: float) -> None:
        """Begin a sweep for the watches that are due, if pages cost less than GETs.

        Watches that will be due within half of their sleep are taken along. Without this look ahead, jitter
        would leave one job due at each moment.
        """
        members = [watch for watch in self._table.by_key.values() if self._may_be_listed(watch, now)]
        if len(members) < PAGE_IS_WORTH:
            return
        plan = self.planner.plan([watch.rank for watch in members])
        if not plan.pages:
            return
        self.active = True
        self.page_size = plan.page_size
        self._pages.extend(plan.pages)
        self._read.clear()
        self._drift = None
        self._failed = False
        for watch in members:
            self._table.move(watch, Stage.SWEEPING)
            self._table.plan(watch)

    def _may_be_listed(self, watch: Watch, now: float) -> bool:
        sleep = watch.due - watch.asleep_since
        return (
            watch.attempt is None
            and watch.stage in _LISTABLE_STAGES
            and (watch.stage is Stage.QUEUED or watch.due - now <= sleep / 2)
            and watch.list_from <= now
            and now + sleep <= self._get_due_at(watch, now)
            and not any(wait.last_poll or wait.state.without_name for wait in watch.waits)
        )

    def _get_due_at(self, watch: Watch, now: float) -> float:
        """When the job gets a GET of its own at the latest, whatever pages show."""
        longest = longest_time_without_get(self.trust.trust, now - watch.started)
        return watch.own_get_at + longest * watch.own_get_spread

    def has_page(self) -> bool:
        """Whether a page is to be requested."""
        return bool(self._pages)

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
        self.stop()
        return True

    def stop(self) -> None:
        """Forget the sweep under way."""
        self._pages.clear()
        self._in_flight.clear()
        self.active = False

    # --- pages ------------------------------------------------------------------------------------------

    def page_failed(self, page_no: int, error: APIError, now: float, *, throttled: bool) -> None:
        """Record that a page did not come. The rest of the sweep is dropped; the pages read count."""
        self._in_flight.discard(page_no)
        self._pages.clear()
        self._failed = True
        if not throttled:
            self.planner.record_failure(error, now)

    def page_arrived(self, page_no: int, page: ScannedPage, began: float, now: float) -> list[Observation]:
        """What a page that was requested at `began` shows of the watched jobs: progress first, then the
        ends in the order of their `end_time`."""
        self._in_flight.discard(page_no)
        self._read.add(page_no)
        size = self.planner.record_page(page_no, len(page.rows), page.page_size, page.total, now)
        if size != self.page_size:
            self.page_size = size
            self._pages.clear()  # their numbers are those of another size; the rest is planned anew
        progress: list[Observation] = []
        ends: list[Observation] = []
        for place, row in enumerate(page.rows):
            watch = self._table.by_key.get(row.job_id)
            if watch is None:
                self._check_ended(row, began)
                continue
            rank = (page_no - 1) * size + place
            if watch.rank is not None and rank > watch.rank:
                self._drift = rank - watch.rank
            watch.rank = rank
            seen = self._observe(watch, row, began)
            if seen is not None:
                (progress if seen.meaning is Meaning.PROGRESS else ends).append(seen)
        return progress + sorted(ends, key=lambda seen: _sort_key(seen.job.end_time))

    def _observe(self, watch: Watch, row: Row, began: float) -> Observation | None:
        """What a row says about a watched job; `None` if it says nothing that counts."""
        known = watch.last
        if watch.stage in _REQUESTED_ITSELF or watch.seen_at >= began:
            return None  # its own answer is newer, or will be
        mark = row.mark()
        if known is not None and mark == watch.mark:
            watch.absent = 0
            return Observation(watch, known, Meaning.PROGRESS) if isinstance(known, FineTuneJob) else None
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
        if not job.is_terminal:
            watch.mark = mark
            return Observation(watch, job, Meaning.PROGRESS)
        confirm = self.trust.must_confirm(job)
        return Observation(watch, job, Meaning.UNCONFIRMED_END if confirm else Meaning.END)

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
