"""The files that a report becomes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from dashscope_ft_async.errors import ConfigurationError

ENDINGS = (".html", ".svg", ".png")


def check(paths: Sequence[Path]) -> None:
    """Refuse what could not be written in the end. Raises `click.BadParameter`."""
    for path in paths:
        if path.suffix.lower() not in ENDINGS:
            raise _refused(path, f"must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
        if path.is_dir():
            raise _refused(path, "is a directory")
        try:
            beside = _beside(path)
            beside.touch(exist_ok=False)
            beside.unlink()
        except OSError as error:
            raise _refused(path, error.strerror or type(error).__name__) from None


def _refused(path: Path, why: str) -> click.BadParameter:
    return click.BadParameter(f"{path}: {why}.", param_hint="--output")


def replace(path: Path, content: bytes) -> None:
    """Write `path` at once: whoever reads it sees the old file or the new one.

    Raises:
        ConfigurationError: it cannot be written after all.
    """
    beside = _beside(path)
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
