"""Curves drawn with characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async.cli.live.sparkline import ASCII, BLOCKS, Curve, bars

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 8, ""),
        ([2.0], 8, "▁"),
        ([1.0, 1.0, 1.0], 8, "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([8.0, 8.0, 1.0, 1.0], 2, "█▁"),
        ([3.0, 1.0], 0, ""),
        ([1e308, -1e308], 8, "█▁"),
    ],
)
def test_a_line_goes_from_the_lowest_value_to_the_highest(
    values: list[float], width: int, drawn: str
) -> None:
    assert bars(values, width) == [drawn]


def test_several_lines_stand_on_each_other() -> None:
    assert bars([0, 0.5, 1], 8, 2) == [" ▁█", "▁██"]


def test_without_blocks_a_line_is_ascii() -> None:
    assert bars(range(8), 8, levels=ASCII) == [ASCII]


@given(st.lists(NUMBERS, max_size=40), st.integers(-1, 20), st.integers(1, 4))
def test_a_drawing_keeps_to_its_room_for_any_numbers(values: list[float], width: int, height: int) -> None:
    lines = bars(values, width, height)
    assert len(lines) == height
    assert {len(line) for line in lines} == {min(len(values), max(0, width))}
    assert set("".join(lines)) <= {*BLOCKS, " "}


@given(st.lists(NUMBERS, min_size=1, max_size=300))
def test_a_long_curve_is_kept_in_little_room_with_its_shape(values: list[float]) -> None:
    curve = Curve(most=16)
    for value in values:
        curve.add(value)
    points = curve.points
    assert 0 < len(points) <= 16
    assert len(points) == len(values) or len(values) >= 16
    margin = max(abs(value) for value in values) * 1e-9
    assert min(values) - margin <= min(points)
    assert max(points) <= max(values) + margin


def test_a_curve_tells_its_newest_value_although_its_neighbours_are_not_there_yet() -> None:
    curve = Curve(most=4)
    for value in (1.0, 1.0, 3.0, 3.0, 9.0):
        curve.add(value)
    assert curve.points == [1.0, 3.0, 9.0]
