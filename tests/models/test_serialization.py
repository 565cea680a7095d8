"""Models as dictionaries and JSON, and jobs read back from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import (
    Checkpoint,
    CheckpointStatus,
    ConfigurationError,
    Failure,
    FineTuneJob,
    JobPage,
    JobStatus,
    LogPage,
    TrainingMetric,
    ValidationPage,
    ValidationResult,
    ValidationSample,
    WatchState,
)

TIME = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service names no zone
JOB = FineTuneJob(
    job_id="ft-1",
    status=JobStatus.SUCCEEDED,
    raw_status="SUCCEED",
    training_file_ids=("file-1",),
    training_datasets=({"file_id": "file-1"},),
    hyper_parameters={"learning_rate": "1.6e-5"},
    create_time=TIME,
    usage=7,
    extra={"new": [1]},
)
CHECKPOINT = Checkpoint(
    checkpoint="c-1",
    status=CheckpointStatus.PENDING,
    raw_status="PENDING",
    epoch=0.5,
    metrics={"loss": 1.5},
    expire_time=TIME,
)


def test_a_job_as_a_dictionary_has_all_fields_as_json_has_them() -> None:
    fields = JOB.to_dict()

    assert json.loads(json.dumps(fields)) == fields
    assert {name: value for name, value in fields.items() if value not in (None, [], {})} == {
        "job_id": "ft-1",
        "status": "SUCCEEDED",
        "raw_status": "SUCCEED",
        "training_file_ids": ["file-1"],
        "training_datasets": [{"file_id": "file-1"}],
        "hyper_parameters": {"learning_rate": "1.6e-5"},
        "create_time": "2026-01-05T10:30:12",
        "usage": 7,
        "extra": {"new": [1]},
    }
    assert type(fields["status"]) is str
    assert fields["end_time"] is None


def test_changing_the_dictionary_does_not_change_the_job() -> None:
    fields = JOB.to_dict()

    fields["extra"]["other"] = 1
    fields["hyper_parameters"].clear()

    assert (JOB.extra, JOB.hyper_parameters) == ({"new": [1]}, {"learning_rate": "1.6e-5"})


@pytest.mark.parametrize(
    "value",
    [
        JOB,
        CHECKPOINT,
        Failure(code="1"),
        JobPage(page_no=1, page_size=10, jobs=(JOB,)),
        LogPage(lines=("完成",), total=1),
        TrainingMetric(line="x", loss=0.5, values={"loss": 0.5}),
        ValidationPage(page_no=1, page_size=10, samples=(ValidationSample(prompt="p"),)),
        ValidationResult(checkpoint="c-1"),
        WatchState(job_id="ft-1", base_url="https://h/api/v1", started=TIME.replace(tzinfo=UTC)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_model_is_one_line_of_json(value: Any) -> None:
    assert json.loads(value.to_json()) == value.to_dict()
    assert "\n" not in value.to_json()


def test_nested_models_are_dictionaries() -> None:
    page = JobPage(page_no=1, page_size=10, jobs=(JOB,))

    assert page.to_dict()["jobs"] == [JOB.to_dict()]


@pytest.mark.parametrize(
    ("page", "items"),
    [
        (JobPage(page_no=1, page_size=10, jobs=(JOB, JOB)), [JOB, JOB]),
        (LogPage(lines=("a", "b", "c")), ["a", "b", "c"]),
        (ValidationPage(page_no=1, page_size=10, samples=(ValidationSample(),)), [ValidationSample()]),
        (JobPage(page_no=1, page_size=10), []),
    ],
)
def test_pages_are_iterable_and_have_a_length(page: Any, items: list[Any]) -> None:
    assert list(page) == items
    assert len(page) == len(items)


# --- from_dict ----------------------------------------------------------------------------------------

TEXTS = st.none() | st.text(max_size=9)
NUMBERS = st.none() | st.integers()
TIMES = st.none() | st.datetimes(
    timezones=st.none()
    | st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(seconds=-61))])
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
MAPPINGS = st.dictionaries(st.text(max_size=9), JSON_VALUES, max_size=3)
JOBS = st.builds(
    FineTuneJob,
    job_id=st.text(max_size=9),
    status=st.sampled_from(JobStatus),
    raw_status=st.text(max_size=9),
    **dict.fromkeys(("job_name", "model", "finetuned_output", "code", "message", "request_id"), TEXTS),
    **dict.fromkeys(("usage", "output_cnt", "max_output_cnt"), NUMBERS),
    **dict.fromkeys(("create_time", "end_time"), TIMES),
    **dict.fromkeys(
        ("training_file_ids", "validation_file_ids"), st.lists(st.text(max_size=9), max_size=2).map(tuple)
    ),
    **dict.fromkeys(
        ("training_datasets", "validation_datasets"), st.lists(MAPPINGS, max_size=2).map(tuple)
    ),
    **dict.fromkeys(("hyper_parameters", "extra"), MAPPINGS),
)


@given(JOBS)
def test_from_dict_inverts_to_dict_and_to_json(job: FineTuneJob) -> None:
    assert FineTuneJob.from_dict(job.to_dict()) == job
    assert FineTuneJob.from_dict(json.loads(job.to_json())) == job


def test_absent_fields_have_their_defaults_and_unknown_ones_are_kept() -> None:
    least = {"job_id": "ft-1", "status": "RUNNING", "raw_status": "RUNNING"}

    assert FineTuneJob.from_dict(least) == FineTuneJob(
        job_id="ft-1", status=JobStatus.RUNNING, raw_status="RUNNING"
    )
    assert FineTuneJob.from_dict({**least, "new": 1, "extra": {"old": 2}}).extra == {"new": 1, "old": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job_id", None), ("job_id", 5), ("status", "DONE"), ("status", None), ("raw_status", []),
        ("job_name", 5), ("usage", "5"), ("usage", True), ("usage", 1.0), ("create_time", 5),
        ("create_time", "yesterday"), ("training_file_ids", "file-1"), ("training_file_ids", [5]),
        ("training_file_ids", None), ("training_datasets", ["file-1"]), ("hyper_parameters", None),
        ("extra", []),
    ],
)  # fmt: skip
def test_a_value_that_to_dict_does_not_return_is_refused_by_the_name_of_its_field(
    name: str, value: object
) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"FineTuneJob\.{name} must be as to_dict returns it, not"
    ):
        FineTuneJob.from_dict({**JOB.to_dict(), name: value})


@pytest.mark.parametrize("other", [None, [], "job"])
def test_from_dict_refuses_what_is_no_mapping(other: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"takes the mapping .* not {type(other).__name__}\.$"):
        FineTuneJob.from_dict(other)


@pytest.mark.parametrize("name", ["job_id", "status", "raw_status"])
def test_a_missing_field_is_named(name: str) -> None:
    fields = JOB.to_dict()
    del fields[name]

    with pytest.raises(ConfigurationError, match=rf"FineTuneJob\.{name} .* and is missing"):
        FineTuneJob.from_dict(fields)
