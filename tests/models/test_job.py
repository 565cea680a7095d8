"""Jobs: fields, whether they have ended, how long they took, and what counts as a change."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from dashscope_ft_async import FineTuneJob, JobPage, JobStatus

CREATED = datetime(2024, 10, 29, 16, 53, 53)  # noqa: DTZ001 - the service names no zone
ENDED = datetime(2024, 10, 29, 17, 11, 26)  # noqa: DTZ001


def job(status: JobStatus = JobStatus.RUNNING, **fields: Any) -> FineTuneJob:
    values: dict[str, Any] = {"job_id": "ft-1", "status": status, "raw_status": status.value}
    return FineTuneJob(**(values | fields))


OTHER_VALUES: dict[str, Any] = {
    "job_id": "ft-2",
    "status": JobStatus.FAILED,
    "raw_status": "Running",
    "training_file_ids": ("a",),
    "validation_file_ids": ("b",),
    "hyper_parameters": {"n_epochs": 3},
    "create_time": CREATED,
    "end_time": ENDED,
    "usage": 1,
    "output_cnt": 1,
    "max_output_cnt": 1,
    "training_datasets": ({"file_id": "a"},),
    "validation_datasets": ({"file_id": "b"},),
    "extra": {"new": 1},
    **dict.fromkeys(
        (
            "job_name",
            "finetuned_output",
            "model",
            "base_model",
            "training_type",
            "workspace_id",
            "user_identity",
            "modifier",
            "creator",
            "group",
            "model_name",
            "charge_type",
            "code",
            "message",
            "request_id",
        ),
        "text",
    ),
}


def test_these_tests_name_every_field() -> None:
    assert set(attrs.fields_dict(FineTuneJob)) == set(OTHER_VALUES)


def test_two_jobs_of_the_same_values_are_equal_and_hash_alike() -> None:
    assert job(usage=5, extra={"a": 1}) == job(usage=5, extra={"a": 1})
    assert hash(job(usage=5)) == hash(job(usage=5))


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_two_jobs_that_differ_in_one_field_are_not_equal(name: str) -> None:
    assert job() != attrs.evolve(job(), **{name: OTHER_VALUES[name]})


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_no_field_can_be_set(name: str) -> None:
    snapshot = job()

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(snapshot, name, OTHER_VALUES[name])


def test_no_new_attribute_can_be_set() -> None:
    with pytest.raises((AttributeError, attrs.exceptions.FrozenInstanceError)):
        setattr(job(), "surprise", 1)  # noqa: B010 - a type checker would refuse the plain form


def test_a_job_with_mappings_can_be_in_a_set() -> None:
    first = job(hyper_parameters={"split": 0.9}, extra={"list": []})
    second = job(hyper_parameters={"split": 0.9}, extra={"list": []})

    assert {first, second} == {first}


@pytest.mark.parametrize("name", ["extra", "hyper_parameters"])
def test_an_empty_mapping_cannot_be_changed_since_jobs_share_it(name: str) -> None:
    empty: Any = getattr(job(), name)

    assert empty == {}
    assert json.dumps(empty) == "{}"
    for method, argument in (("update", {"a": 1}), ("setdefault", "a"), ("__ior__", {"a": 1})):
        with pytest.raises(TypeError, match="cannot be changed"):
            getattr(empty, method)(argument)
    with pytest.raises(TypeError, match="cannot be changed"):
        empty["a"] = 1
    assert getattr(job(), name) == {}


def repickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, repickled])
def test_a_job_survives_copy_and_pickle(copied: Any) -> None:
    snapshot = attrs.evolve(job(), **OTHER_VALUES)

    assert copied(snapshot) == snapshot


def test_a_job_takes_no_positional_arguments() -> None:
    with pytest.raises(TypeError):
        FineTuneJob("ft-1", JobStatus.RUNNING, "RUNNING")  # type: ignore[call-arg]  # pyright: ignore


# --- has it ended? ------------------------------------------------------------------------------------

NOT_FINAL = [
    JobStatus.PENDING,
    JobStatus.QUEUING,
    JobStatus.RUNNING,
    JobStatus.CANCELING,
    JobStatus.SUSPENDED,
    JobStatus.UNKNOWN,
]
FINAL = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED]


def test_these_tests_name_every_status() -> None:
    assert set(JobStatus) == {*NOT_FINAL, *FINAL, JobStatus.UNRECOGNIZED}


@pytest.mark.parametrize("end_time", [None, ENDED], ids=["no end_time", "end_time"])
@pytest.mark.parametrize("status", FINAL)
def test_the_three_final_words_end_a_job(status: JobStatus, end_time: datetime | None) -> None:
    assert status.is_terminal
    assert job(status, end_time=end_time).is_terminal


@pytest.mark.parametrize("end_time", [None, ENDED], ids=["no end_time", "end_time"])
@pytest.mark.parametrize("status", NOT_FINAL)
def test_no_other_known_word_ends_a_job(status: JobStatus, end_time: datetime | None) -> None:
    assert not status.is_terminal
    assert not job(status, end_time=end_time).is_terminal


@pytest.mark.parametrize(("end_time", "ended"), [(None, False), (ENDED, True)])
def test_a_word_nobody_knows_ends_a_job_only_with_an_end_time(
    end_time: datetime | None, ended: bool
) -> None:
    snapshot = job(JobStatus.UNRECOGNIZED, raw_status="ARCHIVED", end_time=end_time)

    assert snapshot.is_terminal is ended
    assert not JobStatus.UNRECOGNIZED.is_terminal


@pytest.mark.parametrize("status", JobStatus)
def test_only_succeeded_is_success(status: JobStatus) -> None:
    assert job(status, end_time=ENDED, finetuned_output="m").succeeded is (status is JobStatus.SUCCEEDED)


def test_a_status_is_its_word() -> None:
    assert [str(status) for status in JobStatus] == [status.name for status in JobStatus]


# --- duration -----------------------------------------------------------------------------------------


def test_duration_is_the_time_from_creation_to_end() -> None:
    assert job(create_time=CREATED, end_time=ENDED).duration == timedelta(minutes=17, seconds=33)


def test_duration_minds_zones_where_both_times_name_one() -> None:
    created = datetime.fromisoformat("2026-01-05T12:00:00+08:00")

    assert job(create_time=created, end_time=datetime(2026, 1, 5, 5, tzinfo=UTC)).duration == timedelta(
        hours=1
    )


def test_a_job_that_ends_as_it_is_created_takes_no_time() -> None:
    assert job(create_time=CREATED, end_time=CREATED).duration == timedelta(0)


@pytest.mark.parametrize(
    ("create_time", "end_time"),
    [
        pytest.param(None, None, id="neither"),
        pytest.param(CREATED, None, id="no end"),
        pytest.param(None, ENDED, id="no creation"),
        pytest.param(CREATED, ENDED.replace(tzinfo=UTC), id="only the end names a zone"),
        pytest.param(CREATED.replace(tzinfo=UTC), ENDED, id="only the creation names a zone"),
        pytest.param(ENDED, CREATED, id="ended before it was created"),
    ],
)
def test_duration_is_none_where_it_cannot_be_told(
    create_time: datetime | None, end_time: datetime | None
) -> None:
    assert job(create_time=create_time, end_time=end_time).duration is None


# --- changes ------------------------------------------------------------------------------------------

CHANGES = {"raw_status", "end_time", "usage", "output_cnt", "finetuned_output", "code", "message"}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_a_change_is_a_change_of_these_fields_only(name: str) -> None:
    later = attrs.evolve(job(), **{name: OTHER_VALUES[name]})

    assert later.is_change_from(job()) is (name in CHANGES)
    assert job().is_change_from(later) is (name in CHANGES)


def test_anything_is_a_change_from_nothing() -> None:
    assert job().is_change_from(None)


def test_the_same_again_is_no_change() -> None:
    assert not job(request_id="second").is_change_from(job(request_id="first"))


# --- pages --------------------------------------------------------------------------------------------


def test_a_page_is_a_frozen_value() -> None:
    page = JobPage(page_no=1, page_size=10, jobs=(job(),))

    assert page == JobPage(page_no=1, page_size=10, jobs=(job(),))
    assert hash(page) == hash(JobPage(page_no=1, page_size=10, jobs=(job(),)))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        page.total = 3  # type: ignore[misc]  # pyright: ignore
