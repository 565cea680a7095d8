"""What goes out and what comes back, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import attrs


@attrs.frozen
class Request:
    """What to send: a path below the base URL, percent-encoded and with its query."""

    method: str
    path: str
    body: bytes | None = None
    """JSON."""

    @property
    def template(self) -> str:
        """The path without query and with names for ids, so that there are few of them."""
        below = self.path.partition("?")[0].split("/")
        for place, name in ((2, "{job_id}"), (4, "{id}")):
            if len(below) > place:
                below[place] = name
        return "/".join(below)

    @property
    def job_id(self) -> str | None:
        """The job it is about."""
        below = self.path.partition("?")[0].split("/")
        return unquote(below[2]) if len(below) > 2 else None


HEADERS_READ = ("content-type", "date", "retry-after", "retry-after-ms", "x-request-id")
"""The headers that decoding looks at; a response need not hold others."""


@attrs.frozen
class Response:
    """What came back, as plain data. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float = 0.0
    """Wall clock when it came, seconds since the epoch: what a Retry-After date is compared with
    when the answer has no Date of its own."""
