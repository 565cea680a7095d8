"""What is logged, under the name ``dashscope_ft_async``: what changed, and signs of life.

Never a line per poll. A change of status is one line; trouble is told at its 1st, 2nd, 4th, 8th … failure
and when it is over; while nothing changes, a heartbeat comes at growing distances.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sized

from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.models.redact import escaped, shown

_LOG = logging.getLogger("dashscope_ft_async")

_FIRST_BEAT = 60.0
_SLOWEST_BEAT = 3600.0
_TROUBLE_IS_OVER = 60.0
_MOST_WORDS = 100
_LONGEST_TEXT = 2500


class Journal:
    """The log of one client. Times are seconds on the caller's one clock."""

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._told_of_rows = False
        self._failures = 0
        self._failed_at = 0.0
        self._failing_since = 0.0
        self._gap = _FIRST_BEAT
        self.beat_at = float("-inf")
        """When the next heartbeat is due."""

    def met(self, job: FineTuneJob) -> None:
        """Warn of a status word nobody knows, once per word."""
        word = job.raw_status
        if job.status is not JobStatus.UNRECOGNIZED or word in self._words:
            return
        if len(self._words) < _MOST_WORDS:
            self._words.add(word)
            _LOG.warning(
                "job %s has the status %s, which this version does not know; it is taken as %s",
                job.job_id,
                shown(repr(word), 80),
                "ended" if job.is_terminal else "not ended",
            )

    def listed(self, page: JobPage) -> None:
        """Warn of rows that were left out of a page, once."""
        left_out: Sized = page.extra.get("jobs", ())
        if left_out and not self._told_of_rows:
            self._told_of_rows = True
            _LOG.warning(
                "%d of %d rows of the list cannot be read as jobs and are left out; JobPage.extra has them",
                len(left_out),
                len(left_out) + len(page.jobs),
            )

    def answered(
        self, job: FineTuneJob, before: FineTuneJob | None, now: float, started: float, polls: int
    ) -> None:
        """Tell a change of status, a new word, and the end of trouble."""
        if before is None or before.raw_status != job.raw_status:
            was = "first seen" if before is None else escaped(before.raw_status)
            age = now - started
            _LOG.info(
                "job %s: %s -> %s after %.0f s, %d polls",
                job.job_id,
                was,
                escaped(job.raw_status),
                age,
                polls,
            )
            self.met(job)
        if self._failures and now - self._failed_at >= _TROUBLE_IS_OVER:
            _LOG.info(
                "polls are good again: %d had failed over %.0f s",
                self._failures,
                self._failed_at - self._failing_since,
            )
            self._failures = 0

    def failed(self, job_id: str, error: BaseException, now: float, *, held: float) -> None:
        """Tell a failed poll, unless enough was told of this trouble; `held` seconds no poll goes out."""
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        self._failed_at = now
        if self._failures & (self._failures - 1) == 0:
            hold = f"; polls are held for {held:.1f} s" if held > 0 else ""
            _LOG.warning(
                "poll of job %s failed (%d since %.0f s): %s: %s%s",
                job_id,
                self._failures,
                now - self._failing_since,
                type(error).__name__,
                shown(str(error), _LONGEST_TEXT),
                hold,
            )

    def list_given_up(self, reason: str) -> None:
        """Tell that pages of the list are not asked for, for a while or for good."""
        _LOG.info("jobs are asked for one by one instead of by the list: %s", reason)

    def start(self, now: float) -> None:
        """The first of a set of waits began."""
        self._gap = _FIRST_BEAT
        self.beat_at = now + self._gap

    def beat(self, last_jobs: Iterable[FineTuneJob | None], now: float) -> None:
        """A sign of life; the next one comes after twice the time, at most an hour."""
        count = Counter("not seen yet" if job is None else job.raw_status for job in last_jobs)
        told = ", ".join(f"{number} {escaped(status, 40)}" for status, number in count.most_common(8))
        _LOG.info("still waiting for %d jobs: %s", count.total(), told)
        self._gap = min(_SLOWEST_BEAT, 2 * self._gap)
        self.beat_at = now + self._gap
