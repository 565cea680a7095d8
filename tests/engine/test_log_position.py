"""`LogPosition` against a model of the service: every line once and in order, in few requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dashscope_ft_async._engine.log_position import LogPosition
from dashscope_ft_async.models.limits import LOG_PAGE_LINES


class LogServer:
    """The service. Its variants: `base` is the offset of the first line, `cap` the longest page, `size` the
    most characters of a page, `total` whether the length of the log is stated, and `first` what offset 0
    means if lines count from 1."""

    def __init__(
        self,
        lines: Sequence[str] = (),
        *,
        base: int = 0,
        first: str = "clamped",
        cap: int = LOG_PAGE_LINES,
        total: str = "right",
        size: float = math.inf,
    ) -> None:
        self.lines = list(lines)
        self.base, self.first, self.cap, self.total, self.size = base, first, cap, total, size
        self.requests = 0

    def answer(self, position: LogPosition, lag: int = 0) -> list[str] | None:
        """Answer one request and return the new lines; `None` if the answer is too large."""
        self.requests += 1
        lines = self.lines[: len(self.lines) - lag]
        start = position.offset - self.base
        if start < 0:
            start = 0 if self.first == "clamped" else len(lines)
        page = lines[start : start + min(self.cap, position.lines)]
        if sum(map(len, page)) > self.size:
            assert position.request_fewer_lines()
            return None
        lengths = {"right": len(lines), "absent": None, "late": len(lines) // 2, "too large": 10**6}
        total = lengths[self.total]
        return position.take(page, total)


def drain(position: LogPosition, server: LogServer, lag: int = 0) -> list[str]:
    """What a reader gets that requests pages until an answer without new lines shows the end."""
    got: list[str] = []
    for _ in range(1000):
        new = server.answer(position, lag)
        got += new or []
        if new == [] and position.at_end:
            return got
    raise AssertionError("the end was never reached")


def numbered(*numbers: int) -> list[str]:
    return [f"line {number}" for number in range(*numbers)]


# --- a log that grows -----------------------------------------------------------------------------------

EQUAL_LINES = st.lists(st.sampled_from(["", "a", "b", " Uploaded checkpoint!"]), max_size=12)


@given(
    base=st.sampled_from([0, 1]),
    first=st.sampled_from(["clamped", "empty"]),
    cap=st.sampled_from([2, 3, 5, LOG_PAGE_LINES]),
    total=st.sampled_from(["right", "absent", "late"]),
    looks=st.lists(st.tuples(EQUAL_LINES, st.sampled_from(["look", "drain", "restart"])), max_size=8),
)
def test_a_growing_log_comes_once_and_in_order(
    base: int, first: str, cap: int, total: str, looks: list[tuple[list[str], str]]
) -> None:
    everything = [line for lines, _ in looks for line in lines]
    # If the lines of a limited first page are all equal, nothing tells how offsets count.
    assume(len(everything) <= cap or len(set(everything[:cap])) > 1)
    # Pages that are limited to fewer lines than requested are read by the length that the log states.
    assume(total == "right" or (cap == LOG_PAGE_LINES and first == "clamped"))
    server, position = LogServer(base=base, first=first, cap=cap, total=total), LogPosition()
    got: list[str] = []
    for lines, event in looks:
        server.lines += lines
        match event:
            case "look":
                got += server.answer(position) or []
            case "drain":
                got += drain(position, server)
            case _:
                position = LogPosition(after=len(got))

    assert [*got, *drain(position, server)] == server.lines


@given(cap=st.sampled_from([2, 3, 7]), lines=EQUAL_LINES)
def test_offsets_skip_lines_where_nothing_shows_them(cap: int, lines: list[str]) -> None:
    server = LogServer([*["same"] * (2 * cap), *lines, "end"], cap=cap)

    assert drain(LogPosition(), server) == server.lines


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("after", [0, 3, 1700, 5400])
def test_a_long_log_is_read_in_whole_pages(base: int, after: int) -> None:
    server, position = LogServer(numbered(5500), base=base), LogPosition(after)

    assert drain(position, server) == server.lines[after:]
    assert server.requests <= 8
    assert position.count == 5500


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("length", [0, 1, 3, 60])
def test_a_stated_length_that_is_too_large_costs_few_requests(base: int, length: int) -> None:
    server, position = LogServer(numbered(length), base=base, total="too large"), LogPosition()
    drain(position, server)
    server.requests = 0
    server.lines.append("new")

    assert drain(position, server) == ["new"]
    assert server.requests <= 6


@pytest.mark.parametrize("base", [0, 1])
def test_a_look_at_a_quiet_log_is_one_small_request(base: int) -> None:
    server, position = LogServer(numbered(60), base=base), LogPosition()
    drain(position, server)
    server.requests = 0
    server.cap = 9

    assert drain(position, server) == []
    assert server.requests == 1


@given(
    base=st.sampled_from([0, 1]),
    total=st.sampled_from(["right", "absent"]),
    sizes=st.lists(st.sampled_from([1, 20_000, 300_000, 1_000_000]), min_size=1, max_size=60),
)
def test_pages_that_are_too_large_are_requested_in_parts(base: int, total: str, sizes: list[int]) -> None:
    lines = [f"{number} ".ljust(size, "=") for number, size in enumerate(sizes)]
    server = LogServer(lines, base=base, total=total, size=1_000_000)

    assert drain(LogPosition(), server) == server.lines
    assert server.requests <= 30 + 8 * sum(map(len, lines)) / 1_000_000


def test_after_large_lines_pages_are_whole_again() -> None:
    server = LogServer([*("=" * 16_000 + str(n) for n in range(600)), *numbered(20_000)], size=8_000_000)

    assert drain(LogPosition(), server) == server.lines
    assert server.requests <= 40


# --- a log that changes ---------------------------------------------------------------------------------


class ChangingLog:
    """A log whose lines have an identity. Texts are unique, so that each says which line it is."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int]] = []  # number of the line, version of its text
        self.changed = set[int]()  # lines whose text or place has changed
        self.cut = set[int]()
        self._numbers = 0

    @property
    def texts(self) -> list[str]:
        return [f"{number} v{version}" for number, version in self.lines]

    def grow(self, lines: int, before: int = 0) -> None:
        """Write new lines, above the last `before` ones as a program with progress bars does."""
        place = max(0, len(self.lines) - before)
        self.changed.update(number for number, _ in self.lines[place:])
        self.lines[place:place] = [(self._numbers + n, 0) for n in range(lines)]
        self._numbers += lines

    def rewrite(self, lines: int) -> None:
        kept, last = self.lines[: len(self.lines) - lines], self.lines[-lines:]
        self.lines = kept + [(number, version + 1) for number, version in last]
        self.changed.update(number for number, _ in last)

    def cut_front(self, lines: int) -> None:
        self.cut.update(number for number, _ in self.lines[:lines])
        del self.lines[:lines]


CHANGES = st.one_of(
    st.tuples(st.just("grow"), st.integers(0, 30)),
    st.tuples(st.just("grow above the last line"), st.integers(1, 3)),
    st.tuples(st.just("rewrite"), st.integers(1, 40)),
    st.tuples(st.just("cut"), st.integers(0, 100)),
    st.tuples(st.just("lag"), st.integers(1, 60)),
)


@given(
    base=st.sampled_from([0, 1]),
    cap=st.sampled_from([9, 20, LOG_PAGE_LINES]),
    total=st.sampled_from(["right", "absent"]),
    size=st.sampled_from([60, 400, math.inf]),
    begin=st.integers(3, 100),
    changes=st.lists(st.tuples(CHANGES, st.booleans()), max_size=12),
)
def test_lines_that_stay_come_once_and_changed_lines_once_for_each_change(
    base: int,
    cap: int,
    total: str,
    size: float,
    begin: int,
    changes: list[tuple[tuple[str, int], bool]],
) -> None:
    assume(total == "right" or cap == LOG_PAGE_LINES)
    log, position = ChangingLog(), LogPosition()
    server = LogServer(base=base, cap=cap, total=total, size=size)
    got: list[str] = []
    per_page = min(cap, LOG_PAGE_LINES if size == math.inf else size // 20)

    def read(lag: int = 0) -> None:
        server.lines, server.requests = log.texts, 0
        got.extend(drain(position, server, lag))
        assert server.requests <= 25 + 4 * len(log.lines) / per_page

    log.grow(begin)
    read()
    for (change, lines), look in changes:
        match change:
            case "grow":
                log.grow(lines)
            case "grow above the last line" if per_page == LOG_PAGE_LINES:
                log.grow(lines, before=1)
            case "rewrite":
                log.rewrite(min(lines, len(log.lines) - 3))
            case "cut":
                read()
                log.cut_front(min(lines, len(log.lines) - 3))
                read()
            case _:
                read()
                read(lag=min(lines, len(log.lines)))
        if look:
            read()
    read()

    stayed = [text for text in got if int(text.split()[0]) not in log.changed]
    assert [text for text in log.texts if text in set(stayed)] == [
        text for text in stayed if int(text.split()[0]) not in log.cut
    ]
    assert set(log.texts) <= set(got)
    assert [text for text, times in Counter(got).items() if times > 1] == []


@pytest.mark.parametrize("length", [2, 200, 5000])
@pytest.mark.parametrize("base", [0, 1])
def test_a_rewritten_progress_line_repeats_no_other_line(base: int, length: int) -> None:
    server, position = LogServer([*numbered(length), "step 1/10: lo"], base=base), LogPosition()
    drain(position, server)
    server.requests = 0
    for step in range(10):
        server.lines[length:] = [f"step {step}/10: loss 1.5", "c"]
        new = ["step 0/10: loss 1.5", "c"] if step == 0 else [f"step {step}/10: loss 1.5"]
        assert drain(position, server) == new

    assert server.requests <= 22


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(("before", "length"), [(60, 1), (60, 3), (60, 60), (60, 200), (1700, 1500)])
def test_a_log_begun_anew_is_given_from_its_start(base: int, before: int, length: int) -> None:
    server, position = LogServer(numbered(before), base=base), LogPosition()
    drain(position, server)
    server.lines = [f"second run {n}" for n in range(length)]
    server.requests = 0

    assert drain(position, server) == server.lines
    assert server.requests <= 9


def test_a_log_begun_anew_before_it_was_known_how_offsets_count() -> None:
    server, position = LogServer(["same", "same"]), LogPosition()
    drain(position, server)
    server.lines = ["other"]

    assert drain(position, server) == ["other"]


@pytest.mark.parametrize("behind", [1, 30, 4000])
@pytest.mark.parametrize("after", [0, 4900])
def test_a_replica_that_lags_repeats_nothing(behind: int, after: int) -> None:
    server, position = LogServer(numbered(5000)), LogPosition(after)
    drain(position, server)
    server.requests = 0

    assert drain(position, server, lag=min(behind, 5000 - after)) == []
    assert position.count == 5000
    server.lines.append("new")
    assert drain(position, server) == ["new"]
    assert server.requests <= 15


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("length", [3, 3000])
def test_a_service_that_ignores_offsets_is_not_read_for_ever(stops: bool, length: int) -> None:
    server, position, got = LogServer(numbered(length)), LogPosition(), list[str]()
    if stops:
        got = drain(position, server)
        server.lines = [f"other {n}" for n in range(length)]
    for _ in range(200):
        got += position.take(server.lines[:LOG_PAGE_LINES], length)

    assert len(got) == len(set(got))
