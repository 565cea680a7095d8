from __future__ import annotations

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import pytest

from dashscope_ft_async import FineTuneClient, RetryPolicy
from dashscope_ft_async.cli import access
from tests.cli_world import lines_of, process_of, run, serving, use_quick_client


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
    assert (process.returncode, rest, said) == (130, "", "Ctrl-C ends it.\n")


@pytest.fixture(autouse=True)
def quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    use_quick_client(monkeypatch)


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
    monkeypatch.setattr(access, "FineTuneClient", once)
    with simulating("--rate-limit", "0.001", "--latency", "0.2") as url:
        asked = ["list", "--base-url", url]
        assert run(*asked, "--timeout", "0.1").exit_code == 4  # it comes later, and is not counted
        assert run(*asked).exit_code == 0
        (error,) = lines_of(run(*asked).stdout)
    assert error["error"]["code"] == "Throttling"


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
