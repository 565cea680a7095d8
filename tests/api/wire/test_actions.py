"""Answers to create, cancel and delete requests, and about checkpoints."""

from __future__ import annotations

import json

import pytest

from dashscope_ft_async._api.wire import Response, decode_action, decode_checkpoints, decode_created
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    BadRequestError,
    DashScopeFTError,
    NotFoundError,
)


def response(body: object, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"output": {"status": "success"}},
        {"output": {"status": "SUCCESS"}},
        {"output": {"job_id": "ft-1", "status": "CANCELING"}},
        {"output": {"job_id": "ft-1", "status": "RUNNING"}},
        {"output": {"status": "CANCELING"}},
        {"output": {"job_id": "ft-1", "deleted": True}},
        {"data": {"status": "success"}},
        {"request_id": "r", "output": {}},
        {"request_id": "r", "output": None},
        {"request_id": "r"},
    ],
)
def test_a_cancel_answered_with_the_job_or_with_no_output_is_accepted(body: object) -> None:
    decode_action(response(body))


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_a_cancel_answered_with_http_204_is_accepted(body: bytes) -> None:
    decode_action(response(body, 204))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"output": {"status": "failed"}}, APIResponseValidationError),
        ({"output": {"status": "RUNNING"}}, APIResponseValidationError),
        ({"output": "success"}, APIResponseValidationError),
        ({"output": [1]}, APIResponseValidationError),
        (b"", APIResponseValidationError),
        (b"<html>", APIResponseValidationError),
        ({"code": "UnsupportedOperation", "output": {}}, BadRequestError),
        ({"code": "UnsupportedOperation"}, BadRequestError),
        ({"error": {"code": "NotFound"}}, NotFoundError),
    ],
)
def test_a_cancel_answered_otherwise_is_an_error(body: object, kind: type[DashScopeFTError]) -> None:
    with pytest.raises(kind) as caught:
        decode_action(response(body))

    assert type(caught.value) is kind


def test_a_created_job_without_a_status_still_has_its_id() -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        decode_created(response({"output": {"job_id": "ft-9"}}))

    assert caught.value.job_id == "ft-9"


def test_the_epoch_and_the_metrics_of_a_checkpoint() -> None:
    rows = [
        {
            "checkpoint": "c-1",
            "status": "SUCCEEDED",
            "epoch": 1.5,
            "metrics": {"eval_loss": 0.25},
            "new": 1,
        },
        {"checkpoint": "c-2", "epoch": "2", "metrics": [0.5], "job_id": [], "status": None},
    ]

    first, second = decode_checkpoints(response({"output": rows}))

    assert (first.epoch, first.metrics, first.extra) == (1.5, {"eval_loss": 0.25}, {"new": 1})
    assert first.is_terminal
    assert (second.epoch, second.metrics, second.job_id) == (None, {}, None)
    assert second.extra == {"epoch": "2", "metrics": [0.5], "job_id": []}
    assert (second.raw_status, second.is_terminal) == ("", False)
