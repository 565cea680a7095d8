"""Pure: what is known of the account's list of jobs, and which of its pages are worth asking for.

A page is worth its request where it will show at least ten jobs that are due; and only while the list
can be trusted: not refused, not stale, not dearer than it looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from dashscope_ft_async.errors import APIError
from dashscope_ft_async.models import FineTuneJob, JobStatus
from dashscope_ft_async.policy import is_transient

PAGE_SIZE = 100
WORTH = 10
"""Due jobs that a page must be expected to show."""
_REFUSED_FOR = 3600.0
_TROUBLED_FOR = 30.0
_UNLISTED_FOR = 60.0
_LONGEST = 3600.0
_MOST_ENDS = 1000

_ORDER = {
    JobStatus.PENDING: 0,
    JobStatus.QUEUING: 1,
    JobStatus.RUNNING: 2,
    JobStatus.CANCELING: 3,
}


def is_backward(listed: FineTuneJob, known: FineTuneJob | None) -> bool:
    """Whether the list tells an earlier part of a job's life than is known already."""
    if known is None or listed.is_terminal:
        return False
    return _ORDER.get(listed.status, 9) < _ORDER.get(known.status, -1)


def unlisted_for(times: int) -> float:
    """Seconds for which a job that was absent `times` times running is not looked for in the list."""
    return min(_LONGEST, _UNLISTED_FOR * 2.0 ** (times - 1))


class Roster:
    """The list's size and credit. Times are seconds on the caller's one clock.

    `given_up` is told the reason, each time the list loses its credit for longer than before.
    """

    def __init__(self, given_up: Callable[[str], None]) -> None:
        self._given_up = given_up
        self._size = PAGE_SIZE
        self._total: int | None = None
        self._ends: dict[str, float] = {}
        self._agreed: dict[str, object] = {}
        self._troubles = 0
        self.off_until = float("-inf")
        """The list is not asked before this time."""

    def learned(self, page_size: int, total: int | None) -> None:
        """A page came, and said how long the list is."""
        self._size, self._total = max(1, page_size), total
        self._troubles = 0

    @property
    def last_page(self) -> int:
        """Number of the last page, as far as is known; at least 1."""
        return max(1, -(-(self._total or 0) // self._size))

    def worth(self, ranks: Iterable[int | None], asked: Collection[int] = ()) -> list[int]:
        """The pages to ask for, beside those `asked` already, where due jobs were last seen at these
        ranks (`None`: never)."""
        places = list(ranks)
        if self._total is None:
            return [1] if len(places) >= WORTH and not asked else []
        count = Counter(rank // self._size + 1 for rank in places if rank is not None)
        last = self.last_page
        # Those never seen are on none of the pages asked already.
        elsewhere = places.count(None) / max(1, last - len(asked))
        candidates = range(1, last + 1) if elsewhere >= WORTH else sorted(count)
        return [
            page
            for page in candidates
            if page <= last and page not in asked and count[page] + elsewhere >= WORTH
        ]

    def failed(self, error: APIError, now: float) -> None:
        """The list did not answer: do without it for a while; for long, where it was refused."""
        if is_transient(error):
            self._troubles += 1
            pause = min(_LONGEST, _TROUBLED_FOR * 2.0 ** (self._troubles - 1))
        else:
            pause = _REFUSED_FOR
        self._turn_off(now + pause, f"{type(error).__name__}: {error}")

    def ended(self, job_id: str, now: float) -> None:
        """Remember an end, to hold the list against it."""
        self._ends[job_id] = now
        if len(self._ends) > _MOST_ENDS:
            oldest = next(iter(self._ends))
            del self._ends[oldest]
            self._agreed.pop(oldest, None)

    def may_contradict(self, job_id: str, mark: object, began: float) -> bool:
        """Whether a page asked for at `began` should have known the end of this job, and its row with
        this mark has not been read yet."""
        return self._ends.get(job_id, float("inf")) < began and self._agreed.get(job_id) != mark

    def agreed(self, job_id: str, mark: object) -> None:
        """The row with this mark shows the job as ended."""
        self._agreed[job_id] = mark

    def distrust(self, job_id: str) -> None:
        """The list contradicted the job's own answer: for this client it is given up."""
        self._turn_off(float("inf"), f"it contradicts what the service says of job {job_id} itself")

    def _turn_off(self, until: float, reason: str) -> None:
        if until > self.off_until:
            self.off_until = until
            self._given_up(reason)
