"""Checkpoints of a job, and the validation samples that were made with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from dashscope_ft_async.models.base import EMPTY_MAPPING, Model
from dashscope_ft_async.models.text import safe_word


class CheckpointStatus(StrEnum):
    """Status of the export of a checkpoint."""

    PENDING = "PENDING"
    """Not exported, or its export has not begun."""
    PROCESSING = "PROCESSING"
    """Being exported."""
    SUCCEEDED = "SUCCEEDED"
    """Exported as a model that can be deployed."""
    FAILED = "FAILED"
    UNSUPPORTED = "UNSUPPORTED"
    """It cannot be exported."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """A word that this version does not know; `Checkpoint.raw_status` has it."""


_TERMINAL = frozenset({CheckpointStatus.SUCCEEDED, CheckpointStatus.FAILED, CheckpointStatus.UNSUPPORTED})


@attrs.frozen(kw_only=True)
class Checkpoint(Model):
    """One checkpoint of a job. Fields that the service left out are `None`."""

    checkpoint: str
    """Its name, such as ``checkpoint-160``."""
    status: CheckpointStatus
    raw_status: str
    """The status exactly as the service sent it; empty if it sent none."""
    checkpoint_id: str | None = None
    """``{job_id}:{checkpoint}``; older answers do not have it."""
    full_name: str | None = None
    job_id: str | None = None
    step: int | None = None
    """The training step after which it was saved; older answers do not have it."""
    epoch: float | None = None
    """The epoch after which it was saved."""
    metrics: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """Figures of the training at this checkpoint, as sent."""
    create_time: datetime | None = None
    """When it was saved; naive unless the service named a time zone."""
    expire_time: datetime | None = None
    """When it will be deleted; naive unless the service named a time zone."""
    model_name: str | None = None
    """Name of the exported model, to deploy it; only if `status` is SUCCEEDED."""
    model_display_name: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name, and the original values that could not be read."""

    def __repr__(self) -> str:
        words = (self.checkpoint, self.raw_status, self.model_name)
        return f"<Checkpoint {' '.join(safe_word(word) for word in words if word)}>"

    @property
    def is_terminal(self) -> bool:
        """Whether its export has ended: the status is SUCCEEDED, FAILED or UNSUPPORTED."""
        return self.status in _TERMINAL


@attrs.frozen(kw_only=True)
class ValidationResult(Model):
    """A checkpoint that has validation samples."""

    checkpoint: str
    """Its name, such as ``checkpoint-160``."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name."""


@attrs.frozen(kw_only=True)
class ValidationSample(Model):
    """The output of a checkpoint for one validation input (image and video models)."""

    video_path: str | None = None
    """URL of the output, valid for 24 hours."""
    prompt: str | None = None
    first_frame_path: str | None = None
    """URL of the first frame that was given."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name, and the original values that could not be read."""


@attrs.frozen(kw_only=True)
class ValidationPage(Model):
    """One page of the validation samples of a checkpoint. Iterating over it gives the samples."""

    page_no: int
    """Number of the page, from 1; as the service sent it, else as requested."""
    page_size: int
    """Samples per page; as the service sent it, else as requested."""
    total: int | None = None
    """Number of samples on all pages, if the service says so."""
    samples: tuple[ValidationSample, ...] = ()
    request_id: str | None = None
    """Id of the request."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name."""

    def __iter__(self) -> Iterator[ValidationSample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<ValidationPage {self.page_no}: {len(self.samples)}{of} samples>"
