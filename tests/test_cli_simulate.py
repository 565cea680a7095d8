from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.cli_world import lines_of, process_of, run, use_quick_client


def test_simulate_serves_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    use_quick_client(monkeypatch)
    with subprocess.Popen(
        process_of("simulate", "--jobs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        listed = run("list", "--base-url", told["base_url"])
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=5)
    assert told["event"] == "simulating"
    assert len(lines_of(listed.stdout)) == 2
    assert (process.returncode, rest, said) == (130, "", "Ctrl-C ends it.\n")


def test_simulate_refuses_what_cannot_be() -> None:
    assert run("simulate", "--jobs", "-1").exit_code == 2
