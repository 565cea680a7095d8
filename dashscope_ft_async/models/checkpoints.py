"""What a job saves on its way: checkpoints, and the samples it was validated with.

The page is "List the checkpoints of a fine-tuning job" and its neighbours in the same API.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs


class CheckpointStatus(StrEnum):
    """How far the export of a checkpoint is."""

    PENDING = "PENDING"
    """Saved; not exported, or its export has not begun."""
    PROCESSING = "PROCESSING"
    """Being exported."""
    SUCCEEDED = "SUCCEEDED"
    """Exported: there is a model that can be deployed."""
    FAILED = "FAILED"
    UNSUPPORTED = "UNSUPPORTED"
    """Cannot be exported."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """A word this version does not know. `Checkpoint.raw_status` keeps it."""


@attrs.frozen(kw_only=True)
class Checkpoint:
    """One checkpoint of a job. Fields that the service left out are `None`."""

    checkpoint: str
    """Its name, such as ``checkpoint-160``."""
    status: CheckpointStatus
    raw_status: str
    """The status word exactly as the service sent it; empty where it sent none."""
    checkpoint_id: str | None = None
    """``{job_id}:{checkpoint}``; absent in older answers."""
    full_name: str | None = None
    job_id: str | None = None
    step: int | None = None
    """The training step it was saved at; absent in older answers."""
    create_time: datetime | None = None
    """Naive, as sent."""
    expire_time: datetime | None = None
    """When it will be removed; naive, as sent."""
    model_name: str | None = None
    """Name of the exported model, to deploy; only once `status` is SUCCEEDED."""
    model_display_name: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name, and originals that could not be read."""

    @property
    def is_terminal(self) -> bool:
        """Whether its export has ended."""
        return self.status in _TERMINAL


_TERMINAL = frozenset({CheckpointStatus.SUCCEEDED, CheckpointStatus.FAILED, CheckpointStatus.UNSUPPORTED})


@attrs.frozen(kw_only=True)
class ValidationResult:
    """A checkpoint for which there are validation samples."""

    checkpoint: str
    """Its name, such as ``checkpoint-160``."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name."""


@attrs.frozen(kw_only=True)
class ValidationSample:
    """What a checkpoint made of one validation input (image and video models)."""

    video_path: str | None = None
    """URL of the result; it is valid for 24 hours."""
    prompt: str | None = None
    first_frame_path: str | None = None
    """URL of the first frame that was given."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name, and originals that could not be read."""


@attrs.frozen(kw_only=True)
class ValidationPage:
    """One page of the validation samples of a checkpoint."""

    page_no: int
    """1-based page number, as the service echoed it (else as asked)."""
    page_size: int
    """Samples per page, as the service echoed it (else as asked)."""
    total: int | None = None
    """Number of samples over all pages, where the service says it."""
    samples: tuple[ValidationSample, ...] = ()
    request_id: str | None = None
    """Id of the answer."""
    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    """Every field this class does not name."""
