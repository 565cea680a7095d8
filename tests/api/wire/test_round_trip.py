"""Jobs survive the encoding of the simulator: alone, in a page, and in a scanned page."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async._api.wire import Response, decode_job, decode_page, scan_page
from dashscope_ft_async.errors import APIResponseValidationError
from dashscope_ft_async.testing.jobs import SimulatedJob, page_of

texts = st.text(min_size=1, max_size=12)
stamps = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
numbers = st.integers(-(2**53), 2**53)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
TEXTS = (
    *("job_name", "finetuned_output", "model", "base_model", "training_type", "workspace_id"),
    *("user_identity", "modifier", "creator", "group", "model_name", "charge_type", "code", "message"),
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.none() | texts for name in TEXTS},
    **{name: st.none() | numbers for name in ("usage", "output_cnt", "max_output_cnt")},
    **{name: st.none() | stamps for name in ("create_time", "end_time")},
    **{
        name: st.lists(texts.filter(lambda text: bool(text.strip())), max_size=3).map(tuple)
        for name in ("training_file_ids", "validation_file_ids")
    },
    **{
        name: st.lists(st.dictionaries(texts, json_values, max_size=2), max_size=2).map(tuple)
        for name in ("training_datasets", "validation_datasets")
    },
    "hyper_parameters": st.dictionaries(texts, json_values, max_size=3),
    "extra": st.dictionaries(texts.map("new_{}".format), json_values, max_size=3),
}


def with_its_raw_status(job: FineTuneJob) -> FineTuneJob:
    return attrs.evolve(job, raw_status=job.status.value)


jobs = st.builds(
    FineTuneJob,
    job_id=st.just("ft-1"),
    status=st.sampled_from(JobStatus),
    raw_status=st.just(""),
    request_id=st.just("r"),
    **OPTIONAL,
).map(with_its_raw_status)


def encoded(job: FineTuneJob) -> dict[str, Any]:
    """The job as the simulator sends it."""
    fields = attrs.asdict(job, recurse=False)
    status, extra = fields.pop("raw_status"), fields.pop("extra")
    for name in ("job_id", "status", "request_id"):
        del fields[name]
    for name in ("create_time", "end_time"):
        fields[name] = fields[name] and f"{fields[name]:%Y-%m-%d %H:%M:%S}"
    return SimulatedJob("ft-1", 0.0, [(0.0, status)], fields={**fields, **extra}).output_at(0.0)


def answer(output: object) -> Response:
    return Response(200, {}, json.dumps({"request_id": "r", "output": output}).encode())


@settings(max_examples=60)
@given(jobs)
def test_a_job_survives_the_simulators_encoding(job: FineTuneJob) -> None:
    assert decode_job(answer(encoded(job)), "ft-1") == job


@settings(max_examples=60)
@given(jobs)
def test_a_page_holds_the_same_job_whether_read_or_scanned(job: FineTuneJob) -> None:
    simulated = SimulatedJob("ft-1", 0.0, [(0.0, job.raw_status)], fields=encoded(job))
    response = answer(page_of([simulated], 0.0, 1, 10, None))

    [read] = decode_page(response, 1, 10).jobs
    [row] = scan_page(response, 10).rows

    assert read == attrs.evolve(job, request_id=None)
    assert row.job() == job


@settings(max_examples=60)
@given(jobs, jobs, st.sampled_from(["status", *OPTIONAL]))
def test_rows_have_different_marks_where_the_job_has_changed_and_only_there(
    first: FineTuneJob, other: FineTuneJob, name: str
) -> None:
    second = with_its_raw_status(attrs.evolve(first, **{name: getattr(other, name)}))
    old, new = (scan_page(answer({"jobs": [encoded(job)]}), 10).rows[0] for job in (first, second))

    assert (old.mark() != new.mark()) is second.is_change_from(first)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["status", "job_id", "task_status", "gmt_create", *OPTIONAL]), json_values
    )
)
def test_junk_in_every_field_of_a_row_is_a_page_or_one_of_our_errors(junk: dict[str, object]) -> None:
    response = answer({"jobs": [{"job_id": "ft-1", "status": "RUNNING", **junk}]})

    try:
        assert len(decode_page(response, 1, 10).jobs) == 1
    except APIResponseValidationError as error:
        assert "@ $.output.jobs[0]" in str(error)
