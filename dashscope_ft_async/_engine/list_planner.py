"""Pure: which list pages to request for the jobs that are due, and when the list cannot be used.

Requests are what the service limits, so a plan has the fewest requests first and the fewest rows second. A
page replaces the GETs of the due jobs on it by one request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import attrs

from dashscope_ft_async.errors import APIError
from dashscope_ft_async.models.limits import (
    LIST_REFUSED_PAUSE,
    LIST_TROUBLE_PAUSE,
    LONGEST_LIST_PAUSE,
    PAGE_IS_WORTH,
    PAGE_SIZES,
    UNLISTED_PAUSE,
)
from dashscope_ft_async.policy import is_transient

NOT_FOUND = -1
"""Rank of a job that was looked for on pages and not found."""
_MANY = 200
"""Due jobs from which on only the largest pages are considered: smaller ones could hardly cost less."""


@attrs.frozen
class Plan:
    """Pages of one size to request; none if single GETs cost less."""

    page_size: int
    pages: tuple[int, ...] = ()
    """Numbers of the pages, counted from 1."""


def unlisted_pause(times: int) -> float:
    """Seconds for which a job that was on no page `times` times in a row is not looked for in the list."""
    return min(LONGEST_LIST_PAUSE, UNLISTED_PAUSE * 2.0 ** (times - 1))


def best_plan(
    ranks: Sequence[int | None],
    total: int | None,
    sizes: Collection[int],
    read: Collection[int] = (),
    read_before: Collection[int] = (),
) -> Plan:
    """The pages worth requesting for due jobs that were last seen at these ranks.

    A rank is `None` for a job that was not looked for yet, and `NOT_FOUND` for one that was on none of the
    pages read so far. `total` is the length of the list, and `sizes` are the page sizes to choose from.
    `read` has the numbers of the pages that this sweep has read, `read_before` those of any sweep; with
    either of them, `sizes` has one size.
    """
    largest = max(sizes)
    if total is None:
        worth = len(ranks) >= PAGE_IS_WORTH and not read
        return Plan(largest, (1,) if worth else ())
    known = [rank for rank in ranks if rank is not None and 0 <= rank < total]
    not_found = ranks.count(NOT_FOUND)
    new = len(ranks) - len(known) - not_found
    best, best_cost = Plan(largest), (float(len(ranks)), 0)
    for size in (largest,) if len(ranks) >= _MANY else sizes:
        last_page = -(-total // size)
        # A new job may be on any page that this sweep has not read, one not found only on unread pages.
        on_any = new / max(1, last_page - len(read))
        on_unread = not_found / max(1, last_page - len(read_before))
        counts = Counter(rank // size + 1 for rank in known)
        everywhere = on_any + on_unread >= PAGE_IS_WORTH
        expected = {
            page: counts[page] + on_any + (0 if page in read_before else on_unread)
            for page in (range(1, last_page + 1) if everywhere else sorted(counts))
            if page not in read
        }
        pages = tuple(page for page, jobs in expected.items() if jobs >= PAGE_IS_WORTH)
        singles = len(ranks) - sum(expected[page] for page in pages)
        cost = (len(pages) + singles, len(pages) * size)
        if cost < best_cost:
            best, best_cost = Plan(size, pages), cost
    return best


class ListPlanner:
    """What is known about the list: its length, the page sizes it serves, and when it may be requested."""

    def __init__(self) -> None:
        self._total: int | None = None
        self._served_size: int | None = None
        self._troubles = 0
        self._read_at: dict[int, float] = {}
        self._page_size = PAGE_SIZES[-1]
        self.off_until = float("-inf")
        """No page is requested before this time."""
        self.reason: str | None = None
        """Why not."""

    def plan(self, ranks: Sequence[int | None], read: Collection[int] = ()) -> Plan:
        """The pages to request, those first that were read longest ago; `read` as in `best_plan`."""
        sizes: Collection[int] = PAGE_SIZES
        if read or NOT_FOUND in ranks:
            sizes = (self._page_size,)
        elif self._served_size is not None:
            sizes = (self._served_size,)
        plan = best_plan(ranks, self._total, sizes, read, self._read_at)
        if plan.page_size != self._page_size:
            self._page_size = plan.page_size
            self._read_at.clear()
        # A sweep that failed half way is followed by one that begins where it stopped.
        stalest = sorted(plan.pages, key=lambda page: self._read_at.get(page, float("-inf")))
        return Plan(plan.page_size, tuple(stalest))

    def is_whole_list(self, read: Collection[int]) -> bool:
        """Whether the pages read are all that there are."""
        return self._total is not None and len(read) >= max(1, -(-self._total // self._page_size))

    def record_page(self, page_no: int, rows: int, echoed_size: int, total: int | None, now: float) -> int:
        """Record a page that was requested in the planned size; returns the size that it really had."""
        size = self._page_size
        if echoed_size < size:
            size = echoed_size
        expected = size if total is None else min(size, total - (page_no - 1) * size)
        if rows > size or (total is not None and 0 < rows < expected):
            size = rows  # the service serves another size than it says
        self._total, self._troubles = total, 0
        self.reason = None
        if size != self._page_size:
            self._served_size = self._page_size = size
            self._read_at.clear()
        self._read_at[page_no] = now
        return size

    def record_failure(self, error: Exception, now: float) -> None:
        """Record that the list did not answer: it is not used for a time, for long if it was refused."""
        if is_transient(error) or not isinstance(error, APIError):
            self._troubles += 1
            pause = min(LONGEST_LIST_PAUSE, LIST_TROUBLE_PAUSE * 2.0 ** (self._troubles - 1))
        else:
            pause = LIST_REFUSED_PAUSE
        self.off_until = max(self.off_until, now + pause)
        self.reason = f"{type(error).__name__}: {error}"
