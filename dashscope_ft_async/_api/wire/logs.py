"""Decode logs: pages of lines, and the event stream."""

from __future__ import annotations

import re
from typing import cast

import attrs
import orjson

from dashscope_ft_async._api.wire.envelope import (
    check_depth,
    malformed,
    output_of,
    payload_of,
    request_id_of,
)
from dashscope_ft_async._api.wire.messages import Response
from dashscope_ft_async._api.wire.structure import count_of
from dashscope_ft_async.models import LogPage

_FIELDS = ("logs", "total")


def decode_logs(response: Response) -> LogPage:
    """Return the lines in an answer.

    Every entry of the list is one line, whatever it contains, since leaving one out would change the
    numbers of all that follow. The SDK also knows logs that are one text, which is split into lines.
    Raises `APIStatusError` for an error, and `APIResponseValidationError` for an answer that is not as
    documented.
    """
    payload = payload_of(response)
    output = output_of(response, payload)
    check_depth(response, output)
    logs: object = output.get("logs")
    if isinstance(logs, str):
        lines = logs.splitlines()
    elif isinstance(logs, list):
        lines = [_line(entry) for entry in cast("list[object]", logs)]
    elif logs is None:
        lines = list[str]()
    else:
        raise malformed(response, f"expected lines, found {type(logs).__name__} @ $.output.logs")
    return LogPage(
        lines=tuple(lines),
        total=count_of(output, "total"),
        request_id=request_id_of(response, payload),
        extra={name: value for name, value in output.items() if name not in _FIELDS},
    )


def _line(entry: object) -> str:
    if isinstance(entry, str):
        return entry
    return "" if entry is None else orjson.dumps(entry).decode()


_STATUS = re.compile(r"\s*[1-5]\d\d\s*", re.ASCII)
_LINE_LIMIT = 1024 * 1024
"""Longest line of a stream in bytes; longer ones are cut."""


@attrs.frozen
class Event:
    """One ``data:`` line of an event stream."""

    data: str
    is_error: bool = False
    status: int | None = None
    """The HTTP status that an error names."""


class EventParser:
    """Parse an event stream, which arrives in pieces, without I/O.

    It follows the official SDK and not the standard: each ``data:`` line is an event, ``event:error`` marks
    the next event as an error, and ``status:500`` gives its status. Data is not stripped, since lines of a
    log may begin with blanks. An incomplete line at the end of the stream is no event. It never raises.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_error = False
        self._status: int | None = None

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that `piece` completes."""
        self._rest += piece
        if b"\n" not in piece and b"\r" not in piece:
            if len(self._rest) > 2 * _LINE_LIMIT:
                del self._rest[_LINE_LIMIT:]
            return []
        # Empty lines mean nothing, so CR LF may count as two line ends, also across two pieces.
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
