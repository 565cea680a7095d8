"""The schema of the JSON lines. That each line is as it says is seen to by `lines_of`, in every test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator, ValidationError

from dashscope_ft_async import Checkpoint, CheckpointStatus, FineTuneJob, InternalServerError, JobStatus
from dashscope_ft_async.cli.doctor.checks import Verdict
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.output import SCHEMA, event_json, to_text
from dashscope_ft_async.cli.record import event_line
from dashscope_ft_async.cli.schema import schema_text
from dashscope_ft_async.hooks import Event, RequestFinished, Retrying, Throttled
from tests.support.cli_service import Json, lines_of, run
from tests.support.paths import ROOT

AT = datetime(2026, 1, 5, tzinfo=UTC)
WRITTEN: Json = json.loads(schema_text())
DEFINED: Json = WRITTEN["$defs"]


def test_the_command_prints_the_file_that_is_shipped() -> None:
    result = run("schema")
    assert (result.exit_code, json.loads(result.stdout)) == (0, WRITTEN)


def test_it_is_a_schema_of_its_draft() -> None:
    assert WRITTEN["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(WRITTEN)


def test_it_tells_the_version_of_the_lines() -> None:
    assert WRITTEN["properties"]["schema"]["const"] == SCHEMA
    assert WRITTEN["$id"].endswith(f":{SCHEMA}")


@pytest.mark.parametrize(("name", "kind"), [("job", FineTuneJob), ("checkpoint", Checkpoint)])
def test_a_snapshot_has_exactly_the_fields_of_its_class(name: str, kind: Any) -> None:
    fields = list(attrs.fields_dict(kind))
    assert (list(DEFINED[name]["properties"]), DEFINED[name]["required"]) == (fields, fields)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (DEFINED["status"], JobStatus),
        (DEFINED["checkpoint"]["properties"]["status"], CheckpointStatus),
        (DEFINED["event-check"]["properties"]["verdict"], Verdict),
        (DEFINED["exit_code"], [code for code in ExitCode if code < ExitCode.BUG]),
    ],
    ids=["status", "export", "verdict", "exit code"],
)
def test_words_and_numbers_are_those_that_the_program_knows(given: Json, known: Any) -> None:
    assert given["enum"] == [each.value for each in known]


def test_every_event_has_its_branch_and_its_place_on_the_page() -> None:
    events = [name.removeprefix("event-") for name in DEFINED if name.startswith("event-")]
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert WRITTEN["oneOf"] == [{"$ref": f"#/$defs/event-{name}"} for name in events]
    assert [
        name for name in events if DEFINED[f"event-{name}"]["properties"]["event"]["const"] != name
    ] == []
    assert [name for name in events if f"`{name}`" not in page] == []


def line(name: str, **facts: object) -> str:
    return to_text(event_json(name, "ft-1", AT, **facts))


def job(**fields: Any) -> Json:
    given: Json = {"job_id": "ft-1", "status": JobStatus.RUNNING, "raw_status": "RUNNING"}
    return FineTuneJob(**given | fields).to_dict()


def test_a_job_of_which_little_is_known_is_as_the_schema_says() -> None:
    full = job(create_time=datetime(2026, 1, 5), hyper_parameters={"a": [1]}, usage=1, extra={"b": None})  # noqa: DTZ001
    for snapshot in (job(), full):
        lines_of(line("update", status="RUNNING", exit_code=None, job=snapshot))


def test_the_lines_of_a_record_are_as_the_schema_says() -> None:
    request: Json = {"call": 1, "method": "GET", "template": "/fine-tunes", "host": "h", "port": 443}
    failed = InternalServerError("busy", status=500)
    events: list[Event] = [
        RequestFinished(**request, job_id=None, seconds=0.1, status=None, error="APITimeoutError"),
        RequestFinished(**request, job_id="ft-1", seconds=0.1, status=200, error=None),
        Retrying(call=None, wait=1, job_id="ft-1", attempt=2, seconds=1, error=failed),
        Throttled(seconds=1.5, rate=float("inf"), pages=True),
    ]
    written = [event_line(event, AT) for event in events]
    told = lines_of("\n".join(to_text(each) for each in written if each is not None))
    assert [each["event"] for each in told] == ["request", "request", "retrying", "throttled"]


@pytest.mark.parametrize(
    "bad",
    [
        line("deleted", reason="none"),
        line("exploded"),
        line("log", number=0, line=""),
        line("update", status="RUNNING", exit_code=None, job={**job(), "usage": "many"}),
        line("ended", status="SUCCEEDED", exit_code=130, job=job()),
        line("update", status="RUNNING", exit_code=None),
        line("deleted").replace('"schema": 1', '"schema": 2'),
    ],
)
def test_a_line_that_is_otherwise_is_found(bad: str) -> None:
    with pytest.raises(ValidationError):
        lines_of(bad)


def test_readers_of_this_version_take_lines_with_more_names() -> None:
    reader: Any = Draft202012Validator(WRITTEN)
    reader.validate(json.loads(line("deleted", by="me")))
