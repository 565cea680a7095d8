"""`wait` and `watch`: which jobs, what is recorded, and how they end."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import shlex
import signal
import subprocess
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest
from click import BadParameter
from click.testing import CliRunner
from rich.console import Console

from dashscope_ft_async import DashScopeFTError, FineTuneClient, InternalServerError, PermissionDeniedError
from dashscope_ft_async.cli import commands
from dashscope_ft_async.cli.follow import follow_all
from dashscope_ft_async.cli.job_ids import JobSelection, ids_in, split_ids
from dashscope_ft_async.cli.record import Record, event_line
from dashscope_ft_async.cli.tracker import JobTracker, Row
from dashscope_ft_async.hooks import RequestFinished, Retrying, Throttled
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.cli_service import Service, lines_of, process_of, run

ENDED = [(0.0, "SUCCEEDED")]
AT = datetime(2026, 1, 5, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("quick_client")


def ends(text: str) -> dict[str, str]:
    return {line["job_id"]: line["event"] for line in lines_of(text) if line["event"] != "update"}


# --- which jobs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["wait", "watch"])
def test_ids_come_from_stdin_too(command: str, server: Service) -> None:
    jobs = [server.add_job(ENDED) for _ in range(3)]
    result = run(command, "--base-url", server.url, jobs[0], "-", stdin=f"{jobs[1]} {jobs[2]}\n\n")
    assert result.exit_code == 0
    assert ends(result.stdout) == dict.fromkeys(jobs, "ended")


def test_the_lines_of_list_can_be_piped_into_wait(server: Service) -> None:
    jobs = {server.add_job([(0, "RUNNING"), (0.1, "SUCCEEDED")]) for _ in range(3)}
    listed = run("list", "--base-url", server.url, "--status", "RUNNING").stdout
    result = run("wait", "--base-url", server.url, "-", stdin=listed)
    assert ends(result.stdout).keys() == jobs


@pytest.mark.parametrize("text", ['{"event": "error", "job_id": null}', "{", '{"id": "ft-1"}'])
def test_json_on_stdin_that_names_no_job_is_a_usage_error(text: str) -> None:
    result = run("wait", "-", stdin=f"ft-1\n{text}\n")
    assert result.exit_code == 2
    assert "line 2 of stdin" in result.stderr
    with pytest.raises(BadParameter):
        list(ids_in([text]))


def test_a_key_on_stdin_is_refused_and_not_shown() -> None:
    result = run("wait", "-", stdin="sk-another-secret-key-0123\n")
    assert result.exit_code == 2
    assert "sk-another" not in result.output


def test_bytes_that_are_no_text_on_stdin_are_a_usage_error() -> None:
    result = CliRunner().invoke(commands.dashscope_ft, ["wait", "-"], input=b"\xff\xfe\n")
    assert result.exit_code == 2
    assert "stdin is neither UTF-8 nor UTF-16 text" in result.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_ids_on_stdin_may_begin_with_a_byte_order_mark(server: Service, encoding: str) -> None:
    job_id = server.add_job(ENDED)
    arguments = ["wait", "--base-url", server.url, "-"]
    result = CliRunner().invoke(commands.dashscope_ft, arguments, input=f"{job_id}\n".encode(encoding))
    assert ends(result.stdout) == {job_id: "ended"}


@pytest.mark.parametrize(
    "text",
    ['"ft-1" "ft-2"', "ft-1,ft-2", "['ft-1', 'ft-2']", '["ft-1","ft-2"]', "ft-1, ft-2,", "ft-1\tft-2"],
)
def test_ids_as_other_programs_write_them_are_separated(text: str) -> None:
    assert split_ids(text) == ["ft-1", "ft-2"]
    assert JobSelection.of([text, "-ft-3"], every=False).ids == ["ft-1", "ft-2", "-ft-3"]
    assert list(ids_in([text])) == ["ft-1", "ft-2"]


@pytest.mark.parametrize("text", ["None", "null", "", '""', "ft-1,None", "[]"])
def test_a_missing_value_is_refused_and_never_sent_as_an_id(text: str) -> None:
    for command in ("get", "wait"):
        result = run(command, text)
        assert result.exit_code == 2
        assert "probably found no job" in result.stderr


def test_a_key_in_quotes_is_refused_and_not_shown() -> None:
    for text in ("'sk-another-secret-key-0123'", "ft-1,sk-another-secret-key-0123"):
        result = run("wait", text)
        assert result.exit_code == 2
        assert "sk-another" not in result.output


def test_no_ids_on_stdin_is_nothing_to_wait_for(server: Service) -> None:
    result = run("wait", "--base-url", server.url, "-", stdin="")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No jobs to wait for.\n")


def test_wait_all_takes_the_active_jobs_of_the_account(server: Service) -> None:
    server.add_job(ENDED)
    active = {server.add_job([(0, status), (0.1, "SUCCEEDED")]) for status in ("QUEUING", "RUNNING")}
    result = run("wait", "--all", "--base-url", server.url)
    assert result.exit_code == 0
    assert ends(result.stdout).keys() == active


# --- watch ------------------------------------------------------------------------------------------


def test_watch_exits_0_however_the_jobs_end(server: Service) -> None:
    jobs = [server.add_job([(0, "RUNNING"), (0.1, status)]) for status in ("FAILED", "CANCELED")]
    result = run("watch", "--base-url", server.url, *jobs)
    assert result.exit_code == 0
    assert ends(result.stdout) == dict.fromkeys(jobs, "ended")


def test_watch_exits_by_what_could_not_be_watched(server: Service) -> None:
    result = run("watch", "--base-url", server.url, server.add_job([(0, "FAILED")]), "ft-absent")
    assert result.exit_code == 5


def test_ctrl_c_ends_watch_all_and_says_how_to_go_on(server: Service, tmp_path: Path) -> None:
    server.add_job([(0, "RUNNING")])
    options = ["--base-url", server.url, "--json", "--refresh", "7.5", "--all"]
    record = ["--record", str(tmp_path / "watch.jsonl")]
    with subprocess.Popen(
        process_of("watch", *options, *record),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY},
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "RUNNING"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    again = shlex.split(said.splitlines()[-1])
    assert again[:2] == ["dashscope-ft", "watch"]
    assert sorted(again[2:]) == sorted([*options, *record])


class Told:
    """A view that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def update(self, row: Row) -> None:
        self.rows.append((row.job_id, row.status))


@pytest.mark.looptime
async def test_watch_all_takes_in_jobs_that_come_later_and_sits_out_a_list_that_fails(
    service: Simulator, client: FineTuneClient
) -> None:
    first = service.add_job([(0, "RUNNING"), (100, "FAILED")])
    tracker, told, trouble = JobTracker(), Told(), list[DashScopeFTError]()
    watching = asyncio.create_task(follow_all(client, tracker, [told], refresh=60, on_error=trouble.append))
    await asyncio.sleep(59)
    service.throttle(90)
    later = service.add_job([(0, "QUEUING"), (500, "SUCCEEDED")])
    await asyncio.sleep(600)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert [str(error.args[0]) for error in trouble]
    assert told.rows == [(first, "RUNNING"), (first, "FAILED"), (later, "QUEUING"), (later, "SUCCEEDED")]
    assert tracker.pending == []


@pytest.mark.looptime
async def test_a_later_list_that_is_refused_ends_no_wait_of_watch_all(
    service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (500, "SUCCEEDED")])
    tracker, told, trouble = JobTracker(), Told(), list[DashScopeFTError]()
    watching = asyncio.create_task(follow_all(client, tracker, [told], refresh=60, on_error=trouble.append))
    await asyncio.sleep(30)

    async def refused(_: FineTuneClient) -> list[str]:
        raise PermissionDeniedError("no more", status=403, code="AccessDenied")

    monkeypatch.setattr("dashscope_ft_async.cli.follow.active", refused)
    await asyncio.sleep(600)
    assert not watching.done()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert told.rows == [(job_id, "RUNNING"), (job_id, "SUCCEEDED")]
    assert {type(error) for error in trouble} == {PermissionDeniedError}


@pytest.mark.looptime
async def test_a_reader_that_goes_away_ends_watch_all_as_itself(
    service: Simulator, client: FineTuneClient
) -> None:
    class Gone:
        def update(self, row: Row) -> None:
            raise BrokenPipeError

    service.add_job([(0, "RUNNING")])
    with pytest.raises(BrokenPipeError):
        await follow_all(client, JobTracker(), [Gone()], refresh=60, on_error=print)


def test_watch_all_ends_where_the_list_is_refused(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    result = run("watch", "--all", "--base-url", server.url)
    assert result.exit_code == 5
    assert "InvalidApiKey" in result.stderr


# --- the record -------------------------------------------------------------------------------------


def test_a_record_has_the_lines_of_the_pipe_and_every_request(server: Service, tmp_path: Path) -> None:
    fault = Fault.error(500, "InternalError", "busy")
    job_id = server.add_job([(0, "RUNNING"), (0.3, "SUCCEEDED")], faults=[fault])
    path = tmp_path / "wait.jsonl"
    result = run("wait", "--base-url", server.url, "--record", str(path), job_id)
    lines = lines_of(path.read_text(encoding="ascii"))
    told = [line for line in lines if line["event"] in ("update", "ended")]
    assert [line["job"] for line in told] == [line["job"] for line in lines_of(result.stdout)]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == server.simulator.polls(job_id)
    assert [line["http_status"] for line in requests][:2] == [500, 200]
    (retrying,) = (line for line in lines if line["event"] == "retrying")
    assert (retrying["attempt"], retrying["reason"]) == (1, "InternalError: busy")
    assert all(line["schema"] == 1 for line in lines)
    assert KEY not in path.read_text(encoding="ascii")


def test_a_record_goes_on_where_it_stood(server: Service, tmp_path: Path) -> None:
    path = tmp_path / "wait.jsonl"
    for _ in range(2):
        run("wait", "--base-url", server.url, "--record", str(path), server.add_job(ENDED))
    assert len(ends(path.read_text(encoding="ascii"))) == 2


def test_a_full_disk_ends_the_record_and_not_the_wait() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    console = Console(file=io.StringIO(), width=100)
    record = Record(Full(), console)
    row = JobTracker(["ft-1"]).rows["ft-1"]
    record.update(row)
    record.update(row)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "error: the record ends here: No space left on device\n"


def test_what_happened_to_requests_is_a_line_each() -> None:
    throttled = event_line(Throttled(seconds=1.5, rate=inf, pages=True), AT)
    assert throttled == {
        "schema": 1,
        "event": "throttled",
        "time": "2026-01-05T00:00:00.000+00:00",
        "job_id": None,
        "seconds": 1.5,
        "rate": None,
        "pages": True,
    }
    request = event_line(
        RequestFinished(
            call=1,
            method="GET",
            template="/fine-tunes",
            job_id=None,
            host="h",
            port=443,
            seconds=0.1234567,
            status=None,
            error="APITimeoutError",
        ),
        AT,
    )
    assert request is not None
    assert (request["seconds"], request["http_status"], request["error"]) == (
        0.123457,
        None,
        "APITimeoutError",
    )
    broken = event_line(
        Retrying(call=None, wait=1, job_id="ft-1", attempt=2, seconds=1, error=ValueError("x")), AT
    )
    assert broken is not None
    assert broken["reason"] == "ValueError"
    failed = InternalServerError("busy\nagain", status=500, code="InternalError")
    told = event_line(Retrying(call=None, wait=1, job_id="ft-1", attempt=2, seconds=1, error=failed), AT)
    assert told is not None
    assert told["reason"] == "InternalError: busy again"
