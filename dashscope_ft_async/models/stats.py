"""Figures of a client's work at one moment."""

from __future__ import annotations

import attrs

from dashscope_ft_async.models.base import Model


@attrs.frozen(kw_only=True)
class ClientStats(Model):
    """What a client is doing, and what it has done so far."""

    waits: int
    """Waits that have not ended."""
    jobs: int
    """Jobs, and other things that are polled, that these waits are for."""
    queued: int
    """Jobs that are due and wait for the rate gate."""
    in_flight: int
    """Requests of waits in flight, list pages included."""
    requests: int
    """Requests sent since the client was made, those of single calls included."""
    observations: int
    """Snapshots that polls and list pages brought for jobs that were waited for."""
    window: int
    """Polls that may be in flight at once at present."""
    rate: float | None
    """Requests per second that are allowed at present; `None` is unlimited."""
    list_state: str
    """What list pages are good for: ``off`` (``coalesce=False``), ``unproven`` (every end is confirmed by a
    GET), ``consistent`` (running jobs agree with their GETs), ``proven`` (a complete row is the answer),
    ``unavailable`` (it failed and is not requested for a time), ``given up`` (it contradicted GETs)."""
    list_reason: str | None
    """Why the list is not trusted or not available, if anything is known."""
