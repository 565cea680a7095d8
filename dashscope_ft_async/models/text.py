"""Make text from the service or the user safe for error messages and logs."""

from __future__ import annotations

import re


def safe_text(text: str, limit: int = 200) -> str:
    """Return `text` on one printable line of at most `limit` characters, without API keys."""
    line = redact(text[: 2 * limit])
    if not line.isprintable():
        line = "".join(char if char.isprintable() else " " for char in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def safe_word(word: str, limit: int = 80) -> str:
    """Return a word such as a status as `safe_text` does, but with unprintable characters escaped."""
    return safe_text(word if word.isprintable() else repr(word), limit)


# A letter before "sk-" means that it ends a word (task-0123), unless the letter ends an escape (%3D, \n).
_KEY_SHAPE = re.compile(r"(?:(?<![A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[a-z]))sk-[A-Za-z0-9_.-]{4,}")


def redact(text: str) -> str:
    """Return `text` with everything that looks like an API key replaced: servers and proxies echo keys."""
    return _KEY_SHAPE.sub("sk-***", text) if "sk-" in text else text


def looks_like_api_key(text: str) -> bool:
    """Whether the whole of `text` looks like an API key, given in the wrong place."""
    return _KEY_SHAPE.fullmatch(text) is not None
