"""The texts of the live view about each job, at one moment."""

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


def _queue_positions(state: LiveState) -> Mapping[str, int]:
    return state.tracker.queue_positions()


@attrs.frozen
class LiveState:
    """All that the live view shows."""

    tracker: JobTracker
    health: Health
    losses: Mapping[str, Losses]
    next_poll: Callable[[str], float | None]
    """Seconds until the next poll of a job; `None` if none is planned."""
    now: float
    """On the clock of `Row.since`."""
    queue_positions: Mapping[str, int] = attrs.field(
        init=False, default=attrs.Factory(_queue_positions, takes_self=True)
    )
    """As `JobTracker.queue_positions` returns them."""

    def time(self, row: Row) -> str:
        """Return how long the job has had its status; after its end, how long it took."""
        if row.exit_code is None:
            return elapsed(self.now - row.since)
        duration = None if row.job is None else row.job.duration
        return "" if duration is None else elapsed(duration.total_seconds())

    def tokens(self, row: Row) -> str:
        """Return the number of tokens, if the service tells it."""
        usage = None if row.job is None else row.job.usage
        if usage is None or usage < _MILLION:
            return "" if usage is None else f"{usage:,}"
        tenths = min(usage, _MOST_TOKENS) * 10 // _MILLION
        return f"{tenths // 10}.{tenths % 10}M"

    def loss(self, row: Row) -> str:
        """Return the last loss."""
        losses = self.losses.get(row.job_id)
        return "" if losses is None or losses.last is None else figure(losses.last)

    def points(self, row: Row) -> list[float]:
        """Return all losses."""
        losses = self.losses.get(row.job_id)
        return [] if losses is None else list(losses.curve.points)

    def queue_position(self, row: Row) -> str:
        """Return the position of a queued job in the queue, such as ``2nd of 5``, if it is known."""
        position = self.queue_positions.get(row.job_id)
        return "" if position is None else f"{ordinal(position)} of {len(self.queue_positions)}"

    def next_poll_text(self, row: Row) -> str:
        """Return when the job is polled next."""
        seconds = None if row.exit_code is not None else self.next_poll(row.job_id)
        if seconds is None:
            return ""
        if seconds == 0:
            return "paused" if self.health.state is State.THROTTLED else "now"
        return f"{ceil(seconds)} s"


def figure(value: float) -> str:
    """Return a loss in few characters."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.2e}"


def ordinal(number: int) -> str:
    """Return ``1st`` for 1."""
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else _ORDINALS.get(number % 10, 'th')}"
