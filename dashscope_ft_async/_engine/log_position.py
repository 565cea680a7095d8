"""Position of a reader in a job's log: what to request next, and which lines of an answer are new.

Pure: no I/O and no clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum
from typing import Final

from dashscope_ft_async.models.limits import LOG_PAGE_LINES

_OVERLAP: Final = 8
"""Known lines that each request repeats. Progress bars rewrite fewer lines than this."""
_LOOK_BACK: Final = 8
"""A look back repeats this many times the known lines of the request before it."""
_CERTAIN: Final = 3
"""Known lines in a row that prove the place of a page. Fewer, such as empty lines, may be a coincidence."""
_CONTEXT: Final = 500
"""Lines before `after` that are read, to recognise later that the log was cut at its front."""
_MOST_UNFIT: Final = 16
"""Answers in a row that did not fit. The next request then waits for the regular pace."""
_SMALL_PAGE: Final = 1_000_000
"""Characters of a page. After a full page with fewer, twice as many lines are requested."""


class State(Enum):
    """What the next answer shows."""

    FIRST_PAGE = "the log from its first line, while it is not known how offsets count"
    PROBE = "the log from a line that differs from the line before it, which tells how offsets count"
    FOLLOW = "the last known lines, and what follows them"
    LOOK_BACK = "more known lines, because the previous answer did not fit the known ones"


class LogPosition:
    """A position in a log. Request `lines` lines from `offset`, `take` the answer, repeat.

    A request whose answer never came is repeated unchanged. A hash of each known line is kept: 8 bytes.

    **How offsets count.** The service's page says that ``offset`` is the number of lines to skip; its SDK
    counts lines from 1. FIRST_PAGE requests offset 0, which is the first line in both cases, or is empty if
    lines count from 1. Where two neighbouring lines differ, PROBE requests the offset of the second one:
    the answer begins with it if offsets skip lines, with the first one if lines count from 1. While all
    lines are equal the log is read from its start. If they fill a page, offsets are taken to skip lines.

    **What an answer means.** FOLLOW repeats the last known lines. A page that begins with known lines fits:

    - A line that differs from the known one was rewritten, and is new. Unchanged lines around it are not.
    - Lines after the known ones are new.
    - If the log ends before the known lines do, a replica lags or lines were removed. They stay known.

    If a page does not fit, or two answers in a row are empty, LOOK_BACK requests from further back, until a
    page fits or begins at the start of the log. If the page begins with lines known from a later place, the
    log was cut at its front, and the position moves with it. If nothing matches at the start of the log,
    it is a new log, and all its lines are new.
    """

    def __init__(self, after: int = 0) -> None:
        self.offset = 0
        """Offset to request."""
        self.lines = LOG_PAGE_LINES
        """Lines to request."""
        self.more = True
        """Whether to request the next page at once."""
        self.at_end = False
        """Whether the last answer showed the end of the log as it was then."""
        self._after = after
        self._state = State.FIRST_PAGE
        self._base: int | None = None  # offset of the log's first line
        self._begins_at_1 = False  # whether offset 1 brought lines when offset 0 had brought none
        self._start = 0  # number of the first requested line, from 0
        self._continues = False  # whether the request continues a page that fitted
        self._known = array("q")  # hashes of the lines from number `_first` on
        self._first = 0
        self._unfit = 0  # answers in a row that did not fit, or showed fewer lines than known
        self._page_limit = LOG_PAGE_LINES  # the longest page of this service, as far as known

    @property
    def count(self) -> int:
        """Lines of the log that were passed; a later reader continues with ``after=count``."""
        return max(self._after, self._end)

    @property
    def _end(self) -> int:
        return self._first + len(self._known)

    def request_fewer_lines(self) -> bool:
        """Reduce `lines` after an answer that was too large. `False`: it was one line already."""
        reducible = self.lines > 1
        self.lines = max(1, self.lines // 4)
        return reducible

    def take(self, page: Sequence[str], total: int | None) -> list[str]:
        """Return the new lines of the answer, in order; `total` is the length of the log that it states."""
        before = self._end
        self.more = False
        match self._state:
            case State.FIRST_PAGE:
                new = self._take_first_page(page, total)
            case State.PROBE:
                new = self._take_probe(page, total)
            case State.FOLLOW | State.LOOK_BACK:
                new = self._take_known(page, total)
        grown = self._end > before
        if len(page) >= self.lines and sum(map(len, page)) < _SMALL_PAGE:
            self.lines = min(LOG_PAGE_LINES, 2 * self.lines)
        self.at_end = not self.more and self._unfit != 1 and (not grown or total == self._end)
        return new

    def _request(self, state: State, start: int, *, continues: bool = False) -> None:
        self._state, self._start, self._continues = state, start, continues
        self.offset = start + (self._base or 0)

    def _ends_with(self, page: Sequence[str], total: int | None) -> bool:
        """Whether the log ends with this page. A stated length that is too small is ignored: it may lag."""
        end = self._start + len(page)
        stated = total is not None and total >= end
        return not page or (total == end if stated else len(page) < self.lines)

    # --- it is not known how offsets count --------------------------------------------------------------

    def _take_first_page(self, page: Sequence[str], total: int | None) -> list[str]:
        ends_here = self._ends_with(page, total)
        if not page and total and not self._known:
            self._unfit += 1
            if self._begins_at_1:
                self._base, self.more = 1, True
                self._request(State.FOLLOW, 0)
            else:
                self._request(State.PROBE, 1)
            return []
        self._align(page)
        before, new = self._end, self._merge(page)
        if len(page) < self._end:
            self._unfit += 1
        elif self._end > before:
            self._unfit = 0
        self.more = not ends_here
        if (number := self._differing_line()) is not None:
            self._request(State.PROBE, number)
        elif not ends_here and self._end == 1:
            self._request(State.PROBE, 1)
        elif not ends_here:
            self._base = 0
            self._follow(self._end)
        return new

    def _differing_line(self) -> int | None:
        """Number of a line that differs from the one before it; not one of the last, which may change."""
        known = self._known
        numbers = [number for number in range(1, len(known)) if known[number - 1] != known[number]]
        early = [number for number in numbers if number <= len(known) - _OVERLAP]
        return early[-1] if early else numbers[0] if numbers else None

    def _take_probe(self, page: Sequence[str], total: int | None) -> list[str]:
        first, known = _hashes(page[:1]), self._known
        if not known:
            self._begins_at_1, self.more = bool(page), True
            self._request(State.FIRST_PAGE, 0)
            return []
        if first == known[self._start - 1 : self._start]:
            self._base = 1
            self._start -= 1
        elif first and first == (known[self._start : self._start + 1] or first):
            self._base = 0
        else:
            self._unfit += 1
            self._request(State.FIRST_PAGE, 0)
            return []
        return self._take_known(page, total)

    # --- it is known ------------------------------------------------------------------------------------

    def _follow(self, end: int) -> None:
        """Request what follows line `end`."""
        if self._after - _CONTEXT > self._end:
            self._known, self._first = array("q"), self._after - _CONTEXT
        overlap = max(1, min(_OVERLAP, self.lines // 2, self._page_limit // 2))
        self._request(State.FOLLOW, max(self._first, end - overlap))

    def _take_known(self, page: Sequence[str], total: int | None) -> list[str]:
        before, end = self._end, self._start + len(page)
        if not page and 0 < self._start < before:
            if self._unfit or self._state is State.LOOK_BACK:
                self._look_back()
            else:
                self._unfit = 1  # perhaps a replica that lags: repeat the request
            return []
        if not self._align(page):
            self._look_back()
            return []
        before, ends_here = self._end, self._ends_with(page, total)
        new = self._merge(page)
        # A few new lines do not count: a log that is written all the time would be read without a pause.
        self.more = not ends_here and (len(page) >= self.lines or end - before >= _OVERLAP)
        if not ends_here and len(page) < self.lines:
            self._page_limit = min(self._page_limit, len(page))
        if ends_here and end < before:
            self._unfit += 1
            self._follow(end)
        elif end < before or not (new or ends_here):
            # The last line is repeated, to notice if the log is changed meanwhile.
            self._request(State.FOLLOW, end - 1 if len(page) > 1 else end, continues=True)
            self.more = True
        else:
            self._unfit = 0 if new or self._state is State.FOLLOW else self._unfit
            self._follow(self._end)
        return new

    def _look_back(self) -> None:
        self._unfit += 1
        self.more = self._unfit <= _MOST_UNFIT
        start = max(self._first, self._end - _LOOK_BACK * (self._end - self._start))
        if self._start == self._first:  # no line before is known
            self._forget()
            start = 0
        self._request(State.LOOK_BACK, start)

    def _forget(self) -> None:
        self._known, self._first, self._after = array("q"), 0, 0

    # --- comparing --------------------------------------------------------------------------------------

    def _align(self, page: Sequence[str]) -> bool:
        """Whether the place of a page is certain. Moves the known lines if the log was cut or is new."""
        known, at, hashes = self._known, self._start - self._first, _hashes(page)
        matching = _common(known[at : at + len(page)], hashes)
        if matching >= min(1 if self._continues else _CERTAIN, len(page), len(known) - at):
            return True
        runs = {
            place: _common(known[place : place + len(page)], hashes)
            for place in range(at + 1, len(known))
            if known[place] == hashes[0]
        }
        place = max(runs, key=runs.__getitem__, default=at)
        run = runs.get(place, 0)
        if run >= _CERTAIN or (self._start == 0 and run and place + run == len(known)):
            self._first -= place - at
            if self._first < 0:
                del known[: -self._first]
                self._first = 0
            return True
        if self._start == 0 and not matching:
            self._forget()
        return self._start == 0

    def _merge(self, page: Sequence[str]) -> list[str]:
        """Make the lines of a page known and return the new ones."""
        at, hashes = self._start - self._first, _hashes(page)
        before = self._known[at : at + len(page)]
        same = _common(before, hashes)
        self._known[at : at + len(page)] = hashes
        changes = SequenceMatcher(None, before[same:], hashes[same:], autojunk=False).get_opcodes()
        numbers = [
            same + number
            for tag, _, _, low, high in changes
            if tag != "equal"
            for number in range(low, high)
        ]
        return [page[number] for number in numbers if self._start + number >= self._after]


def _hashes(lines: Sequence[str]) -> array[int]:
    return array("q", map(hash, lines))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
