"""Position of a reader in a job's log: what to request next, and which lines of an answer are new.

Pure: no I/O, no clock. `LogPosition` describes the states and rules.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum
from typing import Final

PAGE_LINES: Final = 1000
"""Lines of one page; the service's documented maximum."""
_OVERLAP: Final = 8
"""Known lines that each request repeats. Progress bars rewrite fewer lines than this."""
_LOOK_BACK_FACTOR: Final = 8
"""Each look back repeats so many times the known lines of the request before it."""
_CERTAIN: Final = 3
"""Known lines in a row at the start of a page that prove its place. Fewer, such as empty lines, may match
by accident."""
_CONTEXT: Final = 500
"""Lines read again before `after`, to recognise a log that is cut at its front later."""
_MOST_UNFIT: Final = 16
"""Answers in a row that fit nowhere before the next request waits for the regular pace."""
_SMALL_PAGE: Final = 1_000_000
"""Characters. After a full page below this size, twice as many lines are requested."""
_REDUCTION: Final = 4
"""Factor by which the lines of a request are reduced after an answer that was too large."""


class State(Enum):
    """What the next answer will show."""

    FIRST_PAGE = "the log from its first line; it is not known how offsets count"
    PROBE = "a place where two neighbouring lines differ, which tells how offsets count"
    BEHIND = "what follows the known lines, which are all equal or none, so that PROBE is not possible"
    FOLLOW = "the last known lines and what follows them"
    LOOK_BACK = "more known lines, because the answer before did not fit to the known ones"


class LogPosition:
    """A position in a log. Request `lines` lines from `offset`, `take` the answer, repeat.

    A request whose answer never came is repeated unchanged. The position keeps a hash of each known line,
    8 bytes a line.

    How offsets count. The service's page says that ``offset`` is the number of lines to skip, its SDK
    counts lines from 1. FIRST_PAGE reads from offset 0, which is the first line in both cases. Where
    two neighbouring lines differ, PROBE asks for the offset of the second one: the answer begins with the
    second line if offsets skip lines, with the first line if they count from 1. A log of equal lines is
    read from its start until a line differs, with a look behind the known lines (BEHIND) if its length
    is not certain. If such a log is longer than its first page, offsets are taken to skip lines.

    What an answer means. FOLLOW repeats the last known lines. Where a page begins with known lines:

    - A line that differs from the known one was rewritten. It is new; unchanged lines around it are not.
    - Lines beyond the known ones are new.
    - If it ends before the known lines do, the rest is requested. If that is empty, a replica lags or lines
      were removed; the missing lines stay known.

    Where a page does not begin with known lines, or two answers in a row are empty, LOOK_BACK repeats eight
    times as many known lines, until a page fits or begins at the start of the log. If the page begins with
    lines that are known from a later place, the log was cut at its front, and the position moves with it.
    If nothing matches at the start of the log, it is a new log, and all of its lines are new.
    """

    def __init__(self, after: int = 0) -> None:
        self.offset = 0
        """Offset to request."""
        self.lines = PAGE_LINES
        """Lines to request."""
        self.more = True
        """Whether to request the next page at once: more lines follow, or the state needs another look."""
        self.at_end = False
        """Whether the last answer showed the end of the log as it was then."""
        self._after = after
        self._state = State.FIRST_PAGE
        self._base: int | None = None  # offset of the log's first line
        self._start = 0  # number of the first line that was requested, from 0
        self._continued: int | None = None  # lines of the page before that the request repeats, to continue it
        self._known = array("q")  # hashes of the lines from number `_first` on
        self._first = 0
        self._behind = 0  # lines that BEHIND has just shown
        self._unfit = 0  # answers in a row that were short or fitted nowhere
        self._page_limit = PAGE_LINES  # most lines of a page of this service, as far as known
        self._previous = 0  # lines of the page that the request continues

    @property
    def count(self) -> int:
        """Lines of the log that were passed; a later reader continues with ``after=count``."""
        return max(self._after, self._end)

    @property
    def _end(self) -> int:
        return self._first + len(self._known)

    def ask_for_fewer_lines(self) -> bool:
        """Reduce `lines`, because the answer was too large; `False` if it was one line already."""
        if self.lines == 1:
            return False
        self.lines = max(1, self.lines // _REDUCTION)
        return True

    def take(self, page: Sequence[str], total: int | None) -> list[str]:
        """Return the new lines of the answer, in order; `total` is the length of the log it states."""
        end = self._end
        self.more = False
        match self._state:
            case State.FIRST_PAGE:
                new = self._take_first_page(page, total)
            case State.PROBE:
                new = self._take_probe(page, total)
            case State.BEHIND:
                new = self._take_behind(page, total)
            case State.FOLLOW | State.LOOK_BACK:
                new = self._take_following(page, total)
        full, grown = len(page) >= self.lines, self._end > end
        if grown and (full or (total is not None and total > self._end)):
            self.more = True
        if full and self.lines < PAGE_LINES and sum(map(len, page)) < _SMALL_PAGE:
            self.lines = min(PAGE_LINES, 2 * self.lines)
        self.at_end = not self.more and self._unfit != 1 and (not grown or total == self._end)
        return new

    def _request(self, state: State, start: int, continued: int | None = None) -> None:
        self._state, self._start, self._continued = state, start, continued
        self.offset = start + (self._base or 0)

    # --- it is not known how offsets count --------------------------------------------------------------

    def _take_first_page(self, page: Sequence[str], total: int | None) -> list[str]:
        cut = len(page) >= self.lines or (total is not None and total > len(page))
        length = len(self._known)
        self._align(0, page)
        new = self._merge(0, page)
        grown = len(self._known) > length
        self._unfit = 0 if len(page) >= len(self._known) else self._unfit + 1
        self.more = cut
        if (differing := self._differing_line()) is not None:
            self._request(State.PROBE, differing)
        elif len(self._known) > 1 and cut or (self._known and self._behind > 1 and not grown):
            self._begin_to_follow(0)
        elif self._behind and not grown and (not self._known or cut):
            self._begin_to_follow(1)
        elif page and total == len(page):
            self._request(State.FIRST_PAGE, 0)
        else:
            self.more = not self._behind
            self._request(State.BEHIND, max(1, len(self._known)))
        self._behind = 0
        return new

    def _differing_line(self) -> int | None:
        """Number of a line that differs from the line before it, if possible not one of the last lines."""
        known = self._known
        places = [number for number in range(1, len(known)) if known[number - 1] != known[number]]
        early = [number for number in places if number <= len(known) - _OVERLAP]
        return early[-1] if early else places[0] if places else None

    def _take_probe(self, page: Sequence[str], total: int | None) -> list[str]:
        for base in (0, 1):
            if page and hash(page[0]) == self._known[self._start - base]:
                self._base = base
                self._start -= base
                return self._take_following(page, total)
        self._unfit += 1
        self._request(State.FIRST_PAGE, 0)
        return []

    def _take_behind(self, page: Sequence[str], total: int | None) -> list[str]:
        if page and self._known and hash(page[0]) != self._known[0]:
            self._base = 0
            return self._take_following(page, total)
        self._behind = len(page)
        self.more = bool(page)
        self._request(State.FIRST_PAGE, 0)
        return []

    def _begin_to_follow(self, base: int) -> None:
        self._base = base
        self.more = True
        self._follow()

    # --- it is known ------------------------------------------------------------------------------------

    def _follow(self, end: int | None = None) -> None:
        """Request what follows line `end`, by default the known lines."""
        if self._after - _CONTEXT > self._end:
            self._known, self._first = array("q"), self._after - _CONTEXT
        overlap = max(1, min(_OVERLAP, self.lines // 2, self._page_limit // 2))
        self._request(State.FOLLOW, max(self._first, (self._end if end is None else end) - overlap))

    def _take_following(self, page: Sequence[str], total: int | None) -> list[str]:
        start, end = self._start, self._start + len(page)
        continued = self._continued
        if continued is not None and len(page) > continued:
            self._page_limit = min(self._page_limit, self._previous)
        nothing = len(page) < self.lines and len(page) <= (continued or 0)
        if nothing and end < self._end:
            self._take_none(end)
            return []
        if not self._align(start, page):
            self._look_back()
            return []
        whole = end >= self._end
        new = self._merge(start, page)
        if whole and (new or self._state is State.FOLLOW):
            self._unfit = 0
        if total is not None and total > end and page:
            self._page_limit = min(self._page_limit, len(page))
        ends_here = total == end or nothing
        stated = total is not None and total >= end
        if not whole or not (ends_here or (new and stated)):
            self._continue(end, len(page))
        else:
            self._follow()
        return new

    def _continue(self, end: int, previous: int) -> None:
        """Request at once what follows a page of known lines: perhaps pages are limited to its length."""
        self._previous, continued = previous, min(1, previous - 1)
        self._request(State.FOLLOW, end - continued, continued)
        self.more = True

    def _take_none(self, end: int) -> None:
        """The log ends at line `end` or before it, although more lines are known."""
        if self._continued is not None or end == 0:
            self._unfit += 1
            self._follow(end)
        elif self._unfit or self._state is State.LOOK_BACK:
            self._look_back()
        else:
            self._unfit = 1  # perhaps a replica that lags: repeat the request

    def _look_back(self) -> None:
        self._unfit += 1
        self.more = self._unfit <= _MOST_UNFIT
        if self._start > self._first:
            distance = _LOOK_BACK_FACTOR * (self._end - self._start)
            self._request(State.LOOK_BACK, max(self._first, self._end - distance))
        else:  # nothing before is known
            self._forget()
            self._request(State.LOOK_BACK, 0)

    def _forget(self) -> None:
        self._known, self._first, self._after = array("q"), 0, 0

    # --- comparing --------------------------------------------------------------------------------------

    def _align(self, start: int, page: Sequence[str]) -> bool:
        """Whether it is certain which known lines stand at `start`.

        Where the log was cut at its front or begun anew, the known lines are changed to what stands there.
        """
        known, at, hashes = self._known, start - self._first, _hashes(page)
        matching = _common(known[at : at + len(page)], hashes)
        certain = _CERTAIN if self._continued is None else self._continued
        if matching >= min(certain, len(page), len(known) - at):
            return True
        runs = {
            place: _common(known[place : place + len(page)], hashes)
            for place in range(at + 1, len(known))
            if known[place] == hashes[0]
        }
        place = max(runs, key=runs.__getitem__, default=at)
        run = runs.get(place, 0)
        if run >= _CERTAIN or (start == 0 and run and place + run == len(known)):
            self._first -= place - at
            if self._first < 0:
                del known[: -self._first]
                self._first = 0
            return True
        if start == 0 and not matching:
            self._forget()
        return start == 0

    def _merge(self, start: int, page: Sequence[str]) -> list[str]:
        """Make the lines of a page that begins with line `start` known; return the new ones."""
        at, hashes = start - self._first, _hashes(page)
        before = self._known[at : at + len(page)]
        same = _common(before, hashes)
        self._known[at : at + len(page)] = hashes
        if same == len(before):
            numbers = list(range(same, len(page)))
        else:
            changes = SequenceMatcher(None, before[same:], hashes[same:], autojunk=False).get_opcodes()
            numbers = [same + j for tag, _, _, low, high in changes if tag != "equal" for j in range(low, high)]
        return [page[number] for number in numbers if start + number >= self._after]


def _hashes(lines: Sequence[str]) -> array[int]:
    return array("q", map(hash, lines))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
