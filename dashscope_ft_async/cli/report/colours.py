"""The colours of a report. After Okabe and Ito: told apart by people who see colours differently."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from dashscope_ft_async.cli.report.facts import ANSWERED, FAILED, NO_ANSWER, THROTTLED
from dashscope_ft_async.cli.report.timeline import Phase
from dashscope_ft_async.models import JobStatus

SERIES = 7
"""So many lines can be told apart by their colours."""


@attrs.frozen
class Palette:
    """A colour for each name below; any CSS colour."""

    colours: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.colours[name]

    @property
    def series(self) -> list[str]:
        """For lines of their own."""
        return [self[f"series-{number}"] for number in range(1, SERIES + 1)]


LIGHT = Palette(
    {
        "paper": "#ffffff",
        "panel": "#f6f7f9",
        "ink": "#1b1f24",
        "muted": "#5b6570",
        "line": "#d9dde3",
        "queued": "#b9c0c9",
        "undivided": "#8fa9c0",
        "running": "#0072b2",
        "canceling": "#a6791a",
        "other": "#a5689b",
        "succeeded": "#00805d",
        "failed": "#c8450a",
        "canceled": "#b07d00",
        "answered": "#8fb3cf",
        "throttled": "#e69f00",
        "faulty": "#c8450a",
        "silent": "#7a3e86",
        "series-1": "#0072b2",
        "series-2": "#c8450a",
        "series-3": "#00805d",
        "series-4": "#a05a92",
        "series-5": "#b07d00",
        "series-6": "#3b93c4",
        "series-7": "#5b6570",
    }
)
DARK = Palette(
    {
        "paper": "#14171b",
        "panel": "#1d2126",
        "ink": "#e6e9ed",
        "muted": "#a0a9b4",
        "line": "#363c44",
        "queued": "#5d6672",
        "undivided": "#4d6f8f",
        "running": "#4aa8e0",
        "canceling": "#c79a3a",
        "other": "#cf95c4",
        "succeeded": "#2fc497",
        "failed": "#ff7d45",
        "canceled": "#f0b429",
        "answered": "#3f6b8c",
        "throttled": "#f0b429",
        "faulty": "#ff7d45",
        "silent": "#c58ad2",
        "series-1": "#4aa8e0",
        "series-2": "#ff7d45",
        "series-3": "#2fc497",
        "series-4": "#e09ad0",
        "series-5": "#f0b429",
        "series-6": "#8fd0f5",
        "series-7": "#a0a9b4",
    }
)
PAGE = Palette({name: f"var(--{name})" for name in LIGHT.colours})
"""For a picture within the page: it follows the page's colours without being drawn again."""
THEMES = {"light": LIGHT, "dark": DARK}

OF_PHASE = {
    Phase.QUEUED: "queued",
    Phase.UNDIVIDED: "undivided",
    Phase.RUNNING: "running",
    Phase.CANCELING: "canceling",
    Phase.OTHER: "other",
}
OF_STATUS = {
    JobStatus.SUCCEEDED.value: "succeeded",
    JobStatus.FAILED.value: "failed",
    JobStatus.CANCELED.value: "canceled",
    JobStatus.RUNNING.value: "running",
    JobStatus.CANCELING.value: "canceling",
    JobStatus.PENDING.value: "muted",
    JobStatus.QUEUING.value: "muted",
}
"""Statuses that are not here are ``other``."""
OF_GROUP = {ANSWERED: "answered", THROTTLED: "throttled", FAILED: "faulty", NO_ANSWER: "silent"}
SHAPE_OF = {
    JobStatus.SUCCEEDED.value: "circle",
    JobStatus.FAILED.value: "cross",
    JobStatus.CANCELED.value: "square",
}
"""Ends that are not here are a ``diamond``."""
