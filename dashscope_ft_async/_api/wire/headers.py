"""What headers say: when to come back."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

from dashscope_ft_async._api.wire.messages import Response

_SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?)\s*", re.ASCII)


def retry_after(response: Response) -> float | None:
    """Seconds the answer asks to wait: ``retry-after-ms``, then ``Retry-After`` as seconds or a date.

    Negative, endless and unreadable values are no value. A date is compared with the answer's own
    Date, so a client with a wrong clock obeys too; one that has passed means 0.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        match = _SECONDS.fullmatch(response.headers.get(name, ""))
        if match is not None:
            seconds = float(match[1]) * scale
            return seconds if isfinite(seconds) else None
    until = _http_date(response.headers.get("retry-after"))
    if until is None:
        return None
    now = _http_date(response.headers.get("date"))
    return max(0.0, until - (response.received_at if now is None else now))


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # The oldest form of an HTTP date names no zone; it is GMT like the others.
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, IndexError, OverflowError):
        return None
