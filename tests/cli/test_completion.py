"""Completion: the scripts, and what a shell is answered, over the protocol that it speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashscope_ft_async import REGIONS, JobStatus
from dashscope_ft_async.cli import commands, completion
from dashscope_ft_async.testing import Fault
from tests.conftest import KEY
from tests.support.cli_service import Service, run
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("quick_client")


def completed(*words: str, shell: str = "zsh", stdin: str | None = None) -> list[str]:
    """The lines a shell gets for the last of `words`, which is being typed."""
    env = {
        "_DASHSCOPE_FT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["dashscope-ft", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    result = CliRunner().invoke(commands.dashscope_ft, [], env=env, prog_name="dashscope-ft", input=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines() if result.stdout.strip() else []


def words_of(lines: list[str]) -> list[str]:
    """The words alone, of the three lines that zsh gets for each."""
    return lines[1::3]


# --- the scripts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shell", "registers"),
    [
        ("bash", "complete -o nosort -F _dashscope_ft_completion dashscope-ft"),
        ("zsh", "compdef _dashscope_ft_completion dashscope-ft"),
        ("fish", "complete --no-files --command dashscope-ft"),
    ],
)
def test_each_shell_has_its_script(shell: str, registers: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert registers in result.stdout
    assert f"_DASHSCOPE_FT_COMPLETE={shell}_complete" in result.stdout


def test_other_shells_have_none() -> None:
    assert run("completion", "cmd").exit_code == 2


def test_a_real_bash_completes_job_ids(server: Service, tmp_path: Path) -> None:
    jobs = [server.add_job([(0, "RUNNING")]) for _ in range(2)]
    command = tmp_path / "dashscope-ft"
    command.write_text(f"#!{sys.executable}\nfrom dashscope_ft_async.__main__ import main\nmain()\n")
    command.chmod(0o755)
    script = f"""
eval "$(dashscope-ft completion bash)"
COMP_WORDS=(dashscope-ft wait --base-url {server.url} {jobs[0]} ft-)
COMP_CWORD=5
_dashscope_ft_completion dashscope-ft
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True, text=True, timeout=20, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY},
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == ([jobs[1]], "")


# --- job ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["get", "wait", "watch", "logs", "cancel", "delete", "checkpoints"])
def test_job_ids_are_those_of_the_newest_page_with_what_they_are(command: str, server: Service) -> None:
    old, new = (server.add_job([(0, "RUNNING")], model=f"model-{n}") for n in range(2))
    lines = completed(command, "--base-url", server.url, "ft-")
    assert lines == ["plain", new, "RUNNING model-1", "plain", old, "RUNNING model-0"]


def test_fish_gets_the_same_on_a_line_each(server: Service) -> None:
    job_id = server.add_job([(0, "FAILED")])
    lines = completed("get", "--base-url", server.url, "ft", shell="fish")
    assert lines == [f"plain,{job_id}\tFAILED qwen3-14b"]


def test_an_id_is_offered_once_and_only_where_it_fits(server: Service) -> None:
    server.add_job([(0, "RUNNING")], job_id="ft-1")
    server.add_job([(0, "RUNNING")], job_id="ft-2")
    server.add_job([(0, "RUNNING")], job_id="job-3")
    assert words_of(completed("wait", "--base-url", server.url, "ft-1", "ft")) == ["ft-2"]


def test_the_environment_says_where_to_ask_too(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
    assert words_of(completed("get", "ft")) == [job_id]


def test_what_a_shell_would_read_otherwise_is_not_offered(server: Service) -> None:
    for bad in ("$(reboot)", "ft;reboot", "-rf", "ft`x`", "ft'", "ft:1", "ft\u202e"):
        server.add_job([(0, "RUNNING")], job_id=bad)
    server.add_job([(0, "RUNNING")], job_id="ft-1", model="\x1b[2Jred\nplain")
    assert completed("get", "--base-url", server.url, "") == ["plain", "ft-1", "RUNNING [2Jred plain"]


def test_no_answer_is_no_words_and_no_complaint(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("get", "--base-url", server.url, "")
    server.add_job([(0, "RUNNING")])
    server.simulator.fail_next(*[Fault.html()] * 9)
    assert completed(*asked) == []
    assert completed("get", "--base-url", "http://127.0.0.1:1", "") == []
    assert completed("get", "--region", "atlantis", "") == []
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    assert completed(*asked) == []
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    assert completed(*asked) == []


def test_a_slow_service_is_not_waited_for(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_job([(0, "RUNNING")])
    server.simulator.fail_next(Fault.stall())
    monkeypatch.setattr(completion, "PATIENCE", 0.1)
    assert completed("get", "--base-url", server.url, "") == []


def test_completing_reads_no_stdin_and_leaves_no_file(server: Service, tmp_path: Path) -> None:
    job_id = server.add_job([(0, "RUNNING")])
    record = tmp_path / "record.jsonl"
    words = completed("wait", "--base-url", server.url, "--record", str(record), "-", "", stdin="no: id")
    assert words_of(words) == [job_id]
    assert not record.exists()
    assert words_of(completed("create", "--training-dataset", "@/no/such/file", "--mod")) == [
        "--model",
        "--model-name",
    ]


# --- other words ------------------------------------------------------------------------------------


def test_checkpoints_are_those_of_the_job(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.001, "SUCCEEDED")])
    lines = completed("export", "--base-url", server.url, job_id, "check")
    assert lines == ["plain", "checkpoint-100", "SUCCEEDED", "plain", "checkpoint-50", "PENDING"]


def test_regions_are_the_known_ones() -> None:
    assert words_of(completed("list", "--region", "")) == list(REGIONS)
    assert words_of(completed("get", "--region", "us")) == ["us-east-1"]


def test_statuses_are_those_of_jobs() -> None:
    offered = words_of(completed("list", "--status", ""))
    assert {word.upper() for word in offered} == {status.value for status in JobStatus}


@pytest.mark.parametrize("words", [("wait", "--record", "doc"), ("watch", "--record", "doc")], ids=" ".join)
def test_files_are_left_to_the_shell(words: tuple[str, ...]) -> None:
    assert completed(*words) == ["file", "doc", "_"]


def test_commands_and_options_are_completed() -> None:
    assert words_of(completed("wa")) == ["wait", "watch"]
    assert words_of(completed("wait", "--re")) == ["--region", "--record"]
