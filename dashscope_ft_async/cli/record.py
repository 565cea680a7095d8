"""The record of a wait: a file of JSON lines with all that a pipe would get, and every request besides."""

from __future__ import annotations

from datetime import UTC, datetime
from io import SEEK_END, TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from dashscope_ft_async.cli.output import Json, event_json, row_json, to_text
from dashscope_ft_async.cli.tracker import Row, printable, short_error
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.hooks import Event, RequestFinished, Retrying, Throttled


class Record:
    """A view and a hook in one. A file that cannot be written any more ends the record, and no wait."""

    def __init__(self, file: TextIO, console: Console) -> None:
        self._file: TextIO | None = file
        self._console = console

    def update(self, row: Row) -> None:
        """Write what is new about a job."""
        self._write(row_json(row, datetime.now(UTC)))

    def __call__(self, event: Event) -> None:
        """Write what happened on the way to the service."""
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
    """The line for an event of the client; `None` for those that rows tell better."""
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
            told = short_error(error) if isinstance(error, DashScopeFTError) else type(error).__name__
            return event_json(
                "retrying",
                event.job_id,
                at,
                attempt=event.attempt,
                seconds=round(event.seconds, 6),
                reason=printable(told),
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


def opened(path: Path | None) -> TextIO | None:
    """The record to go on with, until the command ends. Raises `click.BadParameter` where there is none."""
    if path is None:
        return None
    try:
        torn = path.is_file() and _is_torn(path)
        # Unbuffered: what could not be written is given up at once, and does not come back at the end.
        file = TextIOWrapper(path.open("ab", buffering=0), "ascii", write_through=True)
        if torn:
            file.write("\n")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.", param_hint="--record") from None
    click.get_current_context().call_on_close(file.close)
    return file


def _is_torn(path: Path) -> bool:
    """Whether the last line was cut: the next one is not to be glued to it."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")
