"""Lines on stdout: JSON for programs, plain text for people whose output is no terminal.

The JSON is a documented interface (docs/reference/cli.md): under one `SCHEMA` names are added, never
changed.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from dashscope_ft_async.cli.tracker import JobTracker, Row, printable
from dashscope_ft_async.errors import APIError, APIResponseValidationError, APIStatusError, DashScopeFTError

Json = dict[str, Any]
SCHEMA = 1
"""Version of the lines: another number where a name goes away or means something else."""
_ANSWERED = (APIStatusError, APIResponseValidationError)


def error_json(error: DashScopeFTError) -> Json:
    """The facts of an error; those it does not have are null."""
    return {
        "type": type(error).__name__,
        "message": printable(str(error)),
        "http_status": error.status if isinstance(error, _ANSWERED) else None,
        "code": error.code if isinstance(error, APIStatusError) else None,
        "request_id": error.request_id if isinstance(error, APIError) else None,
    }


def row_json(row: Row, at: datetime) -> Json:
    """The line that tells what is new about one job."""
    name = "update" if row.exit_code is None else "ended" if row.error is None else "error"
    line = event_json(
        name,
        row.job_id,
        at,
        status=None if row.job is None else row.job.status.value,
        exit_code=None if row.exit_code is None else int(row.exit_code),
        job=None if row.job is None else row.job.to_dict(),
    )
    if row.error is not None:
        line["error"] = error_json(row.error)
    return line


def event_json(name: str, job_id: str | None, at: datetime, /, **facts: object) -> Json:
    """What every line has, and its own facts behind it."""
    time = at.isoformat(timespec="milliseconds")
    return {"schema": SCHEMA, "event": name, "time": time, "job_id": job_id, **facts}


def to_text(line: Json) -> str:
    """As JSON, in ASCII: it survives every locale."""
    return json.dumps(line, default=str)


def write_event(name: str, job_id: str | None, /, **facts: object) -> None:
    """Write a line about something that is no snapshot of a job."""
    _write(event_json(name, job_id, datetime.now(UTC), **facts))


def _write(line: Json) -> None:
    click.echo(to_text(line))  # which flushes: whoever reads a pipe wants it now


class JsonLines:
    """A view: one JSON object per line."""

    def update(self, row: Row) -> None:
        """Write what is new."""
        _write(row_json(row, datetime.now(UTC)))


class PlainLines:
    """A view: one line of text per change."""

    def __init__(self, tracker: JobTracker) -> None:
        self._started = time.monotonic()
        self._board = tracker
        self._measured = self._width = 0

    def update(self, row: Row) -> None:
        """Write what is new."""
        after = time.monotonic() - self._started
        width = self._longest_name()
        done = f"{row.checkpoints} checkpoints" if row.checkpoints and row.exit_code is None else row.result
        click.echo(f"{after:6.1f} s  {row.name:{width}}  {row.status:9}  {done}".rstrip())

    def _longest_name(self) -> int:
        """Its length, on a tracker that only grows: each name is measured once."""
        rows = self._board.rows
        new = islice(reversed(rows.values()), len(rows) - self._measured)
        self._width = max([self._width, *(len(row.name) for row in new)])
        self._measured = len(rows)
        return self._width
