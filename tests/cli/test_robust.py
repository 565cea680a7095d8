"""What ends a command in an unusual way has a code and a word of its own, never those of a job's end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashscope_ft_async.cli import commands, jobs, options
from dashscope_ft_async.testing import Fault
from tests.conftest import KEY
from tests.support.cli_service import Service, lines_of, process_of, run

ENDED = [(0.0, "SUCCEEDED")]


pytestmark = pytest.mark.usefixtures("quick_client")


def ran(shell: str, *args: str) -> subprocess.CompletedProcess[str]:
    """The command, its streams as `shell` leads them."""
    line = ["sh", "-c", f'exec "$@" {shell}', "sh", *process_of(*args)]
    env = {**os.environ, "DASHSCOPE_API_KEY": KEY}
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False, env=env)


# --- streams that cannot be used --------------------------------------------------------------------


def test_a_full_disk_behind_stdout_is_no_failed_job(server: Service) -> None:
    done = ran(">/dev/full", "wait", "--base-url", server.url, server.add_job(ENDED))
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device\n"


def test_a_full_disk_behind_the_record_changes_no_exit_code(server: Service) -> None:
    done = ran("", "wait", "--base-url", server.url, "--record", "/dev/full", server.add_job(ENDED))
    assert done.returncode == 0
    assert done.stderr == "error: the record ends here: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_harms_nothing(server: Service, closed: str) -> None:
    assert ran(closed, "wait", "--base-url", server.url, server.add_job(ENDED)).returncode == 0
    assert ran(closed, "list", "--base-url", server.url).returncode == 0
    assert ran(closed, "wait", "--base-url", server.url, "-").returncode == 0


def test_a_fault_of_the_command_itself_is_no_failed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "JobTracker", broken)
    result = CliRunner().invoke(commands.dashscope_ft, ["get", "ft-1"])
    assert result.exit_code == 70
    assert "ZeroDivisionError" in result.stderr


# --- odd input --------------------------------------------------------------------------------------


def test_json_too_deep_to_read_is_a_usage_error() -> None:
    deep = "[" * 100_000
    assert run("wait", "-", stdin=f'{{"a":{deep}\n').exit_code == 2
    assert run("create", "--model", "m", "--training-dataset", deep).exit_code == 2


def test_a_record_can_be_piped_into_wait(server: Service, tmp_path: Path) -> None:
    record = tmp_path / "wait.jsonl"
    job_id = server.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")], faults=[Fault.error(429, "Throttling")])
    run("wait", "--base-url", server.url, "--record", str(record), job_id)
    lines = record.read_text(encoding="ascii")
    assert '"job_id": null' in lines
    assert run("wait", "--base-url", server.url, "-", stdin=lines).exit_code == 0


def test_a_record_that_was_cut_loses_no_further_line(server: Service, tmp_path: Path) -> None:
    record = tmp_path / "wait.jsonl"
    record.write_text('{"schema": 1, "ev', encoding="ascii")
    run("wait", "--base-url", server.url, "--record", str(record), server.add_job(ENDED))
    cut, *lines = record.read_text(encoding="ascii").splitlines()
    assert cut == '{"schema": 1, "ev'
    assert [line["event"] for line in lines_of("\n".join(lines))] == ["request", "ended"]


# --- no answer --------------------------------------------------------------------------------------


def test_a_create_without_an_answer_says_that_the_job_may_be_there(server: Service) -> None:
    server.simulator.fail_next(Fault.stall())
    asked = ["--model", "m", "--training-file", "f", "--timeout", "0.2"]
    result = run("create", "--base-url", server.url, *asked)
    assert result.exit_code == 4
    assert "may have been created" in result.stderr
    assert "wait again" not in result.stderr


@pytest.mark.parametrize("command", [["cancel"], ["delete", "--yes"]])
def test_what_has_an_effect_says_without_an_answer_that_it_may_be_done(
    server: Service, command: list[str]
) -> None:
    job_id = server.add_job([(0, "QUEUING")])
    server.simulator.fail_next(Fault.stall())
    result = run(*command, "--base-url", server.url, "--timeout", "0.2", job_id)
    assert result.exit_code == 4
    assert "may have been " in result.stderr


def test_a_list_without_an_answer_ends_wait_all_in_time(server: Service) -> None:
    server.simulator.fail_next(Fault.stall())
    result = run("wait", "--all", "--base-url", server.url, "--timeout", "0.2")
    assert result.exit_code == 4
    (line,) = lines_of(result.stdout)
    assert (line["event"], line["exit_code"]) == ("error", 4)


@pytest.mark.parametrize("command", [["watch", "--all"], ["wait", "--all"]])
def test_a_refused_list_is_told_to_programs_too(server: Service, command: list[str]) -> None:
    server.simulator.fail_next(Fault.error(401, "InvalidApiKey", "no"))
    result = run(*command, "--base-url", server.url)
    (line,) = lines_of(result.stdout)
    assert (line["event"], line["exit_code"], result.exit_code) == ("error", 5, 5)


# --- interruption -----------------------------------------------------------------------------------


def test_ctrl_c_at_a_question_is_an_interruption_and_no_an_answer(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(options.ServiceOptions, "as_json", False)
    job_id = server.add_job(ENDED)
    assert run("delete", "--base-url", server.url, job_id, stdin="n\n").exit_code == 1
    assert run("delete", "--base-url", server.url, job_id, stdin="").exit_code == 130
    monkeypatch.setattr("click.confirm", interrupted)
    assert run("delete", "--base-url", server.url, job_id).exit_code == 130


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_the_first_list_says_how_to_go_on(sent: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api/v1"
        with subprocess.Popen(
            process_of("wait", "--all", "--base-url", url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DASHSCOPE_API_KEY": KEY},
        ) as process:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4) == b"GET "
                process.send_signal(sent)
                _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.splitlines()[-1].split() == ["dashscope-ft", "wait", "--base-url", url, "--all"]


@pytest.mark.parametrize("command", [["simulate"], ["watch", "--all"]])
def test_sigterm_ends_a_command_that_a_shell_started_in_the_background(
    server: Service, command: list[str]
) -> None:
    server.add_job([(0, "RUNNING")])
    # A shell starts `command &` of a script with SIGINT ignored.
    with subprocess.Popen(
        [sys.executable, "-m", "dashscope_ft_async", *command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": server.url},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 130


# --- proxy ------------------------------------------------------------------------------------------


@contextmanager
def proxy() -> Generator[tuple[str, list[str]], None, None]:
    """A proxy that refuses everything; its URL, and the first lines of the requests that it got."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.requestline)
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()
        thread.join()


def test_requests_go_through_the_proxy_of_the_option_or_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with proxy() as (url, seen):
        run("get", "--base-url", "http://127.0.0.1:1", "--proxy", url, "ft-1")
        monkeypatch.setenv("DASHSCOPE_PROXY", url)
        run("get", "--base-url", "http://127.0.0.1:1", "ft-2")
    asked = {line.split()[1] for line in seen}
    assert asked == {f"http://127.0.0.1:1/api/v1/fine-tunes/{job_id}" for job_id in ("ft-1", "ft-2")}


def test_a_password_of_a_proxy_on_the_command_line_is_refused() -> None:
    result = run("get", "--proxy", "http://me:secret@proxy:3128", "ft-1")
    assert result.exit_code == 2
    assert "DASHSCOPE_PROXY" in result.stderr
    assert "secret" not in result.stderr


# --- messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--base-url", "ftp://x"], {}),
        (["--base-url", "http://example.com"], {}),
        ([], {"DASHSCOPE_BASE_URL": "http://example.com"}),
        (["--region", "atlantis"], {}),
        (["--region", "eu-central-1"], {}),
        (["--base-url", "https://example.com", "--region", "cn-beijing"], {}),
        (["--workspace", "a b"], {}),
        (["--workspace", "sk-0123456789abcdef0123456789abcdef"], {}),
        (["--proxy", "nonsense"], {}),
        ([], {"DASHSCOPE_API_KEY": ""}),
        ([], {"DASHSCOPE_API_KEY": "LTAI5tExampleExample"}),
    ],
)
def test_messages_name_the_option_or_variable_and_no_python(
    arguments: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run("get", *arguments, "ft-1")
    assert result.exit_code == 2
    assert not re.search(r"base_url|(?<!/)api_key|\w=|allow_insecure", result.stderr), result.stderr


def test_without_a_connection_the_message_ends_with_the_command_that_says_why() -> None:
    result = run("get", "--base-url", "http://127.0.0.1:1", "ft-1")
    assert result.stderr.endswith("`dashscope-ft doctor` says why.\n")


# --- deep answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [900, 990, 1010, 5000])
def test_an_answer_nested_a_thousand_deep_gives_no_traceback(
    server: Service, tmp_path: Path, depth: int
) -> None:
    deep: object = 1
    for _ in range(depth):
        deep = [deep]
    job_id = server.add_job(ENDED, deep=deep)
    record = str(tmp_path / "record.jsonl")
    for command in (["get", job_id], ["list"], ["wait", "--timeout", "2", "--record", record, job_id]):
        result = run(command[0], "--base-url", server.url, *command[1:])
        assert result.exit_code in (0, 6), result.output
