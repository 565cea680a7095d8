"""Answers of the simulated service, the faults that a test can order, and the record of requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import attrs


@attrs.frozen
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    content_type: str = "application/json"

    @classmethod
    def json(cls, body: Mapping[str, Any], status: int = 200) -> Self:
        """Return an answer with any JSON object."""
        return cls(status, json.dumps(dict(body)).encode())

    @classmethod
    def output(cls, output: Any) -> Self:
        """Return the documented shape of a good answer."""
        return cls.json({"request_id": "00000000-0000-4000-8000-000000000000", "output": output})

    @classmethod
    def error(
        cls,
        status: int,
        code: str | None = None,
        message: str = "",
        *,
        retry_after: float | str | None = None,
    ) -> Self:
        """Return the service's JSON error, such as ``Fault.error(429, "Throttling", retry_after=5)``.

        Args:
            status: HTTP status.
            code: The service's code; without one the body is empty.
            message: The service's message.
            retry_after: Seconds, or the text of the header ``Retry-After``.
        """
        request_id = "00000000-0000-4000-8000-00000000eeee"
        body = {"code": code, "message": message, "request_id": request_id}
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after}"}
        return cls(status, b"" if code is None else json.dumps(body).encode(), headers)


@attrs.frozen
class Fault(Answer):
    """A wrong answer, or none, to one request. Made by its class methods."""

    kind: Literal["answer", "reset", "cut", "stall"] = "answer"
    seconds: float | None = None

    @classmethod
    def html(cls, status: int = 502) -> Self:
        """Return the HTML page of a proxy."""
        return cls(status, b"<html><body><h1>Bad Gateway</h1></body></html>", content_type="text/html")

    @classmethod
    def raw(cls, body: bytes, status: int = 200) -> Self:
        """Return any bytes as ``application/json``."""
        return cls(status, body)

    @classmethod
    def reset(cls) -> Self:
        """Reset the connection instead of an answer."""
        return cls(kind="reset")

    @classmethod
    def cut(cls) -> Self:
        """Close the connection in the middle of the body."""
        return cls(kind="cut")

    @classmethod
    def stall(cls, seconds: float | None = None) -> Self:
        """Send nothing for `seconds` (by default until the simulator stops), then the usual answer."""
        return cls(kind="stall", seconds=seconds)


@attrs.frozen
class SeenRequest:
    """A request that the simulator has answered."""

    at: float
    """Seconds on the clock of the event loop since the simulator was started."""
    method: str
    path: str
    status: int
    """HTTP status of the answer; 0 if there was none."""


class RateLimit:
    """A token bucket: at most `rate` requests per second, and bursts of one second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate)
        self._updated = float("-inf")

    def admits(self, now: float) -> bool:
        """Return whether a request at `now` is within the limit. If it is, it is counted."""
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
