"""Writing the files of a report."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from dashscope_ft_async.errors import ConfigurationError

ENDINGS = (".html", ".svg", ".png")


def check(paths: Sequence[Path]) -> None:
    """Raise `click.BadParameter` for a path that cannot be written."""
    for path in paths:
        if path.suffix.lower() not in ENDINGS:
            raise _refused(path, f"must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
        if path.is_dir():
            raise _refused(path, "is a directory")
        try:
            beside = _beside(path.resolve())
            beside.touch(exist_ok=False)
            beside.unlink()
        except OSError as error:
            raise _refused(path, error.strerror or type(error).__name__) from None


def _refused(path: Path, why: str) -> click.BadParameter:
    return click.BadParameter(f"{path}: {why}.", param_hint="--output")


def replace(path: Path, content: bytes) -> None:
    """Replace the content of `path` in one step: a reader sees the old file or the new one.

    A file that exists keeps its permissions. A symbolic link stays, and the file it points to is replaced.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    target = path.resolve()
    beside = _beside(target)
    try:
        beside.touch(mode=0o600 if target.exists() else 0o666, exist_ok=False)
        if target.exists():
            shutil.copymode(target, beside)
        beside.write_bytes(content)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
