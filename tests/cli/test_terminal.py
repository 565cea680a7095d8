"""The command on a real pseudo-terminal: what a person sees, as an emulator shows it."""

from __future__ import annotations

import asyncio
import io
import re
import signal
from functools import partial
from typing import Any

import pytest
from rich.console import Console

from dashscope_ft_async import FineTuneClient, NotFoundError
from dashscope_ft_async.cli.live.display import live
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.tracker import JobTracker
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.terminal import Terminal


def on(service: Simulator, *arguments: str, columns: int = 80, lines: int = 24, **more: str) -> Terminal:
    environment = {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": service.base_url, **more}
    return Terminal(arguments, columns, lines, environment)


async def test_watch_all_shows_an_account_and_leaves_the_screen_as_it_was(service: Simulator) -> None:
    log = [(0, f"{{'loss': {loss}}}") for loss in (2.5, 1.5, 0.8)]
    made: dict[str, Any] = {"job_name": "客服问答", "model": "qwen3-14b"}
    running = service.add_job([(0, "RUNNING")], log=log, output_cnt=1, max_output_cnt=4, **made)
    first = service.add_job([(0, "QUEUING")])
    second = service.add_job([(0, "PENDING")], create_time="2099-01-06 10:00:00")
    async with on(service, "watch", "--all") as terminal:
        text = await terminal.until(lambda text: "0.8000" in text and "connection ok" in text)
        assert re.search(rf"^{running}  RUNNING  0:00:0\d +1/4  0\.8000 █▄▁ ", text, re.MULTILINE)
        assert re.search(rf"^{first}  QUEUING  0:00:0\d  1st of 2 in queue ", text, re.MULTILINE)
        assert re.search(rf"^{second}  PENDING  0:00:0\d  2nd of 2 in queue ", text, re.MULTILINE)
        assert text.splitlines()[0] == "3 jobs  1 RUNNING  1 QUEUING  1 PENDING"
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.process.wait() == 130
        text = await terminal.until(lambda text: "dashscope-ft watch" in text)
        assert "connection" not in text
        assert "0.8000" not in text


def fills(lines: int, text: str) -> bool:
    return text.startswith("60 jobs") and len(text.splitlines()) == lines


async def test_a_screen_that_changes_its_size_is_drawn_anew(service: Simulator) -> None:
    for _ in range(60):
        service.add_job([(0, "RUNNING")], model="qwen3-14b")
    async with on(service, "watch", "--all", columns=120, lines=40) as terminal:
        wide = await terminal.until(lambda text: "connection ok" in text and "RUNNING" in text)
        assert "MODEL" in wide
        assert len(wide.splitlines()) == 39
        for columns, lines in ((80, 24), (40, 10), (100, 30)):
            terminal.resize(columns, lines)
            text = await terminal.until(partial(fills, lines - 1))
            assert text.count("60 jobs") == text.count("connection") == 1


async def test_a_narrower_screen_keeps_the_errors_above_the_view(service: Simulator) -> None:
    jobs = [service.add_job([(0, "RUNNING")], model="qwen3-14b") for _ in range(3)]
    async with on(service, "watch", *jobs, "ft-absent", columns=120, lines=40) as terminal:
        await terminal.until(lambda text: text.startswith("error: ") and text.count("RUNNING") == 4)
        terminal.resize(60, 40)
        text = await terminal.until(lambda text: "MODEL" not in text and "connection" in text)
        assert text.startswith("error: ")
        assert text.count("4 jobs") == text.count("connection") == 1


async def test_what_goes_wrong_is_told_in_the_line_about_the_connection(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    service.add_job([(0, "RUNNING")])
    async with on(service, "watch", "--all") as terminal:
        await terminal.until(lambda text: "connection ok" in text)
        service.fail_next(*[Fault.error(500, "InternalError", "try later \x1b[2J")] * 50)
        text = await terminal.until(lambda text: "InternalError" in text)
        assert re.search(
            r"^connection outage for 0:00:0\d · \d+ requests, \d+ failed · InternalError",
            text,
            re.MULTILINE,
        )
        assert job_id in text


async def test_one_job_fills_a_panel_and_its_end_is_told_on_stdout(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING")], job_name="客服问答")
    async with on(service, "watch", job_id) as terminal:
        text = await terminal.until(lambda text: "RUNNING for" in text)
        assert "name         客服问答" in re.sub(r"(?<=[客服问答]) ", "", text)
        service.set_status(job_id, "SUCCEEDED", finetuned_output="qwen3-14b-mine")
        assert await terminal.process.wait() == 0
        text = await terminal.until(lambda text: "qwen3-14b-mine" in text)
        assert "connection" not in text


async def test_ctrl_z_shows_the_cursor_again_until_the_view_continues(service: Simulator) -> None:
    service.add_job([(0, "RUNNING")])
    async with on(service, "watch", "--all") as terminal:
        await terminal.until(lambda text: "connection ok" in text)
        assert terminal.screen.cursor.hidden
        terminal.process.send_signal(signal.SIGTSTP)
        await terminal.until(lambda _: not terminal.screen.cursor.hidden)
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.until(lambda _: terminal.screen.cursor.hidden)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
async def test_a_terminal_without_blocks_gets_ascii(encoding: str, service: Simulator) -> None:
    log = [(0, f"{{'loss': {loss}}}") for loss in (2.5, 1.5, 0.8)]
    service.add_job([(0, "RUNNING")], log=log, model="通义")
    service.add_job([(0, "QUEUING")])
    async with on(service, "watch", "--all", PYTHONIOENCODING=encoding) as terminal:
        text = await terminal.until(lambda text: "0.8000" in text)
        assert "0.8000 #:_" in text
        assert "\\u" not in text
        assert text.isascii()


async def test_without_colour_words_are_enough(service: Simulator) -> None:
    service.add_job([(0, "RUNNING")])
    service.add_job([(0, "QUEUING")])
    async with on(service, "watch", "--all", NO_COLOR="1") as terminal:
        await terminal.until(lambda text: "connection ok" in text)
        cells = [char for line in terminal.screen.buffer.values() for char in line.values()]
        assert {char.fg for char in cells} == {"default"}


async def test_the_demo_shows_losses_checkpoints_and_a_connection() -> None:
    async with Terminal(["demo", "--speed", "4"], 80, 24, {}) as terminal:
        text = await terminal.until(lambda text: "▁" in text and "in queue" in text and "/4" in text)
        assert "6 simulated jobs" in text
        assert "6 jobs" in text
        await terminal.until(lambda text: "connection throttled" in text)
        text = await terminal.until(lambda text: "Result:" in text)
        assert await terminal.process.wait() == 0
        text = await terminal.until(lambda text: "dashscope-ft watch --all" in text)
        assert "6 jobs followed to their ends" in text
        assert "Logs, for the losses shown: " in text
        assert "connection ok" not in text


async def test_a_picture_of_the_screen_needs_nothing_from_elsewhere(service: Simulator) -> None:
    service.add_job([(0, "RUNNING")], job_name="客服问答")
    async with on(service, "watch", "--all") as terminal:
        await terminal.until(lambda text: "connection ok" in text)
        svg = terminal.svg("watch")
    assert "客服问答" in svg
    assert "RUNNING" in svg
    assert "url(" not in svg.replace("url(#", "")
    assert "@font-face" not in svg
    assert KEY not in svg


async def test_jobs_that_come_later_join_at_the_end(service: Simulator) -> None:
    first = service.add_job([(0, "RUNNING")])
    async with on(service, "watch", "--all", "--refresh", "0.2") as terminal:
        await terminal.until(lambda text: "RUNNING" in text)
        later = service.add_job([(0, "QUEUING")])
        text = await terminal.until(lambda text: later in text)
        assert text.index(first) < text.index(later)
        assert await asyncio.wait_for(terminal.until(lambda text: "2 jobs" in text), 10)


# --- in this process --------------------------------------------------------------------------------


def screen_of(width: int, height: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=width, height=height), out


@pytest.mark.looptime
async def test_only_what_changes_is_drawn(client: FineTuneClient) -> None:
    console, out = screen_of(80, 24)
    tracker = JobTracker(["ft-a", "ft-b"], 0.0)
    for job_id in tracker.rows:
        tracker.record_error(job_id, NotFoundError("no such job", status=404))
    async with live(console, tracker, client, Health(lambda: 0.0)):
        await asyncio.sleep(100)
        assert out.getvalue().count("no such job") == 2
        console.width = 60
        await asyncio.sleep(1)
        assert out.getvalue().count("no such job") == 4
    assert "\x1b[2J" not in out.getvalue()


@pytest.mark.looptime
async def test_what_is_no_id_has_no_next_look_and_ends_nothing(client: FineTuneClient) -> None:
    console, out = screen_of(80, 24)
    async with live(console, JobTracker(["ft b", "ft-a"], 0.0), client, Health(lambda: 0.0)):
        await asyncio.sleep(1)
    assert "ft b" in out.getvalue()


@pytest.mark.looptime
async def test_an_old_console_of_windows_gets_no_sequence_that_it_would_show(
    client: FineTuneClient,
) -> None:
    for legacy in (False, True):
        console, out = screen_of(80, 24)
        console.legacy_windows = legacy
        async with live(console, JobTracker(["ft-a"], 0.0), client, Health(lambda: 0.0)):
            await asyncio.sleep(1)
        assert ("\x1b[?2026h" in out.getvalue()) is not legacy
