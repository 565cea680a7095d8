"""Lines on stdout: JSON for programs, plain text for people whose output is no terminal.

The JSON is a documented interface (docs/reference/cli.md): names are added to it, never changed.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from dashscope_ft_async.cli.board import Board, Row, printable
from dashscope_ft_async.errors import APIError, APIResponseValidationError, APIStatusError, DashScopeFTError
from dashscope_ft_async.models import FineTuneJob

Json = dict[str, Any]
_ANSWERED = (APIStatusError, APIResponseValidationError)


def job_json(job: FineTuneJob) -> Json:
    """Every field of a snapshot, under its own name; times as ISO 8601 text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in attrs.asdict(job, recurse=False).items()
    }


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
    line: Json = {
        "event": "update" if row.exit is None else "ended" if row.error is None else "error",
        "time": at.isoformat(timespec="milliseconds"),
        "job_id": row.job_id,
        "status": None if row.job is None else row.job.status.value,
        "exit_code": None if row.exit is None else int(row.exit),
        "job": None if row.job is None else job_json(row.job),
    }
    if row.error is not None:
        line["error"] = error_json(row.error)
    return line


def write_json(line: Json) -> None:
    """One line, at once: whoever reads a pipe wants it now, and ASCII survives every locale."""
    click.echo(json.dumps(line, default=str))


class JsonLines:
    """A view: one JSON object per line."""

    def tell(self, row: Row) -> None:
        """Write what is new."""
        write_json(row_json(row, datetime.now(UTC)))


class PlainLines:
    """A view: one line of text per change."""

    def __init__(self, board: Board) -> None:
        self._started = time.monotonic()
        self._width = max(len(row.name) for row in board.rows.values())

    def tell(self, row: Row) -> None:
        """Write what is new."""
        after = time.monotonic() - self._started
        click.echo(f"{after:6.1f} s  {row.name:{self._width}}  {row.status:9}  {row.result}".rstrip())
