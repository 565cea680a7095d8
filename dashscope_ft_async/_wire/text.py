"""Text of the service's, as it may stand in an error or a log."""

from __future__ import annotations

import re


def shown(text: str, most: int = 200) -> str:
    """`text` of the service's as it may stand in an error: no key, one line, printable, not endless."""
    clipped = redact(text[: 2 * most])
    line = clipped if clipped.isprintable() else "".join(c if c.isprintable() else " " for c in clipped)
    return line if len(line) <= most else line[: most - 1] + "…"


_KEY_SHAPE = re.compile(r"sk-[A-Za-z0-9_.-]{4,}")


def redact(text: str) -> str:
    """`text` without anything that looks like an API key; servers and proxies echo them."""
    return _KEY_SHAPE.sub("sk-***", text)


class Mask:
    """Strikes a key out of bytes that come in pieces; holds back only what may be a key's beginning."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be shown so far."""
        text = (self._held + piece).replace(self._key, b"***")
        held = next((n for n in range(len(self._key) - 1, 0, -1) if text.endswith(self._key[:n])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> bytes:
        """What was held back when no more comes."""
        return self._held
