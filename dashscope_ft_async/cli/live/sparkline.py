"""Curves drawn with characters: pure."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
"""In place of blocks, for a terminal that has none. Of one line only: they do not stand on each other."""
_MOST = 512


class Curve:
    """A curve of any length in bounded memory: where it is long, neighbours give way to their mean."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._stride = 1
        self._pending: list[float] = []
        self._points: list[float] = []

    def add(self, value: float) -> None:
        """Go on with a finite number."""
        self._pending.append(value)
        if len(self._pending) < self._stride:
            return
        self._points.append(mean(self._pending))
        self._pending.clear()
        if len(self._points) >= self._most:
            self._points = [mean(self._points[at : at + 2]) for at in range(0, len(self._points), 2)]
            self._stride *= 2

    @property
    def points(self) -> Sequence[float]:
        """What is left of it, the newest value included."""
        return [*self._points, mean(self._pending)] if self._pending else self._points


def mean(values: Sequence[float]) -> float:
    """Of finite numbers, a finite one."""
    return sum(value / len(values) for value in values)


def squeezed(values: Sequence[float], width: int) -> Sequence[float]:
    """At most `width` values; where there were more, means of neighbours."""
    number = len(values)
    if number <= width:
        return values
    return [mean(values[at * number // width : (at + 1) * number // width]) for at in range(width)]


def bars(values: Sequence[float], width: int, height: int = 1, levels: str = BLOCKS) -> list[str]:
    """`height` lines of at most `width` characters, from the lowest value to the highest."""
    drawn = squeezed(values, width) if width > 0 else ()
    if not drawn:
        return [""] * height
    low, top = min(drawn), len(levels) * height - 1
    # Halved, or the distance of two finite numbers might be none.
    span = max(drawn) / 2 - low / 2
    heights = [1 + round((value / 2 - low / 2) / span * top) if span else 1 for value in drawn]
    lines: list[str] = []
    for line in reversed(range(height)):
        full = [min(len(levels), each - line * len(levels)) for each in heights]
        lines.append("".join(levels[level - 1] if level > 0 else " " for level in full))
    return lines
