"""A command on a terminal that nobody sees: a pseudo-terminal, and what an emulator makes of it."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html import unescape
from itertools import groupby
from typing import Any, Self

import pyte
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_THEME = TerminalTheme(
    (24, 26, 33),
    (214, 219, 229),
    [(62, 66, 80), (240, 98, 110), (126, 196, 118), (226, 186, 98), (104, 162, 245), (196, 138, 232),
     (92, 196, 206), (214, 219, 229)],
    [(110, 116, 134), (255, 130, 138), (150, 216, 142), (244, 206, 122), (134, 184, 255), (214, 164, 246),
     (122, 216, 224), (255, 255, 255)],
)  # fmt: skip
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Noto Sans Mono CJK SC', monospace"
_COLOURS = {"brown": "yellow", "brightbrown": "bright_yellow"}


class _Screen(pyte.Screen):
    """pyte knows no dim text; blinking, which we never do, stands in for it."""

    def select_graphic_rendition(self, *attrs: int, **options: Any) -> None:
        super().select_graphic_rendition(*(5 if attr == 2 else attr for attr in attrs), **options)


class Terminal:
    """``dashscope-ft`` on a terminal of so many columns and lines. Leaving the block ends it."""

    def __init__(
        self, arguments: Sequence[str], columns: int, lines: int, environment: Mapping[str, str]
    ) -> None:
        self.screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._arguments = arguments
        self._environment = environment
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        self._set_size(theirs)
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "LINES")}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from dashscope_ft_async.cli import main; main()",
            *self._arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", **self._environment},
            start_new_session=True,
        )
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)

    def _read(self) -> None:
        try:
            read = os.read(self._ours, 65_536)
        except OSError:  # how Linux says that the other end is closed
            read = b""
        if read:
            self._stream.feed(read)
        else:
            asyncio.get_running_loop().remove_reader(self._ours)
        self._news.set()

    def _set_size(self, terminal: int) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)

    def resize(self, columns: int, lines: int) -> None:
        """As a person drags the corner of the window."""
        self.screen.resize(lines, columns)
        self._set_size(self._ours)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    async def until(self, shows: Callable[[str], bool], seconds: float = 30) -> str:
        """Wait until the screen `shows` something; returns its text."""
        try:
            async with asyncio.timeout(seconds):
                while not shows(self.text):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"never shown:\n{self.text}") from None
        return self.text

    async def still(self) -> None:
        """Wait until nothing has come for a moment: a drawing comes in pieces."""
        with suppress(TimeoutError):
            while True:
                self._news.clear()
                async with asyncio.timeout(0.05):
                    await self._news.wait()

    def svg(self, title: str) -> str:
        """A picture of the screen, which needs nothing from anywhere."""
        console = Console(width=self.screen.columns, file=io.StringIO(), record=True)
        for number in range(self.screen.lines):
            cells = [self.screen.buffer[number][column] for column in range(self.screen.columns)]
            runs = groupby(cells, key=lambda char: (char.fg, char.bold, char.blink))
            console.print(
                Text.assemble(*(("".join(char.data for char in run), _style(*look)) for look, run in runs)),
                no_wrap=True,
            )
        svg = console.export_svg(title=title, theme=_THEME, unique_id="screen")
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        svg = re.sub(r'textLength="[\d.]+"([^>]*)>([^<]+)', _in_cells, svg)
        return re.sub(r"font-family: (Fira Code|arial)[^;]*;", f"font-family: {_FONTS};", svg)


def _in_cells(found: re.Match[str]) -> str:
    """rich counts characters, and Chinese ones take two cells."""
    attributes, text = found.groups()
    return f'textLength="{12.2 * cell_len(unescape(text)):.1f}"{attributes}>{text}'


def _style(colour: str, bold: bool, dim: bool) -> Style:
    return Style(color=_COLOURS.get(colour, colour.replace("bright", "bright_")), bold=bold, dim=dim)
