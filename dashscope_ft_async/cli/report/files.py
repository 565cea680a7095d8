"""The files that a report becomes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

ENDINGS = (".html", ".svg", ".png")


def outputs(_: click.Context, __: click.Parameter, paths: Sequence[Path]) -> Sequence[Path]:
    """Refuse what will not be written in the end; whoever gave it is told before any request."""
    for path in paths:
        if path.suffix.lower() not in ENDINGS:
            raise click.BadParameter(f"{path}: must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
        if path.is_dir():
            raise click.BadParameter(f"{path}: is a directory.")
        try:
            beside = _beside(path)
            beside.touch(exist_ok=False)
            beside.unlink()
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}.") from None
    return paths


def replace(path: Path, content: bytes) -> None:
    """Write `path` at once: whoever reads it sees the old file or the new one."""
    beside = _beside(path)
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
