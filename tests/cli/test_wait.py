from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from rich.console import Console

from dashscope_ft_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CheckpointError,
    ConfigurationError,
    DashScopeFTError,
    FineTuneJob,
    InternalServerError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    WaitTimeoutError,
    __version__,
    cli,
)
from dashscope_ft_async.cli import commands, options, terminal, views, waits
from dashscope_ft_async.cli.exit_codes import ExitCode, exit_code_of, most_serious, resume_command
from dashscope_ft_async.cli.follow import follow
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.output import PlainLines, row_json
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.cli.views import Terminals, ViewKinds
from dashscope_ft_async.testing import Fault
from tests.conftest import KEY
from tests.support.cli_service import Json, Service, lines_of, process_of, run

ENDED = [(0.0, "SUCCEEDED")]


pytestmark = pytest.mark.usefixtures("quick_client")


def job_of(status: JobStatus = JobStatus.RUNNING, **fields: Any) -> FineTuneJob:
    given: Json = {"job_id": "ft-1", "status": status, "raw_status": status.value}
    return FineTuneJob(**(given | fields))


# --- exit codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (job_of(JobStatus.SUCCEEDED), 0),
        (job_of(JobStatus.FAILED), 1),
        (job_of(JobStatus.UNRECOGNIZED, raw_status="EXPLODED"), 1),
        (ConfigurationError("bad id"), 2),
        (job_of(JobStatus.CANCELED), 3),
        (WaitTimeoutError("too late"), 4),
        (AuthenticationError(status=401), 5),
        (PermissionDeniedError(status=403), 5),
        (NotFoundError(status=404), 5),
        (BadRequestError(status=400), 5),
        (APIStatusError(status=410), 5),
        (APIStatusError(status=302), 5),
        (JobVanishedError("gone"), 5),
        (CheckpointError("unsupported"), 5),
        (NotFoundError(status=404, json_body=False), 6),
        (RateLimitError(status=429), 6),
        (InternalServerError(status=500), 6),
        (APIConnectionError("refused"), 6),
        (APITimeoutError("slow"), 6),
        (OutageError("long"), 6),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_each_outcome_has_its_exit_code(outcome: FineTuneJob | DashScopeFTError, code: int) -> None:
    assert exit_code_of(outcome) == code


def test_of_several_outcomes_the_most_serious_gives_the_exit_code() -> None:
    order = [1, 3, 2, 5, 6, 4, 0]
    for place, code in enumerate(order):
        assert most_serious(ExitCode(each) for each in reversed(order[place:])) == code
    assert most_serious([]) == 0


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 3)])
def test_wait_exits_by_how_the_job_ended(server: Service, status: str, code: int) -> None:
    job_id = server.add_job([(0, status)])
    assert run("wait", "--base-url", server.url, job_id).exit_code == code


def test_one_bad_id_does_not_stop_the_others(server: Service) -> None:
    job_id = server.add_job(ENDED)
    result = run("wait", "--base-url", server.url, "a/b", job_id, "ft-absent", job_id)
    events = {line["job_id"]: line for line in lines_of(result.stdout)}
    assert result.exit_code == 2
    assert [events[each]["event"] for each in ("a/b", job_id, "ft-absent")] == ["error", "ended", "error"]
    assert [events[each]["exit_code"] for each in ("a/b", job_id, "ft-absent")] == [2, 0, 5]
    assert len(result.stderr.splitlines()) == 2
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_timeout_zero_asks_once_and_exits_4(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    result = run("wait", "--base-url", server.url, "--timeout", "0", job_id)
    assert result.exit_code == 4
    assert lines_of(result.stdout)[-1]["status"] == "RUNNING"
    assert server.simulator.polls(job_id) == 1


def test_no_timeout_waits_on(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.1, "SUCCEEDED")])
    assert run("wait", "--base-url", server.url, "--no-timeout", job_id).exit_code == 0


def test_a_refused_key_exits_5_and_is_never_shown(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = server.add_job(ENDED)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    for command in ("wait", "get"):
        result = run(command, "-v", "--base-url", server.url, job_id)
        assert result.exit_code == 5
        assert "InvalidApiKey" in result.stderr
        assert "sk-wrong" not in result.output


def test_a_job_that_vanishes_exits_5(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    timer = threading.Timer(0.15, server.remove_job, [job_id])
    timer.start()
    result = run("wait", "--base-url", server.url, job_id)
    timer.join()
    assert result.exit_code == 5
    assert lines_of(result.stdout)[-1]["error"]["type"] == "JobVanishedError"


@pytest.mark.parametrize("command", ["wait", "get"])
def test_a_service_that_is_not_there_exits_6(command: str) -> None:
    result = run(command, "--base-url", "http://127.0.0.1:1", "ft-1")
    assert result.exit_code == 6
    assert "Check the base URL" in result.stderr


def test_an_outage_exits_6_with_what_was_known(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")], faults=[Fault.error(500)] * 1000)
    result = run("wait", "--base-url", server.url, job_id)
    assert result.exit_code == 6
    assert lines_of(result.stdout)[-1]["error"]["type"] == "OutageError"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Usage"),
        (["wait"], "give job ids"),
        (["wait", "--all", "ft-1"], "give job ids"),
        (["watch"], "give job ids"),
        (["wait", "--record", "/", "ft-1"], "--record"),
        (["wait", "--timeout", "-1", "ft-1"], "--timeout"),
        (["wait", "--timeout", "nan", "ft-1"], "finite"),
        (["wait", "--timeout", "1", "--no-timeout", "ft-1"], "not both"),
        (["wait", "--base-url", "https://example.com", "--region", "cn-beijing", "ft-1"], "not both"),
        (["wait", "--region", "atlantis", "ft-1"], "unknown region"),
        (["wait", "--api-key", "secret", "ft-1"], "No such option"),
        (["--region", "cn-beijing", "get", "ft-1"], "after the name of a command"),
        (["get", "a b"], "is not a job id"),
        (["get", "--timeout", "0", "ft-1"], "--timeout"),
    ],
)
def test_usage_exits_2(args: list[str], said: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("command", ["wait", "watch", "get"])
def test_a_missing_key_exits_2_in_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    result = run(command, "ft-1")
    assert result.exit_code == 2
    (line,) = lines_of(result.stdout)
    assert (line["event"], line["job_id"], line["exit_code"]) == ("error", None, 2)
    assert len(result.stderr.splitlines()) == 1
    assert "set DASHSCOPE_API_KEY" in result.stderr
    assert "~/.dashscope/api_key" in result.stderr
    assert "api_key=" not in result.stderr


# --- what is written --------------------------------------------------------------------------------


def test_a_pipe_gets_a_json_line_per_change_and_end(server: Service) -> None:
    job_id = server.add_job([(0, "PENDING"), (0.15, "RUNNING"), (0.4, "SUCCEEDED")])
    result = run("wait", "--base-url", server.url, job_id)
    lines = lines_of(result.stdout)
    assert [(line["event"], line["status"], line["exit_code"]) for line in lines] == [
        ("update", "PENDING", None),
        ("update", "RUNNING", None),
        ("ended", "SUCCEEDED", 0),
    ]
    job = lines[-1]["job"]
    assert set(job) == set(attrs.fields_dict(FineTuneJob))
    assert job["usage"] == 279_808
    assert datetime.fromisoformat(job["end_time"]) >= datetime.fromisoformat(job["create_time"])
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in lines)
    assert result.stderr == ""


def test_an_error_line_carries_the_facts_and_the_last_snapshot() -> None:
    tracker = JobTracker(["ft-1"], now=0.0)
    tracker.record_snapshot(job_of(), 1.0)
    error = NotFoundError("no such job", status=404, code="NotFound", request_id="r-1", job_id="ft-1")
    line = row_json(tracker.record_error("ft-1", error), datetime(2026, 1, 5, tzinfo=UTC))
    assert (line["event"], line["status"], line["exit_code"]) == ("error", "RUNNING", 5)
    assert line["time"] == "2026-01-05T00:00:00.000+00:00"
    message = line["error"].pop("message")
    assert message.startswith("NotFound: no such job")
    assert line["error"] == {
        "type": "NotFoundError",
        "http_status": 404,
        "code": "NotFound",
        "request_id": "r-1",
    }


def test_get_writes_one_json_line_and_exits_0_whatever_the_status(server: Service) -> None:
    for status, event in (("RUNNING", "update"), ("FAILED", "ended")):
        job_id = server.add_job([(0, status)])
        result = run("get", "--base-url", server.url, job_id)
        (line,) = lines_of(result.stdout)
        assert (line["event"], line["status"]) == (event, status)
        assert result.exit_code == 0


def test_get_gives_up_in_time(server: Service) -> None:
    job_id = server.add_job(ENDED, faults=[Fault.stall()])
    result = run("get", "--base-url", server.url, "--timeout", "0.1", job_id)
    assert result.exit_code == 4
    assert "no answer" in result.stderr


def test_verbose_logs_one_line_each_to_stderr(server: Service) -> None:
    job_id = server.add_job(ENDED)
    result = run("wait", "-v", "--json", "--base-url", server.url, job_id)
    assert f"INFO job {job_id}: first seen -> SUCCEEDED" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(lines_of(result.stdout)) == 1


# --- on a terminal ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "stderr", "as_json", "shown"),
    [
        (True, True, False, ViewKinds(live=True, json=False, plain=False)),
        (True, True, True, ViewKinds(live=False, json=True, plain=False)),
        (False, True, True, ViewKinds(live=True, json=True, plain=False)),
        (False, False, True, ViewKinds(live=False, json=True, plain=False)),
        (True, False, False, ViewKinds(live=False, json=False, plain=True)),
        (False, True, False, ViewKinds(live=True, json=False, plain=True)),
    ],
)
def test_views_fit_where_the_output_goes(
    stdout: bool, stderr: bool, as_json: bool, shown: ViewKinds
) -> None:
    assert Terminals(stdout, stderr).views(json=as_json) == shown


def on_terminals(monkeypatch: pytest.MonkeyPatch, *, stdout: bool, stderr: bool) -> None:
    for module in (options, views):
        monkeypatch.setattr(module, "terminals", lambda: Terminals(stdout, stderr))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("NO_COLOR", "1")


def test_on_a_terminal_the_table_is_live_on_stderr_and_final_on_stdout(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminals(monkeypatch, stdout=True, stderr=True)
    good = server.add_job([(0, "RUNNING"), (0.4, "SUCCEEDED")])
    bad = server.add_job([(0, "FAILED")], code="InvalidFile", message="line 3 [red] \x1b[2Jis not JSON")
    result = run("wait", "--base-url", server.url, good, bad, "ft-absent")
    assert result.exit_code == 1
    assert "RUNNING" in result.stderr
    assert "error: NotFound" in re.sub(r"\x1b\[\d*m", "", result.stderr)
    final = result.stdout
    assert [word in final for word in ("RUNNING", "SUCCEEDED", "FAILED", "not seen yet")] == [0, 1, 1, 1]
    assert "InvalidFile: line 3 [red] [2Jis not JSON" in final
    assert "\x1b[3" not in result.output  # NO_COLOR


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_table_of_jobs_breaks_no_id_status_or_model_name(width: int) -> None:
    out = io.StringIO()
    tracker = JobTracker(["ft-202601051030-0001", "ft-202601051030-0002"])
    made = job_of(
        JobStatus.SUCCEEDED, model="qwen3-14b", job_name="客服", finetuned_output="qwen3-14b-ft-2026-1c7f"
    )
    failed = job_of(JobStatus.FAILED, code="InvalidTrainingData", message="line 17 is not valid JSON")
    tracker.record_end(attrs.evolve(made, job_id="ft-202601051030-0001"), 1.0)
    tracker.record_end(attrs.evolve(failed, job_id="ft-202601051030-0002"), 1.0)
    terminal.print_jobs(Console(file=out, width=width), tracker)
    text = out.getvalue()
    for whole in ("ft-202601051030-0001", "ft-202601051030-0002", "SUCCEEDED", "qwen3-14b-ft-2026-1c7f"):
        assert whole in text
    assert ("客服" in text) is (width >= 120)


def test_without_a_terminal_on_stderr_changes_are_plain_lines(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminals(monkeypatch, stdout=True, stderr=False)
    job_id = server.add_job([(0, "RUNNING"), (0.15, "SUCCEEDED")])
    result = run("wait", "--base-url", server.url, job_id)
    lines = [line.split()[2:] for line in result.stdout.splitlines()[:2]]
    assert lines == [[job_id, "RUNNING"], [job_id, "SUCCEEDED", f"qwen3-14b-{job_id}"]]


def test_plain_lines_of_a_crowd_cost_no_more_each_than_those_of_a_few(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = 0

    def name(row: Row) -> str:
        nonlocal reads
        reads += 1
        return row.job_id

    monkeypatch.setattr(Row, "name", property(name))
    tracker = JobTracker(f"ft-{number}" for number in range(500))
    lines = PlainLines(tracker)
    for row in list(tracker.rows.values()):
        lines.update(row)
    assert reads <= 2 * 500
    tracker.add(["ft-later-and-longer"], 0.0)
    lines.update(tracker.rows["ft-0"])
    assert capsys.readouterr().out.splitlines()[-1].endswith(" s  ft-0                 not seen yet")


def test_get_on_a_terminal_shows_the_fields_that_are_set(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminals(monkeypatch, stdout=True, stderr=True)
    job_id = server.add_job(ENDED)
    result = run("get", "--base-url", server.url, job_id)
    assert "279808" in result.stdout
    assert "validation_file_ids" not in result.stdout
    assert run("get", "--base-url", server.url, "ft-absent").stdout == ""


def test_terminals_are_what_the_streams_say(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    assert views.terminals() == Terminals(stdout=True, stderr=True)
    monkeypatch.setenv("CI", "true")  # whose log would keep every frame of a table
    assert views.terminals() == Terminals(stdout=True, stderr=False)
    monkeypatch.delenv("CI")
    monkeypatch.setenv("TERM", "dumb")
    assert views.terminals() == Terminals(stdout=True, stderr=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not views.terminals().stdout


def test_text_from_elsewhere_is_one_line_without_control_characters() -> None:
    assert printable("a\x1b[31m\r\n b\tc\u202e") == "a [31m b c"


# --- interruption -----------------------------------------------------------------------------------


def test_the_go_on_line_is_quoted_for_a_shell() -> None:
    line = resume_command("wait", ["--base-url", "https://e/api v1"], ["ft-1", "-x"])
    assert line == "dashscope-ft wait --base-url 'https://e/api v1' -- ft-1 -x"


def test_ctrl_c_exits_130_and_says_how_to_go_on(server: Service) -> None:
    ended, pending = server.add_job(ENDED), server.add_job([(0, "RUNNING")])
    args = ["--base-url", server.url, "--workspace", "llm-1", "--json", "--timeout", "1234567.5"]
    with subprocess.Popen(
        process_of("wait", *args, ended, pending),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=5)
    assert process.returncode == 130
    assert {json.loads(line)["event"] for line in lines} == {"ended", "update"}
    assert rest == ""
    head, go_on = said.splitlines()
    assert head.startswith("Interrupted")
    go_on_args = shlex.split(go_on)
    assert go_on_args[:2] == ["dashscope-ft", "wait"]
    assert sorted(go_on_args[2:]) == sorted([*args, pending])
    assert KEY not in said


def test_a_reader_that_goes_away_ends_the_command_quietly(server: Service) -> None:
    jobs = [server.add_job(ENDED), server.add_job([(0, "RUNNING"), (3, "SUCCEEDED")])]
    with subprocess.Popen(
        process_of("wait", "--base-url", server.url, *jobs),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=5) == 141
    assert said == ""


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_outside_the_wait_exits_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "Following", interrupt)
    assert run("wait", "ft-1").exit_code == 130


def test_an_interrupt_after_the_last_end_has_nothing_to_go_on_with(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*args: Any, **options: Any) -> None:
        await follow(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(waits, "follow", interrupted)
    result = run("wait", "--base-url", server.url, server.add_job(ENDED))
    assert (result.exit_code, result.stderr) == (130, "")


@pytest.mark.parametrize(
    "options",
    [
        ["--region", "cn-beijing", "--json", "--verbose", "--no-timeout"],
        ["--base-url", "http://127.0.0.1:9/api/v1", "--workspace", "llm-1", "--timeout", "0.5"],
        [],
    ],
)
def test_the_go_on_line_has_the_same_options(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "follow", interrupt)
    result = run("wait", *options, "ft-1", "ft-2")
    assert result.exit_code == 130
    assert shlex.split(result.stderr.splitlines()[-1]) == ["dashscope-ft", "wait", *options, "ft-1", "ft-2"]


def test_after_a_broken_pipe_stdout_leads_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as out:

        def broken(*_: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr(waits, "Following", broken)
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as stopped:
            commands.dashscope_ft(["wait", "ft-1"])
        assert stopped.value.code == 141
        out.write("what was still in the buffer")
    assert (tmp_path / "out").read_text(encoding="utf-8") == ""


# --- the demo ---------------------------------------------------------------------------------------


def test_the_demo_needs_no_settings_and_tells_what_happened() -> None:
    broken = dict.fromkeys(("BASE_URL", "API_KEY", "WORKSPACE", "REGION"), "no such place")
    done = subprocess.run(
        process_of("demo", "--speed", "50"),
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        env={**os.environ, **{f"DASHSCOPE_{name}": value for name, value in broken.items()}},
    )
    assert (done.returncode, done.stderr) == (0, "")
    story = done.stdout.partition("Result:")[2]
    for words in ("4 SUCCEEDED, 1 FAILED, 1 CANCELED", "Polls: ", "would have taken", "throttled"):
        assert words in story
    assert "InvalidTrainingData: line 17" in story


def test_the_demo_as_json_ends_with_a_summary() -> None:
    result = run("demo", "--json", "--speed", "50")
    *lines, summary = lines_of(result.stdout)
    ends = {line["job_id"]: line["status"] for line in lines if line["event"] == "ended"}
    assert result.exit_code == 0
    assert summary["jobs"] == ends
    assert sorted(ends.values()) == ["CANCELED", "FAILED", *["SUCCEEDED"] * 4]
    assert summary["failures_survived"]["throttled"] >= 1
    assert summary["requests"] > len(ends)


def test_the_demo_is_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminals(monkeypatch, stdout=True, stderr=True)
    result = run("demo", "--speed", "50")
    assert result.exit_code == 0
    assert "connection ok" in result.stderr
    assert "WARNING" not in result.stderr
    assert "Result:" in result.stdout


# --- the extra --------------------------------------------------------------------------------------


def test_the_version_and_help_are_told() -> None:
    assert __version__ in run("--version").stdout
    for args in (["--help"], ["wait", "--help"], ["get", "--help"]):
        text = run(*args).stdout
        assert "DASHSCOPE_API_KEY" in text
        assert "--api-key" not in text


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(
    absent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing(monkeypatch, absent)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'dashscope-ft-async[cli]'" in line


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "aiohttp")
    with pytest.raises(ModuleNotFoundError, match="aiohttp"):
        cli.main()


def missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delitem(sys.modules, "dashscope_ft_async.cli.commands")
    loader = Failing(ModuleNotFoundError(f"No module named {name!r}", name=name))
    monkeypatch.setattr(sys, "meta_path", [loader, *sys.meta_path])


class Failing:
    """An importer in whose hands the command's module fails."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "dashscope_ft_async.cli.commands":
            raise self._error


@pytest.mark.parametrize("module", ["dashscope_ft_async.cli", "dashscope_ft_async.cli.commands"])
def test_an_interrupt_while_importing_exits_130_without_a_traceback(module: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    script = project["scripts"]["dashscope-ft"].partition(":")
    code = f"""
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from importlib import import_module
getattr(import_module({script[0]!r}), {script[2]!r})()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_main_runs_the_command_and_survives_a_narrow_encoding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dashscope-ft", "--version"])
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert narrow.errors == "backslashreplace"


def test_the_library_imports_none_of_the_extra() -> None:
    code = (
        "import sys, dashscope_ft_async, dashscope_ft_async.testing; "
        "print({'click', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
