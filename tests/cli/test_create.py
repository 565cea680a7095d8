from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import options
from dashscope_ft_async.cli.views import Terminals
from dashscope_ft_async.testing import Fault
from tests.support.cli_service import Service, lines_of, run

NEEDED = ["--model", "qwen3-8b", "--training-file", "file-1"]


pytestmark = pytest.mark.usefixtures("quick_client")


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "terminals", lambda: Terminals(stdout=True, stderr=True))


def test_create_tells_the_job_as_get_does(server: Service) -> None:
    more = ["--training-file", "file-2", "--hyper-parameter", "n_epochs=3", "--job-name", "mine"]
    rate = ["--hyper-parameter", "learning_rate=1.6e-5x", "--training-type", "sft"]
    result = run("create", "--base-url", server.url, *NEEDED, *more, *rate)
    (line,) = lines_of(result.stdout)
    job = line["job"]
    assert (result.exit_code, line["event"], job["model"]) == (0, "update", "qwen3-8b")
    assert job["training_file_ids"] == ["file-1", "file-2"]
    assert job["hyper_parameters"] == {"n_epochs": 3, "learning_rate": "1.6e-5x"}
    assert (job["job_name"], job["training_type"]) == ("mine", "sft")


@pytest.mark.usefixtures("on_a_terminal")
def test_create_on_a_terminal_shows_the_fields(server: Service) -> None:
    assert "qwen3-8b" in run("create", "--base-url", server.url, *NEEDED).stdout


def test_a_create_without_a_good_answer_is_not_sent_again(server: Service) -> None:
    server.simulator.fail_next(Fault.error(500))
    result = run("create", "--base-url", server.url, *NEEDED)
    assert (result.exit_code, len(server.simulator.requests)) == (6, 1)
    assert lines_of(result.stdout)[-1]["event"] == "error"


ONE = '{"data_source_type": "file_id", "file_id": "file-1"}'
MOUNTED = {"data_source_type": "oss_mount", "mount_storage": {"bucket": "b", "file_path": "p"}}


def test_create_takes_data_sets(server: Service, tmp_path: Path) -> None:
    file = tmp_path / "sets.json"
    file.write_text(json.dumps([MOUNTED, MOUNTED]), encoding="utf-8")
    training = ["--training-dataset", ONE, "--training-dataset", f"@{file}"]
    sets = [*training, "--validation-dataset", ONE]
    (line,) = lines_of(run("create", "--base-url", server.url, "--model", "m", *sets).stdout)
    assert line["job"]["training_datasets"] == [json.loads(ONE), MOUNTED, MOUNTED]
    assert line["job"]["validation_datasets"] == [json.loads(ONE)]


def test_create_takes_the_further_fields(server: Service) -> None:
    further = ["--rollout", '{"n": 4}', "--reward", '{"name": "length"}', "--priority", "high"]
    extra = ["--extra-body", '{"training_file_ids": ["file-9"], "new_field": 1}']
    result = run("create", "--base-url", server.url, *NEEDED[:2], *further, *extra)
    (line,) = lines_of(result.stdout)
    assert (result.exit_code, line["job"]["training_file_ids"]) == (0, ["file-9"])


@pytest.mark.parametrize("option", ["--rollout", "--resource-config", "--extra-body"])
def test_an_object_that_is_no_object_is_refused_with_the_form_to_write(option: str) -> None:
    result = run("create", *NEEDED, option, "7")
    assert (result.exit_code, "not a JSON object" in result.stderr) == (2, True)
    result = run("create", *NEEDED, option, '[{"a": 1}, {"b": 2}]')
    assert (result.exit_code, "one JSON object, not 2" in result.stderr) == (2, True)


def test_a_wrong_further_field_is_named_by_its_option() -> None:
    result = run("create", *NEEDED, "--priority", "a\nb")
    assert (result.exit_code, "--priority" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--model"),
        (NEEDED[:2], "give either --training-file or --training-dataset"),
        ([*NEEDED, "--training-dataset", ONE], "give either --training-file or --training-dataset"),
        ([*NEEDED, "--validation-file", "f", "--validation-dataset", ONE], "not both"),
        ([*NEEDED, "--hyper-parameter", "n_epochs"], "NAME=VALUE"),
        ([*NEEDED[:2], "--training-dataset", "file-1"], "not valid JSON: "),
        ([*NEEDED[:2], "--training-dataset", "[7]"], "not a JSON object"),
        ([*NEEDED[:2], "--training-dataset", "@/no/such/file"], "No such file"),
    ],
)
def test_create_refuses_what_cannot_be(args: list[str], said: str) -> None:
    result = run("create", *args)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("FALSE", False),
        (".9", 0.9),
        ("1.", 1.0),
        ("-.5e-3", -0.5e-3),
        ("+5", 5),
        ("1e-4", 1e-4),
        ('"True"', "True"),
        ("null", None),
        ("lora", "lora"),
        ("1,000", "1,000"),
        ("[1, 2]", [1, 2]),
    ],
)
def test_a_hyper_parameter_is_sent_as_people_mean_it(server: Service, text: str, value: object) -> None:
    result = run("create", "--base-url", server.url, *NEEDED, "--hyper-parameter", f"x={text}")
    (line,) = lines_of(result.stdout)
    assert line["job"]["hyper_parameters"] == {"x": value}
    assert type(line["job"]["hyper_parameters"]["x"]) is type(value)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("None", "x=null"),
        ("NaN", "finite"),
        ("-inf", "finite"),
        ("{'r': 8}", "not valid JSON"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_an_ambiguous_hyper_parameter_is_refused_with_the_word_to_write(text: str, advice: str) -> None:
    result = run("create", *NEEDED, "--hyper-parameter", f"x={text}")
    assert result.exit_code == 2
    assert advice in result.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_data_set_file_may_have_a_byte_order_mark(server: Service, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(ONE, encoding=encoding)
    result = run("create", "--base-url", server.url, *NEEDED[:2], "--training-dataset", f"@{path}")
    (line,) = lines_of(result.stdout)
    assert line["job"]["training_datasets"] == [json.loads(ONE)]


def test_checkpoints_are_a_line_each_the_newest_first(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.01, "SUCCEEDED")])
    run("wait", "--base-url", server.url, job_id)
    result = run("checkpoints", "--base-url", server.url, job_id)
    lines = lines_of(result.stdout)
    assert result.exit_code == 0
    assert {line["event"] for line in lines} == {"checkpoint"}
    assert [line["checkpoint"]["checkpoint"] for line in lines] == ["checkpoint-100", "checkpoint-50"]


@pytest.mark.usefixtures("on_a_terminal")
def test_checkpoints_on_a_terminal_are_a_table(server: Service) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.01, "SUCCEEDED")])
    run("wait", "--base-url", server.url, job_id)
    assert "checkpoint-50" in run("checkpoints", "--base-url", server.url, job_id).stdout
    none = run("checkpoints", "--base-url", server.url, server.add_job([(0, "PENDING")]))
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "No checkpoints.\n")


def test_checkpoints_of_no_job_exit_5(server: Service) -> None:
    assert run("checkpoints", "--base-url", server.url, "ft-absent").exit_code == 5


def test_export_waits_for_the_model_and_names_it(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = server.add_job([(0, "RUNNING"), (0.01, "SUCCEEDED")])
    run("wait", "--base-url", server.url, job_id)
    asked = ["export", "--base-url", server.url, "--model-name", "mine", job_id, "checkpoint-50"]
    result = run(*asked)
    (line,) = lines_of(result.stdout)
    assert (result.exit_code, line["checkpoint"]["status"]) == (0, "SUCCEEDED")
    monkeypatch.setattr(options, "terminals", lambda: Terminals(stdout=True, stderr=True))
    assert run(*asked).stdout == line["checkpoint"]["model_name"] + "\n"


def test_export_of_no_job_exits_5(server: Service) -> None:
    args = ["--base-url", server.url, "--model-name", "mine", "ft-absent", "checkpoint-50"]
    assert run("export", *args).exit_code == 5


def test_export_needs_a_model_name() -> None:
    assert run("export", "ft-1", "checkpoint-50").exit_code == 2


def test_an_interrupted_export_says_how_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTuneClient, "export_checkpoint", interrupted)
    result = run("export", "--model-name", "mine", "ft-1", "checkpoint-50")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].strip() == "dashscope-ft checkpoints -- ft-1"
