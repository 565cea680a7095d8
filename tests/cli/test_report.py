"""`report`: which jobs, which files, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dashscope_ft_async.cli import options as access
from dashscope_ft_async.cli.report import command, draw, patience
from dashscope_ft_async.cli.views import Terminals
from dashscope_ft_async.testing import Fault
from tests.conftest import KEY
from tests.support.cli_service import Service, lines_of, process_of, run, use_quick_client
from tests.support.paths import ROOT

ENVIRONMENT = {**os.environ, "DASHSCOPE_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
ENDED = [(0.0, "SUCCEEDED")]
AS_USUAL = Fault.stall(0)
LOG = [
    (0, "2026-01-05 10:30:12,136 - INFO - data process succeeded, start to fine-tune"),
    (0, "{'loss': 1.75, 'global_step/max_steps': '1/2'}"),
    (0, "{'loss': 1.25, 'global_step/max_steps': '2/2'}"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_quick_client(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "script", str)  # bundling takes seconds


def page(path: str = "report.html") -> str:
    text = Path(path).read_text(encoding="utf-8")
    assert KEY not in text
    return text


def test_a_report_of_a_job_is_a_page_here(server: Service) -> None:
    job_id = server.add_job(ENDED, log=LOG, job_name="faq-bot")
    result = run("report", "--base-url", server.url, job_id)
    assert result.exit_code == 0
    [line] = lines_of(result.stdout)
    assert (line["event"], line["job_id"], line["path"], line["jobs"]) == ("report", None, "report.html", 1)
    text = page()
    assert "faq-bot" in text
    assert "1.25" in text
    assert "What became of the requests" not in text
    assert [path.name for path in Path().iterdir()] == ["report.html"]


def test_the_ending_decides_what_a_file_is(server: Service) -> None:
    job_id = server.add_job(ENDED, log=LOG)
    Path("b.PNG").write_text("old", encoding="ascii")
    args = ["-o", "a.svg", "-o", "b.PNG", "-o", "c.html", "--theme", "dark"]
    result = run("report", "--base-url", server.url, *args, job_id)
    assert [line["path"] for line in lines_of(result.stdout)] == ["a.svg", "b.PNG", "c.html"]
    assert Path("a.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert Path("b.PNG").read_bytes().startswith(b"\x89PNG\r\n")
    assert page("c.html").startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["report.pdf", "report", "not/there.html", "folder.html"])
def test_a_file_that_cannot_be_written_is_told_before_any_request(path: str, server: Service) -> None:
    Path("folder.html").mkdir()
    result = run("report", "--base-url", server.url, "-o", path, server.add_job(ENDED))
    assert result.exit_code == 2
    assert path in result.stderr
    assert server.simulator.requests == []


def test_a_file_that_cannot_be_written_in_the_end_is_told(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("report.html").write_text("old", encoding="ascii")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("report", "--base-url", server.url, server.add_job(ENDED))
    assert result.exit_code == 2
    assert result.stderr == "error: report.html cannot be written: No space left on device.\n"
    assert Path("report.html").read_text(encoding="ascii") == "old"
    assert [path.name for path in Path().iterdir()] == ["report.html"]


def test_a_job_that_cannot_be_read_is_in_the_report_with_its_error(server: Service) -> None:
    job_id = server.add_job([(0, "FAILED")], log=LOG)
    result = run("report", "--base-url", server.url, job_id, "ft-not-there", "ft/bad")
    assert result.exit_code == 2  # of the bad id; the report is there all the same
    assert result.stderr.count("error: ") == 2
    text = page()
    assert "3 fine-tuning jobs" in text
    assert "2 jobs could not be read." in text
    assert "job ft-not-there not found" in text


def test_how_jobs_ended_is_no_error_of_the_report(server: Service) -> None:
    jobs = [server.add_job([(0, status)]) for status in ("FAILED", "CANCELED", "RUNNING")]
    assert run("report", "--base-url", server.url, *jobs).exit_code == 0


def test_a_fault_in_passing_does_not_cost_a_job(server: Service) -> None:
    faults = [Fault.error(503, "ModelUnavailable", "busy"), Fault.reset()]
    job_id = server.add_job(ENDED, faults=faults, log=LOG)
    assert run("report", "--base-url", server.url, job_id).exit_code == 0
    assert "SUCCEEDED" in page()


def test_a_log_that_cannot_be_read_costs_only_the_log(server: Service) -> None:
    refused = Fault.error(403, "AccessDenied", "no logs for you")
    job_id = server.add_job(ENDED, log=LOG, faults=[AS_USUAL, refused])
    result = run("report", "--base-url", server.url, job_id)
    assert result.exit_code == 5
    assert "Its log could not be read: AccessDenied: no logs for you" in page()


def test_a_job_without_a_log_is_no_error(server: Service) -> None:
    job_id = server.add_job(ENDED, faults=[AS_USUAL, Fault.error(404, "NotFound", "Not found!")])
    assert run("report", "--base-url", server.url, job_id).exit_code == 0


def test_a_job_that_has_not_begun_is_not_asked_for_its_log(server: Service) -> None:
    run("report", "--base-url", server.url, server.add_job([(0, "QUEUING")]))
    assert not any(seen.path.endswith("/logs") for seen in server.simulator.requests)


def test_all_is_every_active_job(server: Service) -> None:
    server.add_job(ENDED)
    server.add_job([(0, "RUNNING")])
    server.add_job([(0, "QUEUING")])
    result = run("report", "--base-url", server.url, "--all")
    assert lines_of(result.stdout)[-1]["jobs"] == 2


def test_where_all_is_no_job_a_report_that_is_there_stays(server: Service) -> None:
    Path("report.html").write_text("good", encoding="ascii")
    result = run("report", "--base-url", server.url, "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No jobs to report.\n")
    assert Path("report.html").read_text(encoding="ascii") == "good"


@pytest.mark.parametrize("text", ["", "{}\n", "garbage\n"])
def test_a_record_without_a_job_is_refused_and_a_report_that_is_there_stays(
    text: str, server: Service
) -> None:
    Path("wait.jsonl").write_text(text, encoding="ascii")
    Path("report.html").write_text("good", encoding="ascii")
    result = run("report", "--base-url", server.url, "--record", "wait.jsonl")
    assert result.exit_code == 2
    assert "no job in the record" in result.stderr
    assert Path("report.html").read_text(encoding="ascii") == "good"
    assert server.simulator.requests == []


def test_too_many_requests_cost_no_job_and_no_log_while_others_are_answered(server: Service) -> None:
    busy = [Fault.error(429, "Throttling", "busy")] * 12
    jobs = [server.add_job(ENDED, faults=busy, log=LOG) for _ in range(6)]
    result = run("report", "--base-url", server.url, *jobs)
    assert (result.exit_code, result.stderr) == (0, "")
    text = page()
    assert "not seen" not in text
    assert "could not be read" not in text


def test_too_many_requests_end_the_reading_after_a_lull(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LULL", 0.3)
    busy = [Fault.error(429, "Throttling", "busy")] * 1000
    jobs = [server.add_job(ENDED, faults=busy) for _ in range(9)]
    result = run("report", "--base-url", server.url, *jobs)
    assert result.exit_code == 6
    assert "9 jobs could not be read." in page()


def test_a_rate_that_stays_refused_is_not_asked_for_without_a_pause(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LULL", 0.3)
    later = [Fault.error(429, "Throttling", "busy", retry_after=3600)] * 1000
    result = run("report", "--base-url", server.url, server.add_job(ENDED, faults=later))
    assert result.exit_code == 6
    assert len(server.simulator.requests) <= 3


def test_a_timeout_bounds_the_reading_and_the_report_is_there(server: Service) -> None:
    good = server.add_job(ENDED, log=LOG, job_name="faq-bot")
    slow = server.add_job(ENDED, faults=[Fault.stall()])
    result = run("report", "--base-url", server.url, "--timeout", "0.5", good, slow)
    assert result.exit_code == 4
    assert "1 job could not be read." in page()


def test_a_timeout_bounds_the_listing(server: Service) -> None:
    server.add_job([(0, "RUNNING")])
    server.simulator.fail_next(*[Fault.error(429, "Throttling", "busy")] * 1000)
    for wait in ([], ["--wait"]):
        result = run("report", "--base-url", server.url, "--all", "--timeout", "0.2", *wait)
        assert result.exit_code == 4
    assert not Path("report.html").exists()


def test_a_log_that_a_wait_could_not_read_is_told_on_stderr(server: Service) -> None:
    refused = Fault.error(403, "AccessDenied", "no logs for you")
    job_id = server.add_job(ENDED, log=LOG, faults=[AS_USUAL, refused])
    result = run("report", "--base-url", server.url, "--wait", job_id)
    assert result.exit_code == 5
    assert result.stderr.count("error: ") == 1
    assert "no logs for you" in result.stderr


def test_what_ended_a_wait_is_told_once(server: Service) -> None:
    result = run("report", "--base-url", server.url, "--wait", "ft-not-there")
    assert result.exit_code == 5
    assert result.stderr.count("error: ") == 1


def test_a_reader_that_is_gone_ends_it_as_a_pipe_does(server: Service) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        ran = subprocess.run(
            process_of("report", "--base-url", server.url, server.add_job(ENDED)),
            stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=ENVIRONMENT,
        )  # fmt: skip
    finally:
        os.close(theirs)
    assert (ran.returncode, ran.stderr) == (141, "")


def test_a_record_names_the_jobs_and_tells_of_the_wait(server: Service) -> None:
    faults = [Fault.error(500, "InternalError", "internal error")]
    job_id = server.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")], faults=faults)
    assert run("wait", "--base-url", server.url, "--record", "wait.jsonl", job_id).exit_code == 0
    with Path("wait.jsonl").open("a", encoding="ascii") as record:
        record.write('{"schema": 1, "event": "upd')
    result = run("report", "--base-url", server.url, "--record", "wait.jsonl")
    assert result.exit_code == 0
    text = page()
    assert job_id in text
    assert "HTTP 500" in text
    assert "… after InternalError: internal error" in text
    assert "1 line of the record could not be read." in text


def test_where_the_service_cannot_be_reached_the_record_is_told(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")], job_name="faq-bot")
    run("wait", "--base-url", server.url, "--record", "wait.jsonl", job_id)
    result = run("report", "--base-url", "http://127.0.0.1:9/api/v1", "--record", "wait.jsonl")
    assert result.exit_code == 6
    text = page()
    assert "faq-bot" in text
    assert "What is told of 1 job is from a record, and may be old." in text


def test_a_record_that_is_not_there_is_a_usage_error() -> None:
    result = run("report", "--record", "not-there.jsonl")
    assert result.exit_code == 2
    assert "not-there.jsonl: No such file or directory" in result.stderr


@pytest.mark.parametrize("args", [[], ["--all", "ft-1"], ["--timeout", "0", "ft-1"]])
def test_contradictions_are_usage_errors(args: list[str]) -> None:
    assert run("report", *args).exit_code == 2


def test_wait_reports_on_the_ends_and_on_its_own_polls(server: Service) -> None:
    faults = [Fault.error(500, "InternalError", "internal error")]
    job_id = server.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")], log=LOG, faults=faults)
    result = run("report", "--base-url", server.url, "--wait", job_id)
    assert result.exit_code == 0
    assert [line["event"] for line in lines_of(result.stdout)] == ["update", "ended", "report"]
    text = page()
    assert "SUCCEEDED" in text
    assert "HTTP 500" in text
    # Reading the log afterwards is no part of the wait.
    polls = sum(not seen.path.endswith("/logs") for seen in server.simulator.requests)
    assert f'<th scope="row" class="text">Requests</th><td class="number">{polls}</td>' in text


def test_a_wait_that_is_given_up_is_reported_as_far_as_it_came(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")], log=LOG)
    result = run("report", "--base-url", server.url, "--wait", "--timeout", "0.1", job_id)
    assert result.exit_code == 4
    assert "RUNNING" in page()


def test_interrupting_a_wait_prints_the_command_that_goes_on(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    Path("old.jsonl").touch()
    args = [
        "--base-url",
        server.url,
        "--json",
        "--wait",
        "--timeout",
        "60",
        "-o",
        "a b.html",
        "-o",
        "c.svg",
    ]
    args += ["--theme", "dark", "--record", "old.jsonl", job_id]
    started = subprocess.Popen(
        [sys.executable, "-c", "from dashscope_ft_async.__main__ import main; main()", "report", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert started.stdout is not None
    assert json.loads(started.stdout.readline())["status"] == "RUNNING"
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=20)
    assert started.returncode == 130
    expected = ["dashscope-ft", "report", "--base-url", server.url, "--json", "--wait", "--timeout", "60"]
    expected += [
        "--output",
        "a b.html",
        "--output",
        "c.svg",
        "--theme",
        "dark",
        "--record",
        "old.jsonl",
        "--record",
        "a b.wait.jsonl",
        job_id,
    ]
    assert shlex.split(errors.splitlines()[-1]) == expected
    assert not Path("a b.html").exists()
    events = [line["event"] for line in lines_of(Path("a b.wait.jsonl").read_text(encoding="ascii"))]
    assert {"request", "update"} <= set(events)


def test_a_wait_that_was_interrupted_again_goes_on_in_the_same_record(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(client: Any, board: Any, job_ids: Any, views: Any, **_: Any) -> None:
        for job_id in job_ids:
            row = board.record_snapshot(await client.get(job_id), 0.0)
            for each in views:
                each.update(row)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "follow", interrupted)
    job_id = server.add_job([(0, "RUNNING")])
    first = run("report", "--base-url", server.url, "--wait", job_id)
    kept = Path("report.wait.jsonl").read_text(encoding="ascii")
    again = shlex.split(first.stderr.splitlines()[-1])
    assert again[-3:] == ["--record", "report.wait.jsonl", job_id]
    second = run(*again[1:])
    assert shlex.split(second.stderr.splitlines()[-1]) == again
    both = Path("report.wait.jsonl").read_text(encoding="ascii")
    assert both.startswith(kept)
    assert len(lines_of(both)) == 2 * len(lines_of(kept))


def test_ctrl_c_while_it_draws_ends_it_and_keeps_the_wait(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()  # a loop would swallow Ctrl-C until all is drawn
        raise KeyboardInterrupt

    monkeypatch.setattr(draw, "script", interrupted)
    job_id = server.add_job(ENDED, log=LOG)
    assert run("report", "--base-url", server.url, job_id).exit_code == 130
    result = run("report", "--base-url", server.url, "--wait", job_id)
    assert result.exit_code == 130
    assert shlex.split(result.stderr.splitlines()[-1])[-3:] == ["--record", "report.wait.jsonl", job_id]
    assert "/logs" not in Path("report.wait.jsonl").read_text(encoding="ascii")
    assert not Path("report.html").exists()


@pytest.mark.parametrize("asked", [["ft-1", "ft-2"], ["--all"]])
def test_interrupted_before_the_first_answer_it_goes_on_as_it_was_asked(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(access, "FineTuneClient", interrupted)
    result = run("report", "--wait", *asked)
    assert result.exit_code == 130
    expected = ["dashscope-ft", "report", "--wait", "--output", "report.html", *asked]
    assert shlex.split(result.stderr.splitlines()[-1]) == expected


def test_an_interrupted_report_without_a_wait_has_nothing_to_go_on_with(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "follow", interrupted)
    job_id = server.add_job(ENDED)
    result = run("report", "--base-url", server.url, job_id)
    assert (result.exit_code, result.stderr) == (130, "")
    result = run("report", "--base-url", server.url, "--wait", job_id)
    assert result.exit_code == 130
    again = [
        "dashscope-ft",
        "report",
        "--base-url",
        server.url,
        "--wait",
        "--output",
        "report.html",
        job_id,
    ]
    assert shlex.split(result.stderr.splitlines()[-1]) == again


def test_on_a_terminal_it_tells_how_far_it_is_and_what_it_wrote(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "terminals", lambda: Terminals(stdout=True, stderr=True))
    monkeypatch.setattr(access, "terminals", lambda: Terminals(stdout=True, stderr=True))
    result = run("report", "--base-url", server.url, server.add_job(ENDED))
    assert result.stdout == "report.html: 1 job\n"


@pytest.mark.parametrize("missing", ["jinja2", "vl_convert"])
def test_without_the_extra_it_says_how_to_install_it(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from dashscope_ft_async.__main__ import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "report", "ft-1"],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr == (
        f"dashscope-ft report needs {missing}: pip install 'dashscope-ft-async[cli,report]'\n"
    )


def test_other_commands_do_not_need_the_extra() -> None:
    code = (
        "import sys; sys.modules['jinja2'] = sys.modules['vl_convert'] = None; "
        "from dashscope_ft_async.__main__ import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == 0


def test_everything_for_the_page_is_beside_the_code() -> None:
    folder = Path(draw.__file__).parent
    names: Any = {path.name for path in folder.iterdir()}
    assert {"page.html.j2", "page.css.j2", "page.js"} <= names
