"""The command: exit codes, JSON lines, and what it never says."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from dashscope_ft_async import (
    APIConnectionError,
    ConfigurationError,
    FineTuneJob,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    RateLimitError,
    WaitTimeoutError,
)
from dashscope_ft_async.cli import commands, main, show, view
from dashscope_ft_async.cli.board import Board
from dashscope_ft_async.cli.commands import dashscope_ft
from dashscope_ft_async.cli.lines import PlainLines
from dashscope_ft_async.cli.outcome import Exit, exit_of, go_on_line, most_serious
from dashscope_ft_async.cli.show import Shown, Terminals
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.hub_world import job

MAIN = "from dashscope_ft_async.cli import main; main()"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator in a loop of its own, and an environment that leads to it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    simulator = Simulator(api_key=KEY)

    async def start() -> None:
        await simulator.__aenter__()
        simulator.add_job([(0, "SUCCEEDED")], job_id="good")
        simulator.add_job([(0, "FAILED")], job_id="failed", code="DataError", message="no valid example")
        simulator.add_job([(0, "CANCELED")], job_id="canceled")
        simulator.add_job([(0, "RUNNING")], job_id="running")
        simulator.add_job([(0, "RUNNING")], job_id="stalled", faults=[Fault.stall()] * 3)

    asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", simulator.base_url)
    yield simulator
    asyncio.run_coroutine_threadsafe(simulator.__aexit__(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def run(*words: str) -> Result:
    result = CliRunner().invoke(dashscope_ft, words)
    assert KEY not in result.output
    return result


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["wait", "good"], 0),
        (["wait", "good", "failed"], 1),
        (["wait", "canceled", "good"], 3),
        (["wait", "canceled", "failed"], 1),
        (["wait", "--timeout", "0", "running"], 4),
        (["wait", "not-there", "good"], 5),
        (["wait", "a/b", "good"], 2),
        (["wait"], 2),
        (["wait", "--timeout", "nan", "good"], 2),
        (["wait", "--timeout", "1", "--no-timeout", "good"], 2),
        (["wait", "--region", "mars", "--base-url", "x", "good"], 2),
        (["get", "good"], 0),
        (["get", "failed"], 0),
        (["get", "not-there"], 5),
        (["get", "--timeout", "0.1", "stalled"], 4),
        (["get", "--base-url", "http://127.0.0.1:1", "good"], 6),
        (["--version"], 0),
        (["wait", "--help"], 0),
    ],
    ids=str,
)
@pytest.mark.usefixtures("elsewhere")
def test_the_exit_code_tells_the_outcome(words: list[str], code: int) -> None:
    result = run(*words)

    assert result.exit_code == code, result.output


def test_without_a_key_it_says_where_to_put_one() -> None:
    result = run("get", "ft-1")

    assert (result.exit_code, "DASHSCOPE_API_KEY" in result.stderr) == (2, True)


@pytest.mark.usefixtures("elsewhere")
def test_a_wrong_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong0123456789")

    result = run("wait", "-v", "good")

    assert (result.exit_code, "sk-wrong" in result.output) == (5, False)


@pytest.mark.usefixtures("elsewhere")
def test_into_a_pipe_each_change_is_one_json_object() -> None:
    told = lines(run("wait", "good", "not-there"))
    by_id = {line["job_id"]: line for line in told}

    assert (by_id["good"]["event"], by_id["good"]["exit_code"]) == ("ended", 0)
    assert by_id["good"]["job"]["end_time"].startswith("2026-01-05T")
    assert (by_id["not-there"]["event"], by_id["not-there"]["status"]) == ("error", None)
    assert by_id["not-there"]["error"]["type"] == "NotFoundError"
    assert by_id["not-there"]["error"]["http_status"] == 404


@pytest.mark.usefixtures("elsewhere")
def test_on_a_terminal_people_see_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commands, show):
        monkeypatch.setattr(module, "terminals", lambda: Terminals(stdout=True, stderr=True))

    waited = run("wait", "good", "failed")
    got = run("get", "good")

    assert re.search(r"failed .*FAILED .*DataError: no valid example", waited.stdout)
    assert re.search(r"status\s+SUCCEEDED", got.stdout)


@pytest.mark.usefixtures("elsewhere")
def test_with_only_stdout_a_terminal_changes_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commands, show):
        monkeypatch.setattr(module, "terminals", lambda: Terminals(stdout=True, stderr=False))

    assert re.search(r"s  good  SUCCEEDED", run("wait", "good").stdout)


def test_which_views_there_are() -> None:
    assert Terminals(stdout=True, stderr=True).views(json=False) == Shown(True, False, False)
    assert Terminals(stdout=True, stderr=True).views(json=True) == Shown(False, True, False)
    assert Terminals(stdout=False, stderr=True).views(json=True) == Shown(True, True, False)
    assert Terminals(stdout=False, stderr=False).views(json=False) == Shown(False, False, True)
    assert isinstance(show.terminals(), Terminals)


@pytest.mark.parametrize("words", [["demo"], ["demo", "--json"]], ids=" ".join)
def test_the_demo_says_what_happened(words: list[str]) -> None:
    result = run(*words, "--speed", "20")

    assert result.exit_code == 0, result.output
    if "--json" in words:
        summary = lines(result)[-1]
        assert summary["event"] == "summary"
        assert set(summary["jobs"].values()) == {"SUCCEEDED", "FAILED", "CANCELED"}
        assert summary["failures_survived"]
    else:
        assert "Failures survived:" in result.stdout
        assert "Requests:" in result.stdout


@pytest.mark.usefixtures("elsewhere")
def test_ctrl_c_is_clean_and_says_how_to_go_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "wait", "--timeout", "99", "running"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the first snapshot is here: the wait is on

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "dashscope-ft wait --timeout 99 running" in stderr
    assert "Traceback" not in stderr


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", "--json", "--speed", "20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    process.stderr.close()

    assert process.wait(20) == 141
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("missing", "raised"), [("rich", SystemExit), ("numpy", ModuleNotFoundError)])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    raised: type[BaseException],
) -> None:
    monkeypatch.delitem(sys.modules, "dashscope_ft_async.cli.commands")

    class Absent:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "dashscope_ft_async.cli.commands":
                raise ModuleNotFoundError(name=missing)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(raised):
        main()

    assert ("pip install 'dashscope-ft-async[cli]'" in capsys.readouterr().err) is (missing == "rich")


def test_main_runs_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["dashscope-ft", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert (ended.value.code, "0." in capsys.readouterr().out) == (0, True)


# --- decisions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (job("ft-1", JobStatus.SUCCEEDED), Exit.SUCCEEDED),
        (job("ft-1", JobStatus.CANCELED), Exit.CANCELED),
        (job("ft-1", JobStatus.UNRECOGNIZED), Exit.FAILED),
        (ConfigurationError(), Exit.USAGE),
        (WaitTimeoutError(), Exit.TIMED_OUT),
        (JobVanishedError(), Exit.REFUSED),
        (NotFoundError(status=404), Exit.REFUSED),
        (RateLimitError(status=429), Exit.UNREACHABLE),
        (APIConnectionError(), Exit.UNREACHABLE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_outcome_has_its_code(outcome: Any, code: Exit) -> None:
    assert exit_of(outcome) is code


def test_the_most_serious_outcome_wins() -> None:
    assert most_serious([Exit.TIMED_OUT, Exit.REFUSED, Exit.CANCELED]) is Exit.CANCELED
    assert most_serious([]) is Exit.SUCCEEDED


def test_the_line_to_go_on_is_quoted_for_a_shell() -> None:
    assert go_on_line(["--workspace", "a b"], ["x", "-y"]) == "dashscope-ft wait --workspace 'a b' -- x -y"
    assert commands.Access("u", None, "w", True, True).words() == [
        "--base-url", "u", "--workspace", "w", "--json", "--verbose",
    ]  # fmt: skip


def test_a_crowd_is_cut_to_the_room_there_is_with_those_that_go_on_first() -> None:
    board = Board([f"ft-{n}" for n in range(9)], 0.0)
    board.ended(job("ft-0", JobStatus.SUCCEEDED, model="m", finetuned_output="out"), 5.0)
    board.seen(job("ft-1", JobStatus.UNRECOGNIZED, raw_status="NEW\nWORD"), 5.0)
    board.gave_up("ft-2", NotFoundError("gone", status=404, code="NotFound"))
    board.gave_up("ft-3", WaitTimeoutError("the wait timed out"))
    console = Console(width=100, file=io.StringIO(), record=True)

    console.print(view.live_table(board, 65.0, 5, "weather"))
    console.print(view.final_table(board))

    text = console.export_text()
    assert "4 more not shown" in text
    assert "weather" in text
    assert "NEW WORD" in text
    assert "NotFound: gone" in text
    assert board.pending == ["ft-1", "ft-4", "ft-5", "ft-6", "ft-7", "ft-8"]


def test_plain_lines_align(capsys: pytest.CaptureFixture[str]) -> None:
    board = Board(["a", "longer"], time.monotonic())

    PlainLines(board).tell(board.seen(job("a"), time.monotonic()))

    assert capsys.readouterr().out == "   0.0 s  a       RUNNING\n"


async def test_the_live_table_leaves_no_task() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    async with view.live(console, Board(["ft-1"], 0.0), lambda: "caption"):
        await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == 1
    with suppress(ValueError), view.logs(console, logging.INFO):
        logging.getLogger("dashscope_ft_async").info("told")
        raise ValueError
    assert isinstance(job("x"), FineTuneJob)
