"""Requests for a job's log, and what the answers mean."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote, urlencode

import orjson

from dashscope_ft_async._api.wire.envelope import (
    count_of,
    malformed,
    output_of,
    payload_of,
    request_id_of,
)
from dashscope_ft_async._api.wire.messages import Request, Response
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import LogPage

_FIELDS = ("logs", "total")


def logs_request(job_id: str, offset: int, lines: int) -> Request:
    """``GET /fine-tunes/{job_id}/logs``. Raises `ConfigurationError` for numbers it would refuse."""
    for name, number, least, most in (("offset", offset, 0, 10**9), ("lines", lines, 1, 1000)):
        if type(number) is not int or not least <= number <= most:
            raise ConfigurationError(
                f"{name} must be a whole number from {least} to {most}, not {number!r}."
            )
    # The service calls it "line".
    query = urlencode({"offset": offset, "line": lines})
    return Request("GET", f"/fine-tunes/{quote(job_id, safe='')}/logs?{query}")


def stream_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}/stream``."""
    return Request("GET", f"/fine-tunes/{quote(job_id, safe='')}/stream")


def decode_logs(response: Response) -> LogPage:
    """The lines an answer brings. Raises `APIStatusError` or `APIResponseValidationError`.

    Each entry is one line, whatever it is: a line left out would move all that follow. The SDK knows
    of logs that are one text; its lines are the text's.
    """
    payload = payload_of(response)
    output = output_of(response, payload)
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
