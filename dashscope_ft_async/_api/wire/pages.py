"""A list answer as the hub wants it: rows that are compared cheaply, and structured when they changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from dashscope_ft_async.models import FineTuneJob

# Raw names of what `FineTuneJob.is_change_from` compares.
_MARKS = ("status", "task_status", "end_time", "usage", "output_cnt", "finetuned_output", "code", "message")


class Row:
    """One job of a page, not structured yet."""

    __slots__ = ("_raw", "_structure", "job_id")

    def __init__(
        self, raw: Mapping[str, Any], structure: Callable[[Mapping[str, Any]], FineTuneJob]
    ) -> None:
        self._raw = raw
        self._structure = structure
        self.job_id: str = raw["job_id"]

    def mark(self) -> tuple[object, ...]:
        """Equal marks mean an unchanged job."""
        return tuple(map(self._raw.get, _MARKS))

    def job(self) -> FineTuneJob:
        """The snapshot. Raises `APIResponseValidationError`."""
        return self._structure(self._raw)


@attrs.frozen
class ScannedPage:
    """A page of rows."""

    page_size: int
    """Jobs per page, as the service echoed it (else as asked)."""
    total: int | None
    rows: tuple[Row, ...]
