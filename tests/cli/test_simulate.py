from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import pytest

from dashscope_ft_async import FineTuneClient, RetryPolicy
from dashscope_ft_async.cli import options
from dashscope_ft_async.cli.simulate import clear_requests
from dashscope_ft_async.testing import Simulator
from tests.support.cli_service import lines_of, process_of, run, serving


@contextmanager
def simulating(*args: str) -> Generator[str, None, None]:
    """Where it listens; at the end Ctrl-C, which leaves no traceback."""
    with subprocess.Popen(
        process_of("simulate", *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        (told,) = lines_of(process.stdout.readline())
        assert told["event"] == "simulating"
        try:
            yield told["base_url"]
        finally:
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=5)
    assert (process.returncode, rest, said) == (130, "", "Press Ctrl-C to stop it.\n")


pytestmark = pytest.mark.usefixtures("quick_client")


def test_simulate_serves_until_it_is_interrupted() -> None:
    with simulating("--jobs", "2") as url:
        listed = run("list", "--base-url", url)
    assert len(lines_of(listed.stdout)) == 2


def test_its_jobs_take_as_long_as_they_are_told() -> None:
    with simulating("--jobs", "1", "--job-seconds", "0.01") as url:
        (first,) = lines_of(run("list", "--base-url", url).stdout)
        created = run("create", "--base-url", url, "--model", "m", "--training-file", "f")
        (second,) = lines_of(created.stdout)
        ended = run("wait", "--base-url", url, "--timeout", "5", first["job_id"], second["job_id"])
    assert ended.exit_code == 0


def test_it_throttles_and_tarries_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    once = partial(FineTuneClient, retry=RetryPolicy(attempts=1))
    monkeypatch.setattr(options, "FineTuneClient", once)
    with simulating("--rate-limit", "0.001", "--latency", "0.2") as url:
        asked = ["list", "--base-url", url]
        assert run(*asked, "--timeout", "0.1").exit_code == 4  # it comes later, and is not counted
        assert run(*asked).exit_code == 0
        (error,) = lines_of(run(*asked).stdout)
    assert error["error"]["code"] == "Throttling"


def test_its_jobs_log_losses_and_every_third_one_at_first_fails() -> None:
    with simulating("--job-seconds", "0.01") as url:
        listed = lines_of(run("list", "--base-url", url).stdout)
        last = next(line for line in listed if line["job_id"].endswith("3"))["job_id"]
        ended = run("wait", "--base-url", url, *(line["job_id"] for line in listed))
        log = run("logs", "--base-url", url, last).stdout
    told = {line["job_id"]: line["status"] for line in lines_of(ended.stdout) if line["event"] == "ended"}
    assert [status for job_id, status in told.items() if job_id == last] == ["FAILED"]
    assert sorted(told.values()) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert 39 <= log.count("'loss'") <= 41


@pytest.mark.looptime
async def test_a_server_that_runs_for_long_does_not_remember_every_request() -> None:
    async with Simulator() as service, service.client() as client:
        serving_on = asyncio.create_task(clear_requests(service))
        await client.list()
        await asyncio.sleep(120)
        assert service.requests == []
        serving_on.cancel()
        await asyncio.gather(serving_on, return_exceptions=True)


def test_simulate_into_a_reader_that_has_gone_ends_as_other_commands_do() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        ended = subprocess.run(
            process_of("simulate"), stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=20
        )
    finally:
        os.close(theirs)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_port_that_is_taken_is_a_usage_error() -> None:
    with serving() as service:
        port = service.url.split(":")[2].partition("/")[0]
        result = run("simulate", "--port", port)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr.splitlines()[-1]
        == f"Error: Invalid value for --port: {port}: Address already in use."
    )


@pytest.mark.parametrize(
    "args", [["--jobs", "-1"], ["--port", "65536"], ["--job-seconds", "0"], ["--rate-limit", "nan"]]
)
def test_simulate_refuses_what_cannot_be(args: list[str]) -> None:
    assert run("simulate", *args).exit_code == 2
