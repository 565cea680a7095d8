"""Curves drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
"""For encodings without block characters. Curves of several lines cannot be drawn with them."""
_MOST = 512


class Curve:
    """A curve in bounded memory: when it gets long, pairs of points are replaced by their mean."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._stride = 1
        self._pending: list[float] = []
        self._points: list[float] = []

    def add(self, value: float) -> None:
        """Add a point, a finite number."""
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
        """The points, the newest value included."""
        return [*self._points, mean(self._pending)] if self._pending else self._points


def mean(values: Sequence[float]) -> float:
    """Return the mean, which is finite if all values are."""
    return sum(value / len(values) for value in values)


def squeezed(values: Sequence[float], width: int) -> Sequence[float]:
    """Return at most `width` values; if there are more, means of neighbours."""
    number = len(values)
    if number <= width:
        return values
    return [mean(values[at * number // width : (at + 1) * number // width]) for at in range(width)]


def bars(values: Sequence[float], width: int, height: int = 1, levels: str = BLOCKS) -> list[str]:
    """Return `height` lines of at most `width` characters, scaled from the lowest to the highest value."""
    drawn = squeezed(values, width) if width > 0 else ()
    if not drawn:
        return [""] * height
    low, top = min(drawn), len(levels) * height - 1
    # Halved first, because the difference of two finite numbers may be infinite.
    span = max(drawn) / 2 - low / 2
    heights = [1 + round((value / 2 - low / 2) / span * top) if span else 1 for value in drawn]
    lines: list[str] = []
    for line in reversed(range(height)):
        full = [min(len(levels), each - line * len(levels)) for each in heights]
        lines.append("".join(levels[level - 1] if level > 0 else " " for level in full))
    return lines
