"""Pure: where a reader of a job's log is, what to ask for next, and which lines of an answer are new.

``GET /fine-tunes/{job_id}/logs`` pages by ``offset``, and the sources differ about it: the service's page
counts lines to skip, its SDK counts from 1. So it is found out: where two neighbouring lines differ, the
answer to the offset between them begins with the second if offsets skip, with the first if they count
from 1. Until such a pair was seen the log is read from its start. Only where a first page that is cut
short is one and the same line all over do the two look alike; then the service's page is believed.

Each further question overlaps what is known by one line, so a log that was cut at its front or begun
anew is noticed. It is then read once more from its start, and goes on behind the lines known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

PAGE_LINES = 1000
"""Lines to ask for at once; the service's most."""
_REMEMBERED = 50
"""Lines by which a log that was cut is recognised."""
_ABSENCES = 2
"""Answers in a row without the line that is known; a single one may come from a copy that lags."""


class Tail:
    """A place in a log. `take` the answer to `offset`, and give out what it returns.

    A question whose answer never came is simply asked again. Where lines are counted from: the start.
    """

    def __init__(self, after: int = 0) -> None:
        self.count = after
        """Lines that were passed."""
        self.offset = 0
        """What to ask for next."""
        self.more = True
        """Whether the next answer is likely to bring more at once."""
        self._base: int | None = None
        """Offset of the log's first line, once known."""
        self._read: Callable[[list[str], bool], list[str]] = self._read_head
        self._head: list[str] = []
        self._peeked = 0
        """Lines that an answer from behind the head has just shown."""
        self._known: deque[str] = deque(maxlen=_REMEMBERED)
        """The lines just before `count`."""
        self._absences = 0
        self._scan: list[str] = []

    @property
    def settled(self) -> bool:
        """Whether the last answer showed the end of the log as it is known."""
        return not self.more and not self._absences

    def take(self, page: Sequence[str], total: int | None) -> list[str]:
        """The new lines in the answer to `offset`, in order; `total` is how many it says there are."""
        full = len(page) >= PAGE_LINES
        self.more = False
        new = self._read(list(page), full or (total is not None and total > len(page) and not self.offset))
        if new:
            self.more = full or (total is not None and total > self.count)
        return new

    def _ask(self, offset: int, read: Callable[[list[str], bool], list[str]], *, now: bool) -> None:
        self.offset, self._read, self.more = offset, read, now

    def _ask_on(self, *, now: bool = False) -> None:
        """Go on from `count`, with one line that is known."""
        self._ask(max(0, self.count - 1) + (self._base or 0), self._read_on, now=now)

    def _passed(self, start: int, page: list[str]) -> list[str]:
        """What lies beyond `count` in a page that begins with line `start`; takes note of it."""
        if not start <= self.count <= start + len(page):
            return []
        new = page[self.count - start :]
        self._known.extend(new if self._known else page)
        self.count += len(new)
        return new

    # --- while it is not known how offsets count ----------------------------------------------------

    def _read_head(self, page: list[str], cut: bool) -> list[str]:
        """An answer from the start of the log."""
        common = min(len(page), len(self._head))
        if page[:common] != self._head[:common]:
            self.count, self._head = 0, []  # another log
        grown = len(page) > len(self._head)
        self._head = page if grown else self._head
        new = self._passed(0, page)
        turn = max((i for i in range(1, len(self._head)) if self._head[i - 1] != self._head[i]), default=0)
        if turn:
            self._ask(turn, self._read_probe, now=not new)
        elif self._peeked and not grown and (cut or self._peeked > 1 or not self._head):
            self._base = 0 if self._head else 1
            self._ask_on(now=True)
        else:
            self._ask(max(1, len(self._head)), self._read_peek, now=not self._peeked)
        self._peeked = 0
        return new

    def _read_probe(self, page: list[str], _: bool) -> list[str]:
        """An answer from between two different lines."""
        turn = self.offset
        for base in (0, 1):
            if page and page[0] == self._head[turn - base]:
                self._base = base
                new = self._passed(turn - base, page)
                self._ask_on(now=not new)
                return new
        self._ask(0, self._read_head, now=False)
        return []

    def _read_peek(self, page: list[str], _: bool) -> list[str]:
        """An answer from behind the known lines, which are all alike or none."""
        self._peeked = len(page)
        if page and self._head and page[0] != self._head[0]:
            self._base = 0
            new = self._passed(len(self._head), page)
            self._ask_on(now=not new)
            return new
        self._ask(0, self._read_head, now=bool(page))
        return []

    # --- afterwards ---------------------------------------------------------------------------------

    def _read_on(self, page: list[str], _: bool) -> list[str]:
        """An answer that should begin with the last line known."""
        start = self.offset - (self._base or 0)
        if start < self.count:
            if not page:
                self._absences += 1
                if self._absences >= _ABSENCES:
                    self._look_again()
                return []
            if self._known and page[0] != self._known[-1]:
                self._look_again()
                return []
        self._absences = 0
        new = self._passed(start, page)
        self._ask_on()
        return new

    def _look_again(self) -> None:
        self._scan = []
        self._ask(self._base or 0, self._read_again, now=True)

    def _read_again(self, page: list[str], _: bool) -> list[str]:
        """A part of the log, which is being read anew; behind its end it is known where to go on."""
        if page and page != self._scan[-len(page) :]:  # or offsets are not heeded, and it has no end
            self._scan += page
            self._ask(len(self._scan) + (self._base or 0), self._read_again, now=True)
            return []
        scan, self._scan, self._absences = self._scan, [], 0
        behind = _behind(list(self._known), scan)
        if behind is None:
            common = min(len(self._head), len(scan))
            if scan[:common] == self._head[:common]:
                behind = self.count  # the same log, from a copy that lags far behind
        if behind is not None and behind == self.count > len(scan):
            self._ask_on()
            return []
        new = scan[behind:] if behind is not None else scan
        self.count, self._head = len(scan), scan[:_REMEMBERED]
        self._known.extend(new)
        self._ask_on()
        return new


def _behind(known: list[str], log: list[str]) -> int | None:
    """The place in `log` behind the `known` lines, which may reach over either end; `None`: not in it.

    Where they fit in several places, the one that shares most with the log is meant.
    """
    best: tuple[int, int] | None = None
    for start in range(1 - len(known), len(log)):
        first, last = max(0, start), min(len(log), start + len(known))
        if last - first > (best or (0,))[0] and log[first:last] == known[first - start : last - start]:
            best = (last - first, start + len(known))
    return None if best is None else best[1]
