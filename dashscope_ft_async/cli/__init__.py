"""The command ``dashscope-ft``. It needs the extra ``cli``, and the library never imports it."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

__all__ = ["main"]

_EXTRA = frozenset({"click", "rich"})


def main() -> None:
    """Run the command. Raises `SystemExit`."""
    try:
        from dashscope_ft_async.cli.commands import dashscope_ft
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"dashscope-ft needs {missing.name}: pip install 'dashscope-ft-async[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the program that started this one
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    stdout: object = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        # Text of the service may have no form in the encoding of this machine; that must not end a wait.
        stdout.reconfigure(errors="backslashreplace")
    dashscope_ft(prog_name="dashscope-ft")
