"""``python -m docs_parts.picture``: draw the house into docs/assets/floors.svg (extra ``bench``).

Who comes by the page sees in one look what stands on what, which rooms are pure, and where each dependency
comes in. The suite holds that the drawing names the rooms as the imports have them.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

from docs_parts import DOCS
from tests.project.test_architecture import DOORS, FLOORS, PURE

PICTURE = DOCS / "assets" / "floors.svg"

# All of them stand out from white and from near-black pages alike; the ground is left to the page.
_INK, _PURE, _OTHER = "#6e7781", "#2f81f7", "#c9822b"
_WIDTH, _HEIGHT, _GAP = 1.75, 0.62, 0.15


def draw(path: Path = PICTURE) -> None:
    """Draw all floors, the highest on top."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    widest = max(len(rooms) for rooms in FLOORS)
    style = {"svg.fonttype": "none", "svg.hashsalt": "floors", "font.size": 10, "text.color": _INK}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(10, 9), layout="constrained")
        for floor, rooms in enumerate(FLOORS):
            axes.axhline(floor - 0.5, color=_INK, linewidth=0.5, alpha=0.4)
            axes.text(-0.35, floor, str(floor), ha="right", va="center", fontsize=9)
            left = (widest - len(rooms)) / 2 * (_WIDTH + _GAP)
            for place, room in enumerate(sorted(rooms, key=lambda name: name.strip("_"))):
                _room(axes, room, left + place * (_WIDTH + _GAP), floor)
        legend = (("no clock, no chance, no network", _PURE), ("may know them", _OTHER))
        for place, (text, colour) in enumerate(legend):
            axes.text(place * 4, len(FLOORS) - 0.2, f"■ {text}", color=colour, va="center")
        axes.set(xlim=(-0.6, widest * (_WIDTH + _GAP)), ylim=(-0.6, len(FLOORS) + 0.1))
        axes.set_axis_off()
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def _room(axes: Any, room: str, left: float, floor: int) -> None:
    patches: Any = import_module("matplotlib.patches")
    colour = _PURE if room in PURE else _OTHER
    low, middle = floor - _HEIGHT / 2, left + _WIDTH / 2
    box = patches.FancyBboxPatch(
        (left, low),
        _WIDTH,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.08",
        edgecolor=colour,
        facecolor="none",
    )
    axes.add_patch(box)
    doors = fill(", ".join(sorted(name for name, rooms in DOORS.items() if room in rooms)), 20)
    raised = 0.12 if doors else 0
    axes.text(middle, floor + raised, room, ha="center", va="center", family="monospace", fontweight="bold")
    if doors:
        axes.text(middle, floor, doors, ha="center", va="top", fontsize=7, style="italic", linespacing=0.95)


if __name__ == "__main__":
    draw()
