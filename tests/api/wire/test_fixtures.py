"""Every recorded or documented answer, and what it means."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async._api.wire import Response, decode_job, decode_page
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
)
from dashscope_ft_async.policy import is_transient
from tests.support.paths import FIXTURES

ROWS: list[dict[str, Any]] = json.loads((FIXTURES / "manifest.json").read_text())["rows"]
JOB_ID = "ft-202601051030-a1b2"


def answer(row: dict[str, Any]) -> Response:
    return Response(row["http_status"], row["headers"], (FIXTURES / row["file"]).read_bytes())


def payload(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / row["file"]).read_bytes())
    return found


def is_job(row: dict[str, Any]) -> bool:
    # The sibling import endpoint answers with the same shape.
    kinds = ("job-", "import-job-")
    return row["file"].startswith(kinds) or (row["file"].startswith("odd-") and row["retryable"] is None)


def is_refusal(row: dict[str, Any]) -> bool:
    return row["http_status"] >= 400 or row["retryable"] is not None


def named(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id=row["file"]) for row in rows]


JOBS = [row for row in ROWS if is_job(row)]
LISTS = [row for row in ROWS if row["endpoint"] == "GET /fine-tunes"]
REFUSALS = [row for row in ROWS if is_refusal(row)]
OTHERS = [row for row in ROWS if row not in JOBS + LISTS + REFUSALS]


def test_the_manifest_lists_every_file_and_these_tests_read_each_once() -> None:
    present = {str(path.relative_to(FIXTURES)) for path in FIXTURES.rglob("*") if path.is_file()}

    assert {row["file"] for row in ROWS} == present - {"manifest.json"}
    assert len(JOBS) + len(LISTS) + len(REFUSALS) + len(OTHERS) == len(ROWS)
    assert (len(JOBS), len(LISTS), len(REFUSALS)) == (37, 3, 50)


# --- jobs ---------------------------------------------------------------------------------------------

PHASES = {
    "waiting": (False, False),
    "undetermined": (False, False),
    "succeeded": (True, True),
    "failed": (True, False),
    "canceled": (True, False),
}


@pytest.mark.parametrize("row", named(JOBS))
def test_a_job_fixture_is_in_the_phase_the_manifest_says(row: dict[str, Any]) -> None:
    body = payload(row)
    output = body.get("output") or body["data"]

    job = decode_job(answer(row), output["job_id"])

    assert (job.is_terminal, job.succeeded) == PHASES[row["phase"]]
    assert job.request_id == body.get("request_id")
    assert job.raw_status == output.get("status", output.get("task_status"))


@pytest.mark.parametrize("row", named(JOBS))
def test_no_field_of_a_job_fixture_is_lost(row: dict[str, Any]) -> None:
    body = payload(row)
    output = body.get("output") or body["data"]
    aliases = {"jobs_name": "job_name", "task_status": "status", "gmt_create": "create_time"}

    job = decode_job(answer(row), output["job_id"])

    fields = {aliases.get(name, str(name)) for name in output}
    kept = {name for name in fields - set(job.extra) if getattr(job, name) is not None}
    assert kept | set(job.extra) == fields
    assert FineTuneJob.from_dict(json.loads(job.to_json())) == job


def test_the_api_pages_own_sample_field_by_field() -> None:
    body = (FIXTURES / "job-succeeded-seed.json").read_bytes()

    job = decode_job(Response(200, {}, body), "ft-202410291653-1c7f")

    assert job.job_id == "ft-202410291653-1c7f"
    assert job.job_name == "ft-202410291653-1c7f"
    assert job.status is JobStatus.SUCCEEDED
    assert job.raw_status == "SUCCEEDED"
    assert job.finetuned_output == "qwen3-14b-suffix-ft-202410291653-1c7f"
    assert job.model == "qwen3-14b"
    assert job.base_model == "qwen3-14b"
    assert job.training_file_ids == ("976bd01a-f30b-4414-86fd-50c54486e3ef",)
    assert job.validation_file_ids == ()
    assert job.hyper_parameters == {
        "n_epochs": 3,
        "batch_size": 32,
        "max_length": 8192,
        "learning_rate": "1.6e-5",
        "lr_scheduler_type": "linear",
        "split": 0.9,
    }
    assert job.training_type == "sft"
    assert job.create_time == datetime(2024, 10, 29, 16, 53, 53)  # noqa: DTZ001 - none is named
    assert job.workspace_id == "llm-v71tlv***"
    assert job.user_identity == "1396993924585947"
    assert job.modifier == "1396993924585947"
    assert job.creator == "1396993924585947"
    assert job.end_time == datetime(2024, 10, 29, 17, 11, 26)  # noqa: DTZ001
    assert job.group == "llm"
    assert job.usage == 279808
    assert (job.output_cnt, job.max_output_cnt) == (None, None)  # in the page's table, not its sample
    assert (job.code, job.message) == (None, None)
    assert job.request_id == "c59b2145-a93c-4e00-b610-4d7cc5c521a2"
    assert job.extra == {}


def test_a_newer_job_has_data_sets() -> None:
    body = (FIXTURES / "job-succeeded-datasets.json").read_bytes()

    job = decode_job(Response(200, {}, body), JOB_ID)

    assert job.training_file_ids == ()
    assert job.training_datasets == (
        {"data_source_type": "file_id", "file_id": "11111111-1111-4111-8111-111111111111"},
    )
    assert job.extra == {}


def test_the_two_counts_of_the_table_are_read_where_a_sample_has_them() -> None:
    body = (FIXTURES / "job-succeeded-video-full.json").read_bytes()

    job = decode_job(Response(200, {}, body), "ft-202601051030-c3d4")

    assert (job.output_cnt, job.max_output_cnt) == (8, 8)


def test_code_1_on_a_canceled_job_is_data() -> None:
    job = decode_job(Response(200, {}, (FIXTURES / "job-canceled-code-1.json").read_bytes()), JOB_ID)

    assert (job.status, job.code, job.usage) == (JobStatus.CANCELED, "1", 0)


# --- lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", named(LISTS))
def test_a_list_fixture_gives_all_its_jobs(row: dict[str, Any]) -> None:
    body = payload(row)

    page = decode_page(answer(row), 1, 10)

    assert [job.job_id for job in page.jobs] == [job["job_id"] for job in body["output"]["jobs"]]
    assert page.request_id == body["request_id"]


def test_the_second_page_of_the_list_sample() -> None:
    page = decode_page(Response(200, {}, (FIXTURES / "list-page-2-of-2.json").read_bytes()), 7, 99)

    assert (page.page_no, page.page_size, page.total, page.extra) == (2, 10, 12, {})
    assert [job.status for job in page.jobs] == [JobStatus.SUCCEEDED, JobStatus.CANCELED]


def test_a_list_without_numbers_has_those_that_were_asked_for() -> None:
    body = (FIXTURES / "list-legacy-finetuned-outputs.json").read_bytes()

    page = decode_page(Response(200, {}, body), 7, 99)

    assert (page.page_no, page.page_size, page.total) == (7, 99, None)
    assert set(page.extra) == {"finetuned_outputs"}
    assert page.jobs[0].status is JobStatus.UNRECOGNIZED


# --- refusals -----------------------------------------------------------------------------------------

BY_STATUS = {
    200: PermissionDeniedError,  # the one fixture with a business code under 200
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
    500: InternalServerError,
    502: InternalServerError,
    503: ServiceUnavailableError,
    504: InternalServerError,
}
BY_CODE = {
    "error-400-arrearage.json": PermissionDeniedError,
    "error-400-throttling-allocation-quota.json": RateLimitError,
    "error-429-commodity-not-purchased.json": PermissionDeniedError,
    "error-429-prepaid-overdue.json": PermissionDeniedError,
    "error-429-postpaid-overdue.json": PermissionDeniedError,
}


@pytest.mark.parametrize("row", named(REFUSALS))
def test_a_refusal_lands_on_its_class(row: dict[str, Any]) -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(answer(row), JOB_ID)

    assert type(caught.value) is BY_CODE.get(row["file"], BY_STATUS[row["http_status"]])
    assert caught.value.status == row["http_status"]


@pytest.mark.parametrize("row", named([row for row in REFUSALS if row["file"].endswith(".json")]))
def test_a_refusal_keeps_the_services_code_text_and_request_id(row: dict[str, Any]) -> None:
    body = payload(row)
    told = body.get("error", body)

    with pytest.raises(APIStatusError) as caught:
        decode_page(answer(row), 1, 10)

    error = caught.value
    assert (error.code, error.message) == (told["code"], told.get("message", told.get("msg")))
    assert error.request_id == body["request_id"]
    assert error.json_body


# Where the manifest's advice cannot be followed by a client that polls:
CANNOT_KNOW = {
    # The same code and status as a rate limit that clears in a minute; only the (localised) text differs.
    "error-429-allocation-quota-free.json",
    # Throttles of *creating* a job, under the code of a throttled poll; no poll ever gets them.
    "error-429-throttling-twenty-jobs.json",
}


@pytest.mark.parametrize("row", named([row for row in REFUSALS if row["retryable"] is not None]))
def test_a_refusal_is_transient_where_the_manifest_says_so(row: dict[str, Any]) -> None:
    with pytest.raises(APIStatusError) as caught:
        decode_job(answer(row), JOB_ID)

    assert is_transient(caught.value) is (row["retryable"] or row["file"] in CANNOT_KNOW)


@pytest.mark.parametrize("row", named([row for row in REFUSALS if row["retryable"] is None]))
def test_a_refusal_the_manifest_does_not_judge_is_a_create_throttle(row: dict[str, Any]) -> None:
    assert row["file"] == "error-429-throttling-running-jobs.json"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("raw/502-nginx.html", "the body is not JSON"),
        ("raw/500-wrapping-502.html", "the body is not JSON"),
        ("raw/429-empty.txt", None),
    ],
)
def test_a_refusal_that_is_no_json_says_so(name: str, text: str | None) -> None:
    row = next(row for row in ROWS if row["file"] == name)

    with pytest.raises(APIStatusError) as caught:
        decode_job(answer(row), JOB_ID)

    assert not caught.value.json_body
    assert caught.value.code is None
    assert (text or "") in (caught.value.message or "")
    assert (caught.value.message is None) is (text is None)


# --- what is no answer of these two endpoints ---------------------------------------------------------

WHERE = {
    "checkpoints.json": "expected an object, found list @ $.output",
    "checkpoints-legacy-full-name.json": "expected an object, found list @ $.output",
    "checkpoints-wrapped.json": "required field missing @ $.output.job_id",
    "export-true.json": "expected an object, found bool @ $.output",
    "export-false.json": "expected an object, found bool @ $.output",
    "validation-results.json": "expected an object, found list @ $.output",
    "validation-details.json": "required field missing @ $.output.job_id",
    "logs.json": "required field missing @ $.output.job_id",
    "logs-single-string.json": "required field missing @ $.output.job_id",
    "cancel-success.json": "required field missing @ $.output.job_id",
    "delete-success.json": "required field missing @ $.output.job_id",
    "delete-success-legacy.json": "required field missing @ $.output.job_id",
    "task-unknown.json": "required field missing @ $.output.job_id",
    "raw/200-waf-page.html": "not a JSON object (text/html; charset=utf-8, 74 bytes: ",
    "raw/200-truncated.txt": "not a JSON object (application/json, 90 bytes: ",
    "raw/stream.sse.txt": "not a JSON object (text/event-stream, ",
}


def test_these_tests_name_every_other_answer() -> None:
    assert set(WHERE) == {row["file"] for row in OTHERS}


@pytest.mark.parametrize("row", named(OTHERS))
def test_another_endpoints_answer_is_refused_and_says_where(row: dict[str, Any]) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        decode_job(answer(row), JOB_ID)

    assert WHERE[row["file"]] in str(caught.value)
    assert is_transient(caught.value)


@pytest.mark.parametrize("row", named([row for row in LISTS if row["http_status"] == 200]))
def test_a_list_is_no_job(row: dict[str, Any]) -> None:
    with pytest.raises(APIResponseValidationError, match=r"@ \$\.output\.job_id"):
        decode_job(answer(row), JOB_ID)
