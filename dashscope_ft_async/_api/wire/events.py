"""The service's event stream, sans I/O: bytes in pieces go in, events come out.

Read as the official SDK reads it, which is not quite the standard: every ``data:`` line is an event of its
own, ``event:error`` marks the next one as an error, and ``status:500`` may say which. Nothing is
trimmed, since a log line may begin with a blank.
"""

from __future__ import annotations

import re

import attrs

_STATUS = re.compile(r"\s*[1-5]\d\d\s*", re.ASCII)
_LINE_LIMIT = 1024 * 1024
"""Bytes of one line; what is longer is cut there."""


@attrs.frozen
class Event:
    """One ``data:`` line."""

    data: str
    is_error: bool = False
    status: int | None = None
    """The HTTP status that an error names."""


class EventParser:
    """Bytes of a stream to events. Total: any bytes, cut anywhere, give events or nothing.

    A line without its end is none: a stream that breaks off must not bring half a line.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_error = False
        self._status: int | None = None

    def feed(self, piece: bytes) -> list[Event]:
        """The events that end within `piece`."""
        self._rest += piece
        if b"\n" not in piece and b"\r" not in piece:
            if len(self._rest) > 2 * _LINE_LIMIT:
                del self._rest[_LINE_LIMIT:]
            return []
        # An empty line says nothing, so CR LF, whole or cut in two, may count as two ends.
        *lines, rest = bytes(self._rest).replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(rest)
        return [event for line in lines if (event := self._event(line)) is not None]

    def _event(self, line: bytes) -> Event | None:
        text = line[:_LINE_LIMIT].decode("utf-8", "replace")
        name, colon, value = text.partition(":")
        if not colon:
            return None
        match name:
            case "event":
                self._is_error = value.strip() == "error"
            case "status":
                self._status = int(value) if _STATUS.fullmatch(value) else None
            case "data":
                event = Event(value, self._is_error, self._status if self._is_error else None)
                self._is_error, self._status = False, None
                return event
            case _:
                pass  # a comment, an id, a heartbeat
        return None
