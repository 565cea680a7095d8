"""The errors: their tree, their attributes, and their text."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import Any

import pytest

from dashscope_ft_async import FineTuneJob, JobStatus, errors
from dashscope_ft_async._api.wire import Response, decode_job
from dashscope_ft_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DashScopeFTError,
    InternalServerError,
    JobError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    WaitError,
)

JOB = FineTuneJob(
    job_id="ft-1",
    status=JobStatus.FAILED,
    raw_status="FAILED",
    code="1",
    message="bad data",
    request_id="r-7",
)
CLASSES: list[Any] = [getattr(errors, name) for name in errors.__all__]


# --- the tree -----------------------------------------------------------------------------------------


def tree_in_docstring() -> dict[str, str | None]:
    """Class name → name of its parent, according to the docstring of the module."""
    parents: dict[str, str | None] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"^    ([│ ]*(?:[├└]── )?)([A-Z]\w+)(?:  |$)", line)
        if drawn is None:
            continue
        depth = len(drawn[1]) // 4
        del branch[depth:]
        parents[drawn[2]] = branch[-1] if branch else None
        branch.append(drawn[2])
    return parents


def builtins_in_docstring() -> dict[str, str]:
    found: list[tuple[str, str]] = re.findall(r"(\w+) +\((\w+)\)", errors.__doc__ or "")
    return dict(found)


def test_the_tree_is_as_in_the_docstring() -> None:
    real = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if issubclass(base, DashScopeFTError)), None
        )
        for kind in CLASSES
    }

    assert real == tree_in_docstring()


def test_the_builtin_bases_are_as_in_the_docstring() -> None:
    real = {
        kind.__name__: base.__name__
        for kind in CLASSES
        for base in kind.__bases__
        if kind is not DashScopeFTError and not issubclass(base, DashScopeFTError)
    }

    assert real == builtins_in_docstring()
    assert real == {
        "ConfigurationError": "ValueError",
        "APITimeoutError": "TimeoutError",
        "WaitTimeoutError": "TimeoutError",
    }


def test_every_class_of_the_module_is_public_and_listed_in_order() -> None:
    defined = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]

    assert sorted(defined) == errors.__all__


def test_request_job_and_wait_errors_share_only_the_root() -> None:
    branches = (APIError, JobError, WaitError, ConfigurationError)

    assert [[issubclass(a, b) for b in branches] for a in branches] == [
        [a is b for b in branches] for a in branches
    ]


# --- every class with every fact ----------------------------------------------------------------------

LAST = RateLimitError("slow down", status=429, code="Throttling")


FACTS: dict[type[DashScopeFTError], dict[str, Any]] = {
    APIStatusError: {
        "message": "no, no",
        "status": 418,
        "code": "Teapot",
        "request_id": "r-1",
        "retry_after": 2.5,
        "json_body": False,
        "job_id": "ft-1",
    },
    APIResponseValidationError: {
        "message": "odd",
        "status": 203,
        "request_id": "r-1",
        "retry_after": 2.5,
        "json_body": False,
        "job_id": "ft-1",
    },
    APIConnectionError: {"message": "no way", "job_id": "ft-1", "never_connected": True},
    WaitError: {
        "message": "over",
        "job_id": "ft-1",
        "last_job": JOB,
        "elapsed": 12.34,
        "polls": 7,
        "last_error": LAST,
    },
    JobError: {"message": "ended", "job": JOB},
    DashScopeFTError: {"message": "plain", "job_id": "ft-1"},
}


def full(kind: type[DashScopeFTError]) -> DashScopeFTError:
    """One of `kind` with all facts it can hold."""
    make: Any = kind
    error: DashScopeFTError = make(**next(FACTS[base] for base in FACTS if issubclass(kind, base)))
    error.results = {"ft-0": JOB}
    return error


def bare(kind: type[DashScopeFTError]) -> DashScopeFTError:
    return kind()


def repickled(error: DashScopeFTError) -> Any:
    return pickle.loads(pickle.dumps(error))


def facts(error: BaseException) -> dict[str, Any]:
    values = {name: repr(value) for name, value in vars(error).items()}
    return {"type": type(error), "args": error.args, "str": str(error), **values}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, repickled])
@pytest.mark.parametrize("made", [full, bare])
def test_an_error_survives_copy_and_pickle(kind: Any, copied: Any, made: Any) -> None:
    error = made(kind)

    again = copied(error)

    assert again is not error
    assert facts(again) == facts(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_str_ends_with_the_advice_and_names_the_job(kind: Any) -> None:
    error = full(kind)

    assert str(error).endswith(error.advice)
    assert "job ft-1" in str(error)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, APIStatusError)])
def test_str_of_a_refusal_names_code_text_status_request_id_and_wait(kind: Any) -> None:
    expected = "Teapot: no, no (job ft-1, HTTP 418, request_id r-1, retry after 2.5 s)"
    error = full(kind)

    assert str(error) == " ".join(filter(None, [expected, error.advice]))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, WaitError)])
def test_str_of_a_wait_that_was_given_up_names_its_last_facts(kind: Any) -> None:
    text = str(full(kind))

    assert text.startswith("over (job ft-1, last status FAILED, after 12.3 s, polls 7, last error ")
    assert "Throttling: slow down" in text


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, JobError)])
def test_str_of_a_failed_job_names_its_status_code_and_request_id(kind: Any) -> None:
    assert str(full(kind)).startswith("ended (job ft-1, status FAILED, code 1, request_id r-7)")


def test_str_of_a_malformed_answer_names_status_and_request_id() -> None:
    assert str(full(APIResponseValidationError)).startswith("odd (job ft-1, HTTP 203, request_id r-1)")


def test_str_of_nothing_is_nothing() -> None:
    assert str(DashScopeFTError()) == ""
    assert str(JobError()) == ""


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (BadRequestError(status=400, code="InvalidParameter"), "the parameter that the message names"),
        (BadRequestError(status=400, code="invalid_parameter"), "the parameter that the message names"),
        (BadRequestError(status=400, code="UnsupportedOperation"), "The status of the job does not allow"),
        (BadRequestError(status=400, code="Other"), "will be refused again"),
        (AuthenticationError(status=401, code="InvalidApiKey"), "DASHSCOPE_REGION=cn-beijing"),
        (PermissionDeniedError(status=403, code="AccessDenied"), "use this workspace and model"),
        (PermissionDeniedError(status=403, code="AccessDenied.Unpurchased"), "Check the account"),
        (PermissionDeniedError(status=403, code="AllocationQuota.FreeTierOnly"), "Check the account"),
        (PermissionDeniedError(status=400, code="Arrearage"), "Check the account"),
        (InternalServerError("x", status=500), "note the request id and open a support ticket"),
    ],
)
def test_the_advice_fits_the_code(error: APIStatusError, advice: str) -> None:
    assert advice in error.advice
    assert advice in str(error)


def test_str_names_the_address_if_it_may_be_wrong_and_no_job_without_an_id() -> None:
    error = APIConnectionError("cannot connect to h:1: connection refused", job_id="")
    error.sent_to = "https://h:1/api/v1 (from DASHSCOPE_BASE_URL)"

    assert str(error).startswith(
        "cannot connect to h:1: connection refused (sent to https://h:1/api/v1 (from DASHSCOPE_BASE_URL)) "
    )


def test_an_old_pickle_without_a_fact_still_loads() -> None:
    error = full(WaitError)
    del error.__dict__["polls"]

    again = pickle.loads(pickle.dumps(error))

    assert again.polls == 0
    assert "polls 0" in str(again)


def test_the_default_results_are_empty() -> None:
    assert dict(DashScopeFTError("x").results) == {}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_caught_as_the_root_and_as_its_builtin(kind: Any) -> None:
    with pytest.raises(DashScopeFTError):
        raise kind("x")
    assert set(kind.__bases__) & {ValueError, TimeoutError} <= set(kind.__mro__)


# --- the six documented codes -------------------------------------------------------------------------

DOCUMENTED = [
    pytest.param(400, "InvalidParameter", "Missing training files", BadRequestError, id="InvalidParameter"),
    pytest.param(
        400,
        "UnsupportedOperation",
        "The fine-tune job can not be canceled because it is succeeded or failed",
        BadRequestError,
        id="UnsupportedOperation",
    ),
    pytest.param(404, "NotFound", "Not found!", NotFoundError, id="NotFound"),
    pytest.param(
        409,
        "Conflict",
        "Model instance xxxxx already exists, please specify a suffix",
        ConflictError,
        id="Conflict",
    ),
    pytest.param(429, "Throttling", "Requests throttling triggered.", RateLimitError, id="Throttling"),
    pytest.param(500, "InternalError", "Internal server error!", InternalServerError, id="InternalError"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), DOCUMENTED)
def test_a_documented_code_lands_on_its_class_with_its_facts(
    status: int, code: str, message: str, kind: type[APIStatusError]
) -> None:
    body = json.dumps({"code": code, "request_id": "BE213CDD", "message": message}).encode()

    with pytest.raises(APIStatusError) as caught:
        decode_job(Response(status, {"retry-after": "7"}, body), "ft-1")

    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, code, message)
    assert (error.request_id, error.retry_after, error.json_body) == ("BE213CDD", 7.0, True)
    assert str(error).startswith(f"{code}: {message} (HTTP {status}, request_id BE213CDD, retry after 7 s)")
    assert str(error).endswith(error.advice)
    assert error.advice
