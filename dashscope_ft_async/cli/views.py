"""Chooses the views that fit the terminal, the pipe or the file that the output goes to."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.follow import View
from dashscope_ft_async.cli.live.display import live
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.output import JsonLines, PlainLines
from dashscope_ft_async.cli.terminal import ErrorLines
from dashscope_ft_async.cli.tracker import JobTracker


@attrs.frozen
class ViewKinds:
    """The views that are used."""

    live: bool
    json: bool
    plain: bool


@attrs.frozen
class Terminals:
    """Which output streams are terminals."""

    stdout: bool
    stderr: bool

    def views(self, *, json: bool) -> ViewKinds:
        """Return the views to use; `json` says whether stdout gets JSON lines."""
        # JSON and a live table on the same screen would overwrite each other.
        live = self.stderr and not (json and self.stdout)
        return ViewKinds(live, json, plain=not json and not (live and self.stdout))


def terminals() -> Terminals:
    """Return which streams are terminals now. FORCE_COLOR, which rich obeys, does not make a pipe one."""
    dumb = Console(stderr=True).is_dumb_terminal
    # Some CI services provide a terminal and keep every frame of a live table in their log.
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return Terminals(sys.stdout.isatty(), sys.stderr.isatty() and not dumb and not ci)


@asynccontextmanager
async def open_views(
    tracker: JobTracker, console: Console, client: FineTuneClient, health: Health, *, as_json: bool
) -> AsyncGenerator[list[View], None]:
    """Open the views of `tracker` that fit the output streams, and close them at the end of the block."""
    kinds = terminals().views(json=as_json)
    views: list[View] = [ErrorLines(console)]
    if kinds.json:
        views.append(JsonLines())
    if kinds.plain:
        views.append(PlainLines(tracker))
    async with AsyncExitStack() as stack:
        if kinds.live:
            await stack.enter_async_context(live(console, tracker, client, health))
        yield views
