"""The live view on the terminal: refreshed in place while jobs run, erased at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.live.losses import Losses, follow_losses
from dashscope_ft_async.cli.live.screen import render_screen, rows_on
from dashscope_ft_async.cli.live.state import LiveState
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.errors import ConfigurationError

_REFRESH = 0.25


@contextmanager
def _synchronized(console: Console) -> Generator[None, None, None]:
    """Ask the terminal to show all that is written in the block at once, or it would flicker.

    Terminals without synchronized output (DEC mode 2026) ignore the request.
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


@contextmanager
def _suspendable(console: Console, on_resume: Callable[[], None]) -> Generator[None, None, None]:
    """Show the cursor while Ctrl-Z has stopped the process. Call `on_resume` when it continues."""

    def suspend() -> None:
        console.show_cursor(True)
        console.file.flush()
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when the process continues
        console.show_cursor(False)
        on_resume()

    loop = asyncio.get_running_loop()
    is_handled = False
    # Not on Windows, not in another thread than the main one, and not where the shell ignores Ctrl-Z.
    with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            loop.add_signal_handler(signal.SIGTSTP, suspend)
            is_handled = True
    try:
        yield
    finally:
        if is_handled:
            loop.remove_signal_handler(signal.SIGTSTP)


@asynccontextmanager
async def live(
    console: Console, tracker: JobTracker, client: FineTuneClient, health: Health
) -> AsyncGenerator[None, None]:
    """Show `tracker` on the terminal, with the losses of running jobs, which `client` reads."""
    losses: dict[str, Losses] = {}
    cells = CellFormatter(console.encoding)

    def next_poll(job_id: str) -> float | None:
        try:
            return client.next_poll(job_id)
        except ConfigurationError:
            return None  # not a job id; the wait reports it

    def height() -> int:
        return console.height - 1  # the command line above stays visible

    def visible() -> list[Row]:
        return rows_on(tracker, height())

    # Refreshed by the event loop: rich's own thread would read the tracker while it changes.
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as display:
        before: list[Text] | None = None

        async def refresh() -> None:
            nonlocal before
            while True:
                state = LiveState(tracker, health, losses, next_poll, time.monotonic())
                lines = render_screen(state, console.width, height(), cells)
                # After a resize, a terminal may keep wrapped lines of a wider view above this one. They
                # cannot be erased, because errors are above the view too.
                if lines != before:
                    with _synchronized(console):
                        display.update(Group(*lines), refresh=True)
                before = lines
                await asyncio.sleep(_REFRESH)

        def redraw() -> None:
            nonlocal before
            before = None

        tasks = [
            asyncio.create_task(refresh()),
            asyncio.create_task(follow_losses(client, visible, losses)),
        ]
        try:
            with _suspendable(console, redraw):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
