"""Answers about jobs: odd values are read as far as possible without guessing."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async._api.wire import (
    Response,
    decode_job,
)
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    DashScopeFTError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
)

TEXT_FIELDS = [
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
]
NUMBER_FIELDS = ["usage", "output_cnt", "max_output_cnt"]
TIME_FIELDS = ["create_time", "end_time"]
LIST_FIELDS = ["training_file_ids", "validation_file_ids"]
DATASET_FIELDS = ["training_datasets", "validation_datasets"]


def response(body: object, status: int = 200, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def decoded(**fields: object) -> FineTuneJob:
    output = {"job_id": "ft-1", "status": "RUNNING", **fields}
    return decode_job(response({"request_id": "r", "output": output}), "ft-1")


def refused(body: object, status: int = 200, **headers: str) -> Any:
    with pytest.raises(DashScopeFTError) as caught:
        decode_job(response(body, status, **headers), "ft-1")
    return caught.value


# --- absent, null and empty ---------------------------------------------------------------------------


def test_two_fields_are_enough() -> None:
    expected = FineTuneJob(job_id="ft-1", status=JobStatus.RUNNING, raw_status="RUNNING", request_id="r")

    assert decoded() == expected


@pytest.mark.parametrize(
    "name",
    [*TEXT_FIELDS, *NUMBER_FIELDS, *TIME_FIELDS, *LIST_FIELDS, *DATASET_FIELDS, "hyper_parameters"],
)
def test_null_is_the_same_as_absent(name: str) -> None:
    assert decoded(**{name: None}) == decoded()


@pytest.mark.parametrize("name", [*TEXT_FIELDS, *TIME_FIELDS])
def test_empty_text_is_the_same_as_absent(name: str) -> None:
    assert decoded(**{name: ""}) == decoded()


def test_unknown_fields_are_kept_in_extra() -> None:
    unknown = {"speed": "fast", "error": None, "raw_status": "no", "extra": {"a": [1]}}

    assert decoded(**unknown).extra == unknown


# --- folding text and numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXT_FIELDS)
@pytest.mark.parametrize(
    ("sent", "read"), [("x", "x"), (" x ", " x "), (1, "1"), (1396993924585947, "1396993924585947")]
)
def test_a_whole_number_in_a_text_field_is_its_digits(name: str, sent: object, read: str) -> None:
    assert getattr(decoded(**{name: sent}), name) == read


@pytest.mark.parametrize("name", NUMBER_FIELDS)
@pytest.mark.parametrize(
    ("sent", "read"),
    [(0, 0), (279808, 279808), ("279808", 279808), (" 12 ", 12), ("+3", 3), ("-1", -1), (3.0, 3)],
    ids=repr,
)
def test_text_of_digits_in_a_number_field_is_its_number(name: str, sent: object, read: int) -> None:
    job = decoded(**{name: sent})

    assert getattr(job, name) == read
    assert type(getattr(job, name)) is int
    assert job.extra == {}


ODD_TEXTS: list[Any] = [True, 1.5, [], {}, ["x"]]
ODD_NUMBERS: list[Any] = [True, 3.9, "", "3.9", "many", "1_000", "٣", "1e3", [], {}, "9" * 30]
ODD_TIMES: list[Any] = [
    *(1730191833, 1730191833000, "1730191833", 1.5, True, [], {}, "yesterday", "2024-10-29", "20241029"),
    *("2024-13-29 16:53:53", "2024-10-29 25:00:00", "16:53:53", "2024-W44-2T10:00"),
]
ODD_LISTS: list[Any] = ["abc", 5, True, {}, {"a": 1}, [None], ["a", 5], [["a"]], [""]]
ODD_MAPPINGS: list[Any] = ["x", 5, True, [], [["a", 1]]]
ODD_DATASETS: list[Any] = ["x", 5, True, {}, [None], ["a"], [[]]]
ODD: list[tuple[str, Any]] = [
    *((name, value) for name in TEXT_FIELDS for value in ODD_TEXTS),
    *((name, value) for name in NUMBER_FIELDS for value in ODD_NUMBERS),
    *((name, value) for name in TIME_FIELDS for value in ODD_TIMES),
    *((name, value) for name in LIST_FIELDS for value in ODD_LISTS),
    *((name, value) for name in DATASET_FIELDS for value in ODD_DATASETS),
    *(("hyper_parameters", value) for value in ODD_MAPPINGS),
]


@pytest.mark.parametrize(("name", "value"), ODD, ids=repr)
def test_an_unreadable_value_is_none_and_its_original_is_kept_in_extra(name: str, value: object) -> None:
    job = decoded(**{name: value})

    assert getattr(job, name) == getattr(decoded(), name)
    assert job.extra == {name: value}


def test_the_other_fields_of_a_job_with_many_odd_ones_are_read() -> None:
    odd: dict[str, object] = {"usage": [], "create_time": 5, "model": {}, "training_file_ids": 7}

    job = decoded(**odd, group="llm", new=1)

    assert (job.group, job.extra) == ("llm", {**odd, "new": 1})


@pytest.mark.parametrize("rate", ["1.6e-5", 0.000016, 3e-05, None, [1], {"a": 1}])
def test_hyper_parameters_are_passed_through_untouched(rate: object) -> None:
    assert decoded(hyper_parameters={"learning_rate": rate}).hyper_parameters == {"learning_rate": rate}


# --- status words -------------------------------------------------------------------------------------

WORDS = {
    **{status.value: status for status in JobStatus},
    "SUCCEED": JobStatus.SUCCEEDED,
    "SUCCESSED": JobStatus.SUCCEEDED,
    "SUCCESS": JobStatus.SUCCEEDED,
    "CANCELLED": JobStatus.CANCELED,
    "CANCELLING": JobStatus.CANCELING,
    "QUEUED": JobStatus.QUEUING,
    "ready": JobStatus.UNRECOGNIZED,
    "creating": JobStatus.UNRECOGNIZED,
    "SUCCEEDED!": JobStatus.UNRECOGNIZED,
    "已完成": JobStatus.UNRECOGNIZED,
}


@pytest.mark.parametrize("spelt", ["{}", " {}\n", "\t{}"], ids=["as is", "blanks", "tab"])
@pytest.mark.parametrize("case", [str, str.lower, str.title])
@pytest.mark.parametrize("word", WORDS)
def test_a_status_is_unified_and_its_original_kept(word: str, case: Any, spelt: str) -> None:
    sent = spelt.format(case(word))

    job = decoded(status=sent)

    assert (job.status, job.raw_status) == (WORDS[word], sent)


NO_STATUS: list[Any] = [{}, {"status": None, "task_status": None}]
NO_WORDS: list[Any] = [None, "", " ", "\n", 5, True, [], {}, ["RUNNING"]]


@pytest.mark.parametrize("fields", [*NO_STATUS, *({"status": word} for word in NO_WORDS)], ids=repr)
def test_a_job_without_a_status_is_malformed_and_the_error_says_where(
    fields: dict[str, object],
) -> None:
    error = refused({"request_id": "r-1", "output": {"job_id": "ft-1", **fields}}, retry_after="3")

    assert type(error) is APIResponseValidationError
    assert (error.status, error.request_id, error.retry_after) == (200, "r-1", 3.0)
    assert "@ $.output.status" in str(error)
    assert "raw_status" not in str(error)


# --- times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TIME_FIELDS)
@pytest.mark.parametrize(
    ("sent", "iso"),
    [
        ("2024-10-29 16:53:53", "2024-10-29T16:53:53"),
        ("2024-10-29T16:53:53", "2024-10-29T16:53:53"),
        (" 2024-10-29 16:53 ", "2024-10-29T16:53:00"),
        ("2024-10-29 16:53:53.38", "2024-10-29T16:53:53.380000"),
        ("2026-01-05T12:00:00.000+00:00", "2026-01-05T12:00:00+00:00"),
        ("2026-01-05T12:00:00Z", "2026-01-05T12:00:00+00:00"),
        ("2026-01-05T12:00:00+08:00", "2026-01-05T12:00:00+08:00"),
    ],
)
def test_a_time_is_as_sent_with_a_zone_only_where_the_text_names_one(
    name: str, sent: str, iso: str
) -> None:
    job = decoded(**{name: sent})

    assert getattr(job, name) == datetime.fromisoformat(iso)
    assert (getattr(job, name).tzinfo is None) is ("+" not in iso)


def test_an_unknown_status_with_an_unreadable_end_time_is_not_terminal() -> None:
    assert not decoded(status="ARCHIVED", end_time=1730191833).is_terminal


# --- other names --------------------------------------------------------------------------------------

ALIASES = [
    ("jobs_name", "job_name", "mine", "mine"),
    ("gmt_create", "create_time", "2024-10-29 16:53:53", datetime.fromisoformat("2024-10-29T16:53:53")),
    ("task_status", "status", "FAILED", JobStatus.FAILED),
]


@pytest.mark.parametrize(("alias", "name", "sent", "read"), ALIASES)
def test_another_name_of_a_field_is_read_when_the_field_is_absent(
    alias: str, name: str, sent: str, read: object
) -> None:
    output = {"job_id": "ft-1", "status": "RUNNING", alias: sent}
    output.pop(name, None)

    job = decode_job(response({"output": output}), "ft-1")

    assert getattr(job, name) == read
    assert job.extra == {}


@pytest.mark.parametrize(("alias", "name", "sent", "read"), ALIASES)
def test_another_name_is_read_when_the_field_is_null(
    alias: str, name: str, sent: str, read: object
) -> None:
    assert getattr(decoded(**{name: None, alias: sent}), name) == read


def test_the_fields_own_name_wins_and_the_other_stays_in_extra() -> None:
    job = decoded(job_name="own", jobs_name="other", task_status="FAILED")

    assert (job.job_name, job.status) == ("own", JobStatus.RUNNING)
    assert job.extra == {"jobs_name": "other", "task_status": "FAILED"}


# --- the envelope -------------------------------------------------------------------------------------

OUTPUT = {"job_id": "ft-1", "status": "RUNNING"}


@pytest.mark.parametrize(
    "body",
    [
        {"data": OUTPUT},
        {"output": None, "data": OUTPUT},
        {"output": OUTPUT, "data": {"job_id": "other"}},
        {"output": OUTPUT, "code": "200"},
        {"output": OUTPUT, "code": "Throttling", "message": "said beside a good job"},
        {"output": OUTPUT, "code": 500, "error": {"code": "InternalError"}},
        {"output": OUTPUT, "usage": None, "status_code": 200, "code": None, "message": ""},
    ],
    ids=lambda body: ",".join(body),
)
def test_a_job_is_read_whatever_stands_next_to_it(body: object) -> None:
    assert decode_job(response(body), "ft-1") == decoded_without_request_id()


def decoded_without_request_id() -> FineTuneJob:
    return FineTuneJob(job_id="ft-1", status=JobStatus.RUNNING, raw_status="RUNNING")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert decode_job(response({"output": OUTPUT}, status), "ft-1").job_id == "ft-1"


@pytest.mark.parametrize(
    ("body", "headers", "found"),
    [
        ({"request_id": "r-1", "output": OUTPUT}, {"x_request_id": "h-1"}, "r-1"),
        ({"output": OUTPUT}, {"x_request_id": "h-1"}, "h-1"),
        ({"request_id": "", "output": OUTPUT}, {"x_request_id": "h-1"}, "h-1"),
        ({"request_id": 17, "output": OUTPUT}, {}, "17"),
        ({"request_id": ["x"], "output": OUTPUT}, {}, None),
    ],
)
def test_the_request_id_comes_from_the_body_else_the_header(
    body: object, headers: dict[str, str], found: str | None
) -> None:
    assert decode_job(response(body, 200, **headers), "ft-1").request_id == found


@pytest.mark.parametrize("job_id", ["ft-2", "FT-1", "ft-1 ", "sk-abcdefgh"])
def test_an_answer_about_another_job_is_malformed(job_id: str) -> None:
    error = refused({"output": {**OUTPUT, "job_id": job_id}})

    assert type(error) is APIResponseValidationError
    assert "@ $.output.job_id" in str(error)
    assert "sk-abcdefgh" not in str(error)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "not a JSON object (no content type, 0 bytes: '') @ $"),
        (b"[1]", "@ $"),
        (b"null", "@ $"),
        (b'"ft-1"', "@ $"),
        (b'{"output": NaN}', "@ $"),
        (b"\xff\xfe{}", "@ $"),
        (b"[" * 100_000, "@ $"),
        (b'{"output":' * 5000, "@ $"),
        (b"{}", "expected an object, found nothing @ $.output"),
        (b'{"output": null}', "expected an object, found NoneType @ $.output"),
        (b'{"output": "x"}', "expected an object, found str @ $.output"),
        (b'{"output": {}}', "@ $.output.job_id"),
        (b'{"output": {"job_id": null, "status": "RUNNING"}}', "@ $.output.job_id"),
        (b'{"code": "", "output": []}', "expected an object, found list @ $.output"),
        (b'{"code": "Success"}', "expected an object, found nothing @ $.output"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_undocumented_answer_is_malformed_and_the_error_says_where(body: bytes, where: str) -> None:
    error = refused(body)

    assert type(error) is APIResponseValidationError
    assert where in str(error)
    assert len(str(error)) < 500


# --- codes inside HTTP 200 ----------------------------------------------------------------------------

UNDER_200 = [
    ("Throttling", RateLimitError),
    ("Throttling.RateQuota", RateLimitError),
    ("limit_requests", RateLimitError),
    ("insufficient_quota", RateLimitError),
    ("InvalidParameter", BadRequestError),
    ("UnsupportedOperation", BadRequestError),
    ("InvalidApiKey", AuthenticationError),
    ("invalid_api_key", AuthenticationError),
    ("NOT AUTHORIZED", PermissionDeniedError),
    ("BailianGateway.Workspace.NotAuthorised", PermissionDeniedError),
    ("AllocationQuota.FreeTierOnly", PermissionDeniedError),
    ("Model.AccessDenied", PermissionDeniedError),
    ("access_denied", PermissionDeniedError),
    ("Arrearage", PermissionDeniedError),
    ("NotFound", NotFoundError),
    ("WorkSpaceNotFound", NotFoundError),
    ("InternalError.Algo", InternalServerError),
    ("GatewayTimeout", InternalServerError),
    ("ModelUnavailable", ServiceUnavailableError),
    ("Brand.New", APIStatusError),
    ("1", APIStatusError),
    (17, APIStatusError),
]


@pytest.mark.parametrize(("code", "kind"), UNDER_200)
@pytest.mark.parametrize(
    "output",
    [{}, {"output": None}, {"output": []}, {"output": False}, {"output": {}}, {"data": {}}],
    ids=repr,
)
def test_a_code_under_200_without_output_is_an_error_of_its_class(
    code: object, kind: type[APIStatusError], output: dict[str, object]
) -> None:
    error = refused({"code": code, "message": "m", "request_id": "r", **output})

    assert type(error) is kind
    assert (error.status, error.code, error.message, error.request_id) == (200, str(code), "m", "r")


@pytest.mark.parametrize("output", [{}, {"output": {}}], ids=repr)
def test_a_nested_error_under_200_is_an_error_of_its_class(output: dict[str, object]) -> None:
    error = refused({"error": {"code": "insufficient_quota", "message": "m"}, "request_id": "r", **output})

    assert (type(error), error.code, error.message) == (RateLimitError, "insufficient_quota", "m")
