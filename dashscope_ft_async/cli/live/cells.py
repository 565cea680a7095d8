"""Text cut and padded to a number of terminal cells, in the characters of an encoding."""

from __future__ import annotations

import attrs
from rich.cells import cell_len, set_cell_size

from dashscope_ft_async.cli.live import sparkline
from dashscope_ft_async.cli.messages import printable


@attrs.frozen
class CellFormatter:
    """Formats text for an encoding. In an encoding that is not Unicode, curves and marks are ASCII."""

    encoding: str = "utf-8"

    @property
    def unicode(self) -> bool:
        """Whether the encoding is Unicode. GBK has block characters too, but they are two cells wide."""
        return self.encoding.lower().startswith("utf")

    @property
    def levels(self) -> str:
        """The characters of a curve."""
        return sparkline.BLOCKS if self.unicode else sparkline.ASCII

    @property
    def dot(self) -> str:
        """The separator of two texts on a line."""
        return " · " if self.unicode else " - "

    @property
    def mark(self) -> str:
        """The mark where text was cut."""
        return "…" if self.unicode else ".."

    def text(self, text: str) -> str:
        """Return `text` on one line, without control characters and characters of other encodings."""
        text = printable(text)
        return text if self.unicode else text.encode(self.encoding, "replace").decode(self.encoding)

    def fit(self, text: str, width: int) -> str:
        """Return `text` in at most `width` cells, with a mark where it was cut."""
        text = self.text(text)
        if cell_len(text) <= width:
            return text
        if width <= len(self.mark):
            return self.mark[: max(0, width)]
        return set_cell_size(text, width - len(self.mark)).rstrip() + self.mark

    def cell(self, text: str, width: int, *, right: bool = False) -> str:
        """Return `text` in exactly `width` cells."""
        text = self.fit(text, width)
        blanks = " " * (width - cell_len(text))
        return blanks + text if right else text + blanks
