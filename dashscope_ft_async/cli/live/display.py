"""The live view on the terminal: refreshed in place while jobs run, wiped away at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from rich.console import Console, Group
from rich.live import Live

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.live.losses import Losses, follow_losses
from dashscope_ft_async.cli.live.screen import rows_on, screen
from dashscope_ft_async.cli.live.state import LiveState
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.errors import ConfigurationError

_REFRESH = 0.25


@contextmanager
def _at_once(console: Console) -> Generator[None, None, None]:
    """Ask the terminal to show what is written here at once: lines are wiped before they are written.

    Terminals that do not know synchronized output, DEC mode 2026, leave it unheeded.
    """
    if console.legacy_windows:
        yield
        return
    console.file.write("\x1b[?2026h")
    try:
        yield
    finally:
        console.file.write("\x1b[?2026l")
        console.file.flush()


@asynccontextmanager
async def live(
    console: Console, tracker: JobTracker, client: FineTuneClient, health: Health
) -> AsyncGenerator[None, None]:
    """Keep `tracker` on the terminal, with the losses of running jobs, which `client` reads."""
    losses: dict[str, Losses] = {}
    cells = CellFormatter(console.encoding)

    def next_poll(job_id: str) -> float | None:
        try:
            return client.next_poll(job_id)
        except ConfigurationError:
            return None  # what was typed is no id, of which the wait is about to tell

    def height() -> int:
        return console.height - 1  # the last command stays in sight

    def visible() -> list[Row]:
        return rows_on(tracker, height())

    # Refreshed from the loop: rich's own thread would read the tracker while it changes.
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as display:

        async def refresh() -> None:
            before = None
            while True:
                facts = LiveState(tracker, health, losses, next_poll, time.monotonic())
                lines = screen(facts, console.width, height(), cells)
                # A terminal that breaks the lines of a view that was wider leaves some of them above.
                # Wiping more than what was written would cost errors, which stand above it too.
                if lines != before:
                    with _at_once(console):
                        display.update(Group(*lines), refresh=True)
                before = lines
                await asyncio.sleep(_REFRESH)

        tasks = [
            asyncio.create_task(refresh()),
            asyncio.create_task(follow_losses(client, visible, losses)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
