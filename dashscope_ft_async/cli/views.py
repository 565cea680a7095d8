"""Which views there are where our output goes."""

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
    """Which views there are."""

    live: bool
    json: bool
    plain: bool


@attrs.frozen
class Terminals:
    """Which of our streams a person looks at."""

    stdout: bool
    stderr: bool

    def views(self, *, json: bool) -> ViewKinds:
        """`json` is whether stdout gets JSON lines."""
        # JSON and a live table on the same screen would overwrite each other.
        live = self.stderr and not (json and self.stdout)
        return ViewKinds(live, json, plain=not json and not (live and self.stdout))


def terminals() -> Terminals:
    """As they are now. Not what rich thinks: FORCE_COLOR must not turn a pipe into a screen."""
    dumb = Console(stderr=True).is_dumb_terminal
    # Some CI services give their jobs a terminal, and then keep every frame of a table in a log.
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return Terminals(sys.stdout.isatty(), sys.stderr.isatty() and not dumb and not ci)


@asynccontextmanager
async def open_views(
    tracker: JobTracker, console: Console, client: FineTuneClient, health: Health, *, as_json: bool
) -> AsyncGenerator[list[View], None]:
    """The views of `tracker` that fit where our output goes."""
    fitting = terminals().views(json=as_json)
    views: list[View] = [ErrorLines(console)]
    if fitting.json:
        views.append(JsonLines())
    if fitting.plain:
        views.append(PlainLines(tracker))
    async with AsyncExitStack() as stack:
        if fitting.live:
            await stack.enter_async_context(live(console, tracker, client, health))
        yield views
