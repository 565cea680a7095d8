"""Text from elsewhere, as it may stand in an error or a log."""

from __future__ import annotations

import re


def shown(text: str, most: int = 200) -> str:
    """`text` of the service's as it may stand in an error: no key, one line, printable, not endless."""
    clipped = redact(text[: 2 * most])
    line = clipped if clipped.isprintable() else "".join(c if c.isprintable() else " " for c in clipped)
    return line if len(line) <= most else line[: most - 1] + "…"


def escaped(word: str, most: int = 80) -> str:
    """A single word of the service's as it may stand in a log: what cannot be printed shows as it is."""
    return shown(word if word.isprintable() else repr(word), most)


# Behind a letter it is the end of a word (task-0123), unless the letter belongs to an escape (%3D, \n).
_KEY_SHAPE = re.compile(r"(?:(?<![A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[a-z]))sk-[A-Za-z0-9_.-]{4,}")


def redact(text: str) -> str:
    """`text` without anything that looks like an API key; servers and proxies echo them."""
    return _KEY_SHAPE.sub("sk-***", text)


def looks_like_a_key(text: str) -> bool:
    """Whether the whole of `text` looks like an API key: one given in the wrong place."""
    return _KEY_SHAPE.fullmatch(text) is not None
