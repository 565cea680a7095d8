"""The log of a job, and the figures in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["LogPage", "TrainingMetric"]

_COMPLETE = "##FT_COMPLETE##"


def is_completion_line(line: str) -> bool:
    """Whether the service ends a log with this line. A line or two may still follow it."""
    return line.rstrip().endswith(_COMPLETE)


@attrs.frozen(kw_only=True)
class LogPage:
    """A part of a job's log (``GET /fine-tunes/{job_id}/logs``)."""

    lines: tuple[str, ...] = ()
    """The lines as the service sent them."""
    total: int | None = None
    """How many lines the log has, where the service says it. It may lag."""
    request_id: str | None = None
    """Id of the answer."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name."""

    @property
    def is_complete(self) -> bool:
        """Whether the line that ends a log (``##FT_COMPLETE##``) is among these."""
        return any(map(is_completion_line, self.lines))


@attrs.frozen(kw_only=True)
class TrainingMetric:
    """Figures that one line of a log carries. What the line does not say is `None`."""

    line: str
    """The line itself."""
    step: int | None = None
    """Training steps done so far."""
    max_steps: int | None = None
    """Training steps in all."""
    epoch: float | None = None
    """Passes over the training data so far."""
    loss: float | None = None
    """Training loss at this step."""
    train_loss: float | None = None
    """Training loss averaged over the whole run; the trainer's summary at the end."""
    eval_loss: float | None = None
    """Loss on the validation data."""
    learning_rate: float | None = None
    """Learning rate of this step."""
    values: Mapping[str, float] = attrs.field(factory=dict[str, float], hash=False)
    """Every number on the line under the name it has there, those above included."""
