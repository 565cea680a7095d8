"""What all charts share: where they are to be, and their axes of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from dashscope_ft_async.cli.report.colours import PAGE, Palette

Spec = dict[str, Any]

FONT = "system-ui, 'Noto Sans', 'DejaVu Sans', 'Noto Sans CJK SC', sans-serif"
WIDTH = 860
"""Of a picture that is not in the page, in CSS pixels."""
MOST_NAMED = 40
"""Of more jobs than this, no chart tells each by its looks."""
_CLOCK = {
    "year": "%Y",
    "quarter": "%Y-%m",
    "month": "%Y-%m",
    "week": "%m-%d",
    "date": "%m-%d",
    "day": "%m-%d",
    "hours": "%H:%M",
    "minutes": "%H:%M",
    "seconds": "%H:%M:%S",
    "milliseconds": "%H:%M:%S",
}


@attrs.frozen
class Style:
    """Where a chart is to be."""

    palette: Palette = PAGE
    width: int | str = "container"
    hover: bool = False
    """Whether somebody can point at it."""

    def size(self) -> Spec:
        """The width, and what gives way to it."""
        return {"width": self.width, "autosize": {"type": "fit-x", "contains": "padding"}}

    def config(self) -> Spec:
        """Vega-Lite's configuration: ours from the paper to the axes."""
        ink, muted, line = self.palette["ink"], self.palette["muted"], self.palette["line"]
        text = {"labelColor": muted, "titleColor": muted, "titleFontWeight": "normal"}
        return {
            "font": FONT,
            "background": None if self.palette is PAGE else self.palette["paper"],
            "view": {"stroke": None},
            "axis": {
                **text,
                "gridColor": line,
                "domainColor": line,
                "tickColor": line,
                "labelFontSize": 11,
            },
            "axisY": {"domain": False, "ticks": False, "labelPadding": 8, "labelLimit": 230},
            "legend": {**text, "orient": "top", "title": None, "labelFontSize": 12, "labelLimit": 220},
            "title": {
                "color": ink,
                "subtitleColor": muted,
                "anchor": "start",
                "frame": "group",
                "fontSize": 15,
                "offset": 12,
                "subtitlePadding": 5,
            },
        }


def time_axis(clock: str, times: Sequence[int]) -> Spec:
    """An axis of the `times` on this clock."""
    return {
        "type": "temporal",
        "scale": {"type": "utc"},  # the clock on the wall, wherever it is looked at
        "title": f"{clock}{_days(min(times), max(times))}",
        "axis": {
            "format": _CLOCK,
            "tickCount": {"signal": "max(2, floor(width / 110))"},
            "labelOverlap": True,
        },
    }


def _days(*times: int) -> str:
    days = [f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}" for at in times]
    return f", {days[0]}" if days[0] == days[1] else f", {days[0]} to {days[1]}"


def tooltip(style: Style) -> Spec:
    """What is told on pointing at a mark: the ``tip`` of its datum."""
    # What is nearest stands one level deeper than what is under the pointer.
    return {"tooltip": {"value": {"expr": "(datum.datum || datum).tip"}}} if style.hover else {}


def utc_of(at: datetime) -> int:
    """Milliseconds; of a time without a zone, as if it were UTC."""
    return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
