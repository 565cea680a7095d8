"""Which views there are, and following jobs in them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import attrs
from rich.console import Console

from dashscope_ft_async.cli.board import Board
from dashscope_ft_async.cli.follow import View, follow
from dashscope_ft_async.cli.lines import JsonLines, PlainLines
from dashscope_ft_async.cli.view import Complaints, live
from dashscope_ft_async.client import FineTuneClient


@attrs.frozen
class Shown:
    """Which views there are."""

    live: bool
    json: bool
    plain: bool


@attrs.frozen
class Terminals:
    """Which of our streams a person looks at."""

    stdout: bool
    stderr: bool

    def views(self, *, json: bool) -> Shown:
        """`json` is whether stdout gets JSON lines."""
        # JSON and a live table on the same screen would overwrite each other.
        live = self.stderr and not (json and self.stdout)
        return Shown(live, json, plain=not json and not (live and self.stdout))


def terminals() -> Terminals:
    """As they are now. Not what rich thinks: FORCE_COLOR must not turn a pipe into a screen."""
    dumb = Console(stderr=True).is_dumb_terminal
    return Terminals(sys.stdout.isatty(), sys.stderr.isatty() and not dumb)


async def show(
    client: FineTuneClient,
    board: Board,
    console: Console,
    *,
    as_json: bool,
    timeout: float | None,
    caption: Callable[[], str] = str,
) -> None:
    """Follow the jobs of `board` in the views that fit where our output goes."""
    shown = terminals().views(json=as_json)
    views: list[View] = [Complaints(console)]
    if shown.json:
        views.append(JsonLines())
    if shown.plain:
        views.append(PlainLines(board))
    async with AsyncExitStack() as stack:
        if shown.live:
            await stack.enter_async_context(live(console, board, caption))
        await follow(client, board, views, timeout=timeout)
