"""HTTP requests and responses as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import attrs


@attrs.frozen
class Request:
    """A request: its path below the base URL is percent-encoded and includes the query."""

    method: str
    path: str
    body: bytes | None = None
    """JSON."""

    @property
    def template(self) -> str:
        """The path without its query and with placeholders for ids, for logs and metrics."""
        segments = self._segments
        for position, name in ((2, "{job_id}"), (4, "{id}")):
            if len(segments) > position:
                segments[position] = name
        return "/".join(segments)

    @property
    def job_id(self) -> str | None:
        """The job id in the path, if there is one."""
        segments = self._segments
        return unquote(segments[2]) if len(segments) > 2 else None

    @property
    def _segments(self) -> list[str]:
        return self.path.partition("?")[0].split("/")


HEADERS_READ = ("content-type", "date", "retry-after", "retry-after-ms", "x-request-id")
"""The response headers that the decoders read. A `Response` needs no others."""


@attrs.frozen
class Response:
    """A complete response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float = 0.0
    """When it arrived, in seconds since the epoch. A Retry-After date is compared with this time if the
    response has no Date header."""
