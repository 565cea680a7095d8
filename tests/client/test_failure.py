"""Why a job failed: one place to look, whatever place the service has chosen."""

from __future__ import annotations

import json

import pytest

from dashscope_ft_async import Failure
from dashscope_ft_async._api.wire import Response, decode_job
from tests.support.paths import FIXTURES


def failure(
    status: str = "FAILED", /, around: dict[str, object] | None = None, **fields: object
) -> Failure | None:
    body = {"output": {"job_id": "ft-1", "status": status, **fields}, **(around or {})}
    return decode_job(Response(200, {}, json.dumps(body).encode()), "ft-1").failure


ERROR = {"code": "E", "message": "error"}
AROUND = {"code": "A", "message": "around"}


@pytest.mark.parametrize(
    ("fields", "around", "expected"),
    [
        ({}, {}, None),
        ({"code": "C", "message": "own", "error": ERROR, "error_code": "X"}, AROUND, ("C", "own")),
        ({"message": "own", "error": ERROR}, AROUND, (None, "own")),
        ({"error": ERROR, "error_code": "X"}, AROUND, ("E", "error")),
        ({"error": "text"}, {}, (None, "text")),
        ({"error": None, "error_code": "OSS获取文件失败"}, {}, ("OSS获取文件失败", None)),
        ({"error_code": "X"}, AROUND, ("A", "around")),
        ({}, AROUND, ("A", "around")),
        ({}, {"message": "around"}, (None, "around")),
        ({}, {"code": "200", "message": "ok"}, None),
        ({}, {"code": "", "message": ""}, None),
        ({"code": "", "message": " ", "error": {"code": "", "message": None}}, {}, None),
        ({"code": "1"}, {}, ("1", None)),
        ({"code": "1", "error": ERROR}, {}, ("E", "error")),
        ({"code": 7, "message": ["odd"], "error": [1], "error_code": {}}, {}, ("7", None)),
    ],
)
def test_the_places_in_their_order(
    fields: dict[str, object], around: dict[str, object], expected: tuple[str | None, str | None] | None
) -> None:
    found = failure("FAILED", around, **fields)

    assert (found and (found.code, found.message)) == expected


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "CANCELED", "UNKNOWN", "ODD"])
def test_only_a_failed_job_has_a_failure(status: str) -> None:
    assert failure(status, code="1", message="text") is None


def test_the_recorded_samples() -> None:
    def job_of(name: str) -> Failure | None:
        response = Response(200, {}, (FIXTURES / name).read_bytes())
        return decode_job(response, "ft-202601051030-a1b2").failure

    assert job_of("job-canceled-code-1.json") is None
    assert job_of("job-failed-message-only.json") == Failure(message="no face detected in training images")
