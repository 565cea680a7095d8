from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import options
from dashscope_ft_async.cli.views import Terminals
from tests.support.cli_service import Service, lines_of, run

LOG = [(0.0, "one"), (0.0, "two \x1b[2J"), (0.2, "##FT_COMPLETE##")]


pytestmark = pytest.mark.usefixtures("quick_client")


def test_logs_gives_the_log_as_it_is_and_numbers_its_lines(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")], log=LOG[:2])
    result = run("logs", "--base-url", server.url, job_id)
    lines = lines_of(result.stdout)
    assert [(line["event"], line["number"], line["line"]) for line in lines] == [
        ("log", 1, "one"),
        ("log", 2, "two \x1b[2J"),
    ]
    assert result.exit_code == 0
    after = run("logs", "--after", "1", "--base-url", server.url, job_id)
    assert [line["number"] for line in lines_of(after.stdout)] == [2]


def test_logs_follows_to_the_end(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.3, "SUCCEEDED")], log=LOG)
    result = run("logs", "--follow", "--base-url", server.url, job_id)
    assert [line["line"] for line in lines_of(result.stdout)] == [text for _, text in LOG]
    assert result.exit_code == 0


def test_logs_on_a_terminal_writes_no_control_characters(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "terminals", lambda: Terminals(stdout=True, stderr=True))
    job_id = server.add_job([(0, "RUNNING")], log=LOG[:2])
    assert run("logs", "--base-url", server.url, job_id).stdout == "one\ntwo [2J\n"


def test_logs_that_take_too_long_exit_4(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING")], log=LOG[:1])
    result = run("logs", "-f", "--timeout", "0.3", "--base-url", server.url, job_id)
    assert [line["event"] for line in lines_of(result.stdout)] == ["log", "error"]
    assert result.exit_code == 4


def test_an_interrupted_follow_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: Any) -> AsyncGenerator[str, None]:
        yield "one"
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTuneClient, "follow_logs", interrupted)
    result = run("logs", "-f", "--region", "cn-beijing", "--after", "4", "ft-1")
    assert result.exit_code == 130
    said = shlex.split(result.stderr.splitlines()[-1])
    assert said == shlex.split("dashscope-ft logs --region cn-beijing --follow --after 5 -- ft-1")


def test_logs_of_no_job_exit_5(server: Service) -> None:
    assert run("logs", "--base-url", server.url, "ft-absent").exit_code == 5
