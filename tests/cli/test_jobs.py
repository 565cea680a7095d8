from __future__ import annotations

import pytest

from dashscope_ft_async.cli import options
from dashscope_ft_async.cli.views import Terminals
from dashscope_ft_async.testing import Fault
from tests.support.cli_service import Service, lines_of, run

pytestmark = pytest.mark.usefixtures("quick_client")


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "terminals", lambda: Terminals(stdout=True, stderr=True))


def ids(text: str) -> list[str]:
    return [line["job_id"] for line in lines_of(text)]


# --- list -------------------------------------------------------------------------------------------


def test_list_writes_a_line_per_job_over_all_pages(server: Service) -> None:
    jobs = [server.add_job([(0, status)]) for status in ("RUNNING", "SUCCEEDED", "FAILED")]
    result = run("list", "--base-url", server.url, "--page-size", "2")
    lines = lines_of(result.stdout)
    assert ids(result.stdout) == jobs[::-1]
    assert [(line["event"], line["exit_code"]) for line in lines] == [
        ("ended", 1),
        ("ended", 0),
        ("update", None),
    ]
    assert (result.exit_code, result.stderr) == (0, "")


def test_list_gives_one_page_where_asked(server: Service) -> None:
    jobs = [server.add_job([(0, "RUNNING")]) for _ in range(3)]
    result = run("list", "--base-url", server.url, "--page", "2", "--page-size", "2")
    assert ids(result.stdout) == jobs[:1]


def test_list_filters_by_model_and_status(server: Service) -> None:
    wanted = server.add_job([(0, "RUNNING")], model="qwen3-8b")
    server.add_job([(0, "RUNNING")], model="other")
    ended = server.add_job([(0, "FAILED")], model="qwen3-8b")
    server.add_job([(0, "PENDING")], model="qwen3-8b")
    chosen = ["--status", "running", "--status", "FAILED"]
    result = run("list", "--base-url", server.url, "--model", "qwen3-8b", *chosen)
    assert ids(result.stdout) == [ended, wanted]


@pytest.mark.usefixtures("on_a_terminal")
def test_list_on_a_terminal_is_a_table_with_the_tally_on_stderr(server: Service) -> None:
    empty = run("list", "--base-url", server.url)
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "No jobs.\n")
    job_id = server.add_job([(0, "RUNNING")])
    result = run("list", "--base-url", server.url)
    assert job_id in result.stdout
    assert result.stderr == "1 RUNNING\n"


def test_list_tells_an_error_on_both_streams(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    result = run("list", "--base-url", server.url)
    (line,) = lines_of(result.stdout)
    assert (result.exit_code, line["event"], line["exit_code"]) == (5, "error", 5)
    assert line["error"]["code"] == "InvalidApiKey"
    assert "sk-wrong" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_list_gives_up_in_time(server: Service) -> None:
    server.simulator.fail_next(Fault.stall())
    result = run("list", "--base-url", server.url, "--timeout", "0.1")
    assert result.exit_code == 4
    assert lines_of(result.stdout)[-1]["error"]["type"] == "NoAnswerError"


@pytest.mark.parametrize("args", [["--page", "0"], ["--page-size", "101"], ["--status", "GONE"]])
def test_list_refuses_what_cannot_be(args: list[str]) -> None:
    assert run("list", *args).exit_code == 2


# --- cancel and delete ------------------------------------------------------------------------------


def test_cancel_tells_that_it_was_accepted(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    result = run("cancel", "--base-url", server.url, job_id)
    (line,) = lines_of(result.stdout)
    assert (result.exit_code, line["event"], line["job_id"]) == (0, "cancel_accepted", job_id)
    (now,) = lines_of(run("get", "--base-url", server.url, job_id).stdout)
    assert now["status"] in ("CANCELING", "CANCELED")


def test_cancel_of_a_job_that_has_ended_exits_5(server: Service) -> None:
    result = run("cancel", "--base-url", server.url, server.add_job([(0, "SUCCEEDED")]))
    assert result.exit_code == 5
    assert lines_of(result.stdout)[-1]["error"]["code"] == "UnsupportedOperation"


def test_delete_takes_the_job_away(server: Service) -> None:
    job_id = server.add_job([(0, "SUCCEEDED")])
    result = run("delete", "--yes", "--base-url", server.url, job_id)
    assert (result.exit_code, lines_of(result.stdout)[0]["event"]) == (0, "deleted")
    assert run("get", "--base-url", server.url, job_id).exit_code == 5


def test_delete_needs_a_yes_where_nobody_can_be_asked(server: Service) -> None:
    job_id = server.add_job([(0, "SUCCEEDED")])
    result = run("delete", "--base-url", server.url, job_id)
    assert (result.exit_code, server.simulator.requests) == (2, [])
    assert "--yes" in result.stderr


@pytest.mark.usefixtures("on_a_terminal")
@pytest.mark.parametrize(("said", "code", "requests"), [("y\n", 0, 1), ("n\n", 1, 0)])
def test_delete_asks_on_a_terminal(server: Service, said: str, code: int, requests: int) -> None:
    job_id = server.add_job([(0, "SUCCEEDED")])
    result = run("delete", "--base-url", server.url, job_id, stdin=said)
    assert (result.exit_code, len(server.simulator.requests)) == (code, requests)
    assert ("deleted" in result.stdout) == (code == 0)


@pytest.mark.parametrize("command", ["cancel", "delete", "logs"])
def test_an_api_key_is_no_job_id(command: str) -> None:
    assert run(command, "sk-0123456789abcdef").exit_code == 2
