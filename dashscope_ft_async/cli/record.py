"""The record of a wait: a file with the JSON lines of stdout, and a line for every request."""

from __future__ import annotations

from datetime import UTC, datetime
from io import SEEK_END, TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from dashscope_ft_async.cli.messages import printable, short_error
from dashscope_ft_async.cli.output import Json, event_json, row_json, to_text
from dashscope_ft_async.cli.tracker import Row
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.hooks import Event, RequestFinished, Retrying, Throttled


class Record:
    """A view and a hook. If the file can no longer be written, the record ends and the waits continue."""

    def __init__(self, file: TextIO, console: Console) -> None:
        self._file: TextIO | None = file
        self._console = console

    def update(self, row: Row) -> None:
        """Write a change of a job."""
        self._write(row_json(row, datetime.now(UTC)))

    def __call__(self, event: Event) -> None:
        """Write an event of the client."""
        line = event_line(event, datetime.now(UTC))
        if line is not None:
            self._write(line)

    def _write(self, line: Json) -> None:
        if self._file is None:
            return
        try:
            print(to_text(line), file=self._file, flush=True)
        except OSError as error:
            self._file = None
            self._console.print(f"error: the record ends here: {error.strerror}", soft_wrap=True)


def event_line(event: Event, at: datetime) -> Json | None:
    """Return the line for an event of the client; `None` if it has none, such as changes of a job."""
    match event:
        case RequestFinished():
            return event_json(
                "request",
                event.job_id,
                at,
                method=event.method,
                template=event.template,
                seconds=round(event.seconds, 6),
                http_status=event.status,
                error=event.error,
            )
        case Retrying():
            error = event.error
            reason = short_error(error) if isinstance(error, DashScopeFTError) else type(error).__name__
            return event_json(
                "retrying",
                event.job_id,
                at,
                attempt=event.attempt,
                seconds=round(event.seconds, 6),
                reason=printable(reason),
            )
        case Throttled():
            return event_json(
                "throttled",
                None,
                at,
                seconds=round(event.seconds, 6),
                rate=round(event.rate, 3) if isfinite(event.rate) else None,
                pages=event.pages,
            )
        case _:
            return None


def open_record(path: Path | None) -> TextIO | None:
    """Open a file to append to; it is closed when the command ends.

    Raises:
        click.BadParameter: it cannot be opened.
    """
    if path is None:
        return None
    try:
        is_cut = path.is_file() and _is_last_line_cut(path)
        # Unbuffered: a line that could not be written must not be tried again when the file is closed.
        file = TextIOWrapper(path.open("ab", buffering=0), "ascii", write_through=True)
        if is_cut:
            file.write("\n")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.", param_hint="--record") from None
    click.get_current_context().call_on_close(file.close)
    return file


def _is_last_line_cut(path: Path) -> bool:
    """Return whether the last line has no end, so that the next one would be joined to it."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")
