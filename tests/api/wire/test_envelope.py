"""What stands around the output of an answer, and answers that say an endpoint is not there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dashscope_ft_async._api.wire.envelope import endpoint_error, reason_in_envelope
from dashscope_ft_async._api.wire.messages import Request
from dashscope_ft_async.errors import EndpointNotFoundError, NotFoundError


@pytest.mark.parametrize(
    ("around", "reason"),
    [
        ({}, None),
        ({"code": "", "message": ""}, None),
        ({"code": " Success ", "message": "fine"}, None),
        ({"code": "200"}, None),
        ({"code": "DataError", "message": "no rows"}, {"code": "DataError", "message": "no rows"}),
        ({"code": "DataError"}, {"code": "DataError", "message": None}),
        ({"message": "no rows"}, {"code": None, "message": "no rows"}),
    ],
)
def test_the_reason_that_stands_beside_the_output(
    around: Mapping[str, str], reason: Mapping[str, str | None] | None
) -> None:
    told = reason_in_envelope(dict(around) | {"output": {}})

    assert told == ({} if reason is None else {"envelope": reason})


def test_a_missing_endpoint_is_named_without_its_query_and_with_all_that_was_told() -> None:
    told = NotFoundError(status=404, code="NotFound", request_id="r-1", retry_after=3.0, json_body=False)

    error = endpoint_error(told, Request("GET", "/fine-tunes/a/logs?line=1"), "https://a.example/api/v1")

    assert isinstance(error, EndpointNotFoundError)
    assert (error.status, error.code, error.request_id, error.retry_after) == (404, "NotFound", "r-1", 3.0)
    assert "GET /fine-tunes/a/logs does not exist at https://a.example/api/v1: no reason given" in str(
        error
    )
