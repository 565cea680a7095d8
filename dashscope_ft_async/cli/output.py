"""Lines on stdout: JSON for programs, and plain text for people if stderr is not a terminal.

The JSON is a documented interface (docs/reference/cli.md). While `SCHEMA` stays the same, fields are
added and never changed.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from dashscope_ft_async.cli.messages import error_text
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.errors import APIError, APIResponseValidationError, APIStatusError, DashScopeFTError

Json = dict[str, Any]
SCHEMA = 1
"""Version of the lines. It changes if a field is removed or changes its meaning."""
_WITH_STATUS = (APIStatusError, APIResponseValidationError)
_TOO_DEEP = "(nested too deep to be written as JSON)"


def error_json(error: DashScopeFTError) -> Json:
    """Return the fields of an error; those that it does not have are null."""
    return {
        "type": type(error).__name__,
        "message": error_text(error),
        "http_status": error.status if isinstance(error, _WITH_STATUS) else None,
        "code": error.code if isinstance(error, APIStatusError) else None,
        "request_id": error.request_id if isinstance(error, APIError) else None,
    }


def row_json(row: Row, at: datetime) -> Json:
    """Return the line for a change of one job."""
    event = "update" if row.exit_code is None else "ended" if row.error is None else "error"
    line = event_json(
        event,
        row.job_id,
        at,
        status=None if row.job is None else row.job.status.value,
        exit_code=None if row.exit_code is None else int(row.exit_code),
        job=None if row.job is None else row.job.to_dict(),
    )
    if row.error is not None:
        line["error"] = error_json(row.error)
    return line


def event_json(event: str, job_id: str | None, at: datetime, /, **fields: object) -> Json:
    """Return a line with the fields that all lines have, followed by its own."""
    time = at.isoformat(timespec="milliseconds")
    return {"schema": SCHEMA, "event": event, "time": time, "job_id": job_id, **fields}


def to_text(line: Json) -> str:
    """Return a line as JSON in ASCII, which every locale can print."""
    try:
        return json.dumps(line, default=str)
    except RecursionError:
        return json.dumps(_without_deep_values(line), default=str)


def _without_deep_values(value: object, levels: int = 100) -> object:
    """Copy `value`, with a text in place of what is nested more than `levels` deep."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {name: _without_deep_values(item, levels - 1) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [_without_deep_values(item, levels - 1) for item in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def write_event(event: str, job_id: str | None, /, **fields: object) -> None:
    """Write a line that is not a snapshot of a job."""
    _write(event_json(event, job_id, datetime.now(UTC), **fields))


def _write(line: Json) -> None:
    click.echo(to_text(line))  # flushes, so that the reader of a pipe gets it at once


class JsonLines:
    """A view that writes one JSON object per line."""

    def update(self, row: Row) -> None:
        """Write a change."""
        _write(row_json(row, datetime.now(UTC)))


class PlainLines:
    """A view that writes one line of text per change."""

    def __init__(self, tracker: JobTracker) -> None:
        self._started = time.monotonic()
        self._tracker = tracker
        self._measured = self._width = 0

    def update(self, row: Row) -> None:
        """Write a change."""
        after = time.monotonic() - self._started
        width = self._longest_name()
        saved = row.checkpoints if row.exit_code is None else ""
        details = f"{saved} checkpoints" if saved else row.result
        click.echo(f"{after:6.1f} s  {row.name:{width}}  {row.status:9}  {details}".rstrip())

    def _longest_name(self) -> int:
        """Return its length. A tracker only grows, so each name is measured once."""
        rows = self._tracker.rows
        new = islice(reversed(rows.values()), len(rows) - self._measured)
        self._width = max([self._width, *(len(row.name) for row in new)])
        self._measured = len(rows)
        return self._width
