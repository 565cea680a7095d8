"""The cursor of a log against a service whose paging is only half known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dashscope_ft_async._engine.log_position import PAGE_LINES, Tail


class Log:
    """The service: offsets skip lines (base 0) or count from 1; pages and totals as bad as allowed."""

    def __init__(
        self,
        lines: Sequence[str] = (),
        *,
        base: int = 0,
        first: str = "clamped",
        cap: int = PAGE_LINES,
        total: str = "right",
    ) -> None:
        self.lines = list(lines)
        self.base = base
        self.first = first
        self.cap = cap
        self.total = total

    def answer(self, offset: int) -> tuple[list[str], int | None]:
        start = offset - self.base
        if start < 0:
            start = 0 if self.first == "clamped" else len(self.lines)
        total = {"right": len(self.lines), "absent": None, "lagging": len(self.lines) // 2}[self.total]
        return self.lines[start : start + min(self.cap, PAGE_LINES)], total


def drained(tail: Tail, log: Log, most: int = 200) -> list[str]:
    """What a reader gets who asks until an answer shows the end."""
    got: list[str] = []
    for _ in range(most):
        new = tail.take(*log.answer(tail.offset))
        got += new
        if not new and tail.settled:
            return got
    raise AssertionError("the end was never seen")


def told_apart(lines: Sequence[str], cap: int) -> bool:
    """Whether the first page can tell how offsets count (see the module's own words)."""
    return len(lines) <= cap or len(set(lines[:cap])) > 1


LINES = st.lists(st.sampled_from(["", "a", "b", " Uploaded checkpoint!"]), max_size=12)


@settings(max_examples=400)
@given(
    base=st.sampled_from([0, 1]),
    first=st.sampled_from(["clamped", "empty"]),
    cap=st.sampled_from([2, 3, 5, PAGE_LINES]),
    total=st.sampled_from(["right", "absent", "lagging"]),
    looks=st.lists(
        st.tuples(LINES, st.sampled_from(["look", "unanswered", "drain", "restart"])), max_size=8
    ),
)
def test_every_line_once_and_in_order_whatever_the_service_does(
    base: int, first: str, cap: int, total: str, looks: list[tuple[list[str], str]]
) -> None:
    everything = [line for lines, _ in looks for line in lines]
    assume(told_apart(everything, cap))
    log, tail, got = Log(base=base, first=first, cap=cap, total=total), Tail(), list[str]()
    for lines, event in looks:
        log.lines += lines
        match event:
            case "look":
                got += tail.take(*log.answer(tail.offset))
            case "unanswered":
                assert tail.offset == tail.offset
            case "drain":
                got += drained(tail, log)
            case _:
                tail = Tail(after=len(got))

    got += drained(tail, log)

    assert got == log.lines


@given(cap=st.sampled_from([2, 3, 7]), lines=LINES, total=st.sampled_from(["right", "absent"]))
def test_where_nothing_tells_the_services_page_is_believed(cap: int, lines: list[str], total: str) -> None:
    same = ["same"] * cap

    log = Log([*same, *same, *lines, "end"], cap=cap, total=total)

    assert drained(Tail(), log) == log.lines


@given(
    base=st.sampled_from([0, 1]),
    seen=st.integers(2, 120),
    dropped=st.integers(0, 120),
    more=st.integers(0, 40),
    cap=st.sampled_from([7, PAGE_LINES]),
)
def test_a_log_cut_at_its_front_goes_on_where_it_was(
    base: int, seen: int, dropped: int, more: int, cap: int
) -> None:
    dropped = min(dropped, seen - 1)
    log, tail = Log([f"line {n}" for n in range(seen)], base=base, cap=cap), Tail()
    drained(tail, log)
    rest = [f"line {n}" for n in range(seen, seen + more)]
    log.lines = log.lines[dropped:] + rest

    assert drained(tail, log) == rest


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("length", [1, 3, 60, 200])
def test_a_log_begun_anew_is_given_from_its_start(base: int, length: int) -> None:
    log, tail = Log([f"first run {n}" for n in range(60)], base=base), Tail()
    drained(tail, log)
    log.lines = [f"second run {n}" for n in range(length)]

    assert drained(tail, log) == log.lines


def test_a_log_begun_anew_before_it_was_known_how_offsets_count() -> None:
    log, tail = Log(["same", "same"]), Tail()
    drained(tail, log)
    log.lines = ["other"]

    assert drained(tail, log) == ["other"]


@pytest.mark.parametrize("behind", [1, 30, 200])
@pytest.mark.parametrize("base", [0, 1])
def test_a_copy_that_lags_repeats_nothing(base: int, behind: int) -> None:
    lines = [f"line {n}" for n in range(300)]
    log, tail = Log(lines, base=base), Tail()
    drained(tail, log)

    lagging = Log(lines[:-behind], base=base)
    assert drained(tail, lagging) == []
    assert tail.count == 300

    log.lines.append("new")
    assert drained(tail, log) == ["new"]


@pytest.mark.parametrize("base", [0, 1])
def test_a_look_at_a_quiet_log_is_one_request_and_one_line(base: int) -> None:
    log, tail = Log(["a", "b", "c"], base=base), Tail()
    drained(tail, log)

    page, total = log.answer(tail.offset)

    assert page == ["c"]
    assert tail.take(page, total) == []
    assert tail.settled


def test_a_service_that_ignores_offsets_repeats_nothing() -> None:
    tail, log = Tail(), Log(["a", "b", "c"])
    got: list[str] = []
    for n in range(20):
        got += tail.take(*log.answer(0))
        log.lines += [f"line {n}"] if n % 3 == 0 and n < 15 else []

    assert got == log.lines


def test_a_service_that_stops_heeding_offsets_is_not_asked_for_ever() -> None:
    tail, log = Tail(), Log(["a", "b", "c"])
    drained(tail, log)
    log.lines = ["x", "y"]

    got = [line for _ in range(50) for line in tail.take(*log.answer(0))]

    assert got[:2] == ["x", "y"]
    assert len(got) < 10


def test_a_long_log_is_read_in_whole_pages() -> None:
    log, tail = Log([f"line {n}" for n in range(5500)]), Tail()
    asked = 0
    got: list[str] = []
    while tail.more:
        got += tail.take(*log.answer(tail.offset))
        asked += 1

    assert got == log.lines
    assert asked <= 8
