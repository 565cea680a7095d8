"""What the live view tells about a job, as short texts: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import attrs

from dashscope_ft_async.cli.live.health import Health, State
from dashscope_ft_async.cli.live.losses import Losses
from dashscope_ft_async.cli.terminal import elapsed
from dashscope_ft_async.cli.tracker import JobTracker, Row

_MILLION = 10**6
_MOST_TOKENS = 10**12
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


def _places(facts: LiveState) -> Mapping[str, int]:
    return facts.tracker.queue_positions()


@attrs.frozen
class LiveState:
    """All there is to tell, at one moment."""

    tracker: JobTracker
    health: Health
    losses: Mapping[str, Losses]
    next_poll: Callable[[str], float | None]
    """Seconds until a job is looked at again."""
    now: float
    """On the clock of `Row.since`."""
    places: Mapping[str, int] = attrs.field(init=False, default=attrs.Factory(_places, takes_self=True))
    """As `JobTracker.places`."""

    def time(self, row: Row) -> str:
        """How long it has been in its status; of a job that has ended, how long it took."""
        if row.exit_code is None:
            return elapsed(self.now - row.since)
        duration = None if row.job is None else row.job.duration
        return "" if duration is None else elapsed(duration.total_seconds())

    def tokens(self, row: Row) -> str:
        """How many it was trained on, so far as told."""
        usage = None if row.job is None else row.job.usage
        if usage is None or usage < _MILLION:
            return "" if usage is None else f"{usage:,}"
        tenths = min(usage, _MOST_TOKENS) * 10 // _MILLION
        return f"{tenths // 10}.{tenths % 10}M"

    def loss(self, row: Row) -> str:
        """The last one."""
        losses = self.losses.get(row.job_id)
        return "" if losses is None or losses.last is None else figure(losses.last)

    def points(self, row: Row) -> list[float]:
        """The losses so far."""
        losses = self.losses.get(row.job_id)
        return [] if losses is None else list(losses.curve.points)

    def place(self, row: Row) -> str:
        """Its place in the line of jobs that wait to be trained, where that is known."""
        place = self.places.get(row.job_id)
        return "" if place is None else f"{ordinal(place)} of {len(self.places)}"

    def next(self, row: Row) -> str:
        """When it is looked at again."""
        seconds = None if row.exit_code is not None else self.next_poll(row.job_id)
        if seconds is None:
            return ""
        if seconds == 0:
            return "held" if self.health.state is State.THROTTLED else "now"
        return f"{ceil(seconds)} s"


def figure(value: float) -> str:
    """A loss in few characters."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.2e}"


def ordinal(number: int) -> str:
    """``1st``."""
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else _ORDINALS.get(number % 10, 'th')}"
