"""The requests that are built, and the arguments that are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import IntEnum
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dashscope_ft_async import Checkpoint, CheckpointStatus, ConfigurationError, FineTuneJob, JobStatus
from dashscope_ft_async._api.wire import (
    Request,
    checkpoint_name,
    checkpoints_request,
    create_request,
    export_request,
    job_id_of,
    job_request,
    logs_request,
    page_request,
    stream_request,
    validation_details_request,
    validation_results_request,
)

# --- job ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job_id", ["ft-202410291653-1c7f", "quant-1", "a", "a.b", "..a", "ft_1~2", "職", "a+b&c=d;", "a" * 200]
)
def test_a_job_id_may_have_any_other_form(job_id: str) -> None:
    snapshot = FineTuneJob(job_id=job_id, status=JobStatus.RUNNING, raw_status="RUNNING")

    assert job_id_of(job_id) == job_id
    assert job_id_of(snapshot) == job_id


@pytest.mark.parametrize(
    "job_id",
    [
        *(
            ".",
            "..",
            "...",
            "a/b",
            "/",
            "../deployments",
            "a\\b",
            "a?x=1",
            "a#b",
            "a%2fb",
            "a b",
            "a ",
            " a",
        ),
        *("a\n", "a\r\nX: 1", "a\tb", "a\x00", "a\x7f", "a\u00a0b", "a\u3000b", "a\u200bb", "a\ud800"),
        *("a\u2028", "{job_id}", "<id>", "a'b", 'a"b', "a" * 201),
        *('"ft-1"', "'ft-1'", "ft-1,ft-2", "['ft-1']", '["ft-1"]', "None", "null"),
    ],
    ids=ascii,
)
def test_an_id_that_is_none_or_would_address_another_endpoint_is_refused(job_id: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a job id"):
        job_id_of(job_id)
    with pytest.raises(ConfigurationError, match="is not a job id"):
        job_id_of(FineTuneJob(job_id=job_id, status=JobStatus.RUNNING, raw_status="RUNNING"))
    with pytest.raises(ConfigurationError, match="a checkpoint is named by text"):
        checkpoint_name(job_id)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "the job id is empty"),
        (" ", "the job id is empty"),
        ('"ft-3"', "remove the quotes"),
        ("ft-1,ft-2", "a list of ids; pass them one at a time"),
        ("['ft-1', 'ft-2']", "a list of ids; pass them one at a time"),
        ("None", "the text of a missing value"),
        ("f" * 5000, "it has 5000 characters"),
        ("sk-0123456789abcdef", "this is an API key and not a job id; it was not sent"),
        (["ft-1"], "a job id is text, not list"),
        (None, "a job id is text, not NoneType"),
        (5, "a job id is text, not int"),
        (b"ft-1", "a job id is text, not bytes"),
    ],
)
def test_the_error_says_why_something_is_not_a_job_id(given: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        job_id_of(given)

    assert len(str(caught.value)) < 250
    assert "(job" not in str(caught.value)


@given(st.text(max_size=30) | st.text("./\\%?#;@:&=+ a\u2024\uff0f\u2215\ud800", max_size=6))
def test_any_text_is_refused_as_an_id_or_sent_as_exactly_one_segment(text: str) -> None:
    try:
        path = job_request(job_id_of(text)).path
    except ConfigurationError:
        return
    sent = URL("https://a.example/api/v1" + path)  # as the HTTP library reads it
    *front, segment = sent.raw_path.split("/")
    assert front == ["", "api", "v1", "fine-tunes"]
    assert unquote(segment) == text
    assert (sent.host, sent.query_string, sent.fragment) == ("a.example", "", "")


@pytest.mark.parametrize("name", ["", None, 5, "sk-0123456789"])
def test_the_name_of_a_checkpoint_is_checked(name: Any) -> None:
    checkpoint = Checkpoint(checkpoint="c-1", status=CheckpointStatus.PENDING, raw_status="PENDING")

    assert checkpoint_name(checkpoint) == checkpoint_name("c-1") == "c-1"
    with pytest.raises(ConfigurationError, match="a checkpoint is named by text"):
        checkpoint_name(name)


# --- requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (job_request("ft-1"), "/ft-1"),
        (job_request("a+b&c=d;"), "/a%2Bb%26c%3Dd%3B"),
        (job_request("職"), "/%E8%81%B7"),
        (page_request(1, 10, None), "?page_no=1&page_size=10"),
        (page_request(10**9, 100, None), "?page_no=1000000000&page_size=100"),
        (page_request(2, 1, "qwen3-14b"), "?page_no=2&page_size=1&model=qwen3-14b"),
        (page_request(1, 2, "a b&c=9/ü"), "?page_no=1&page_size=2&model=a+b%26c%3D9%2F%C3%BC"),
        (logs_request("ft-ü/a", 7, 100), "/ft-%C3%BC%2Fa/logs?offset=7&line=100"),
        (logs_request("ft-1", 0, 1), "/ft-1/logs?offset=0&line=1"),
        (logs_request("ft-1", 10**9, 1000), "/ft-1/logs?offset=1000000000&line=1000"),
        (stream_request("ft/1"), "/ft%2F1/stream"),
        (checkpoints_request("ft-1"), "/ft-1/checkpoints"),
        (export_request("ft-1", "c:1", "模 型"), "/ft-1/export/c%3A1?model_name=%E6%A8%A1+%E5%9E%8B"),
        (validation_results_request("ft-1"), "/ft-1/validation-results"),
        (
            validation_details_request("ft-1", "c/1", 2, 5),
            "/ft-1/validation-details/c%2F1?page_no=2&page_size=5",
        ),
    ],
)
def test_the_path_of_a_request(request_: Request, path: str) -> None:
    assert request_ == Request("GET", f"/fine-tunes{path}")


@pytest.mark.parametrize(
    ("request_", "template", "job_id"),
    [
        (page_request(1, 10, None), "/fine-tunes", None),
        (job_request("a/b"), "/fine-tunes/{job_id}", "a/b"),
        (export_request("ft-1", "c-1", "m"), "/fine-tunes/{job_id}/export/{id}", "ft-1"),
    ],
)
def test_the_template_of_a_request_has_no_ids(request_: Request, template: str, job_id: str | None) -> None:
    assert (request_.template, request_.job_id) == (template, job_id)


NO_NUMBERS: list[Any] = [0, -1, True, 1.0, "1", None, float("nan"), 10**9 + 1]


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_an_invalid_page_number_is_refused(number: Any) -> None:
    with pytest.raises(ConfigurationError, match="page_no must be a whole number from 1 to 1000000000"):
        page_request(number, 10, None)


@pytest.mark.parametrize("size", [*NO_NUMBERS, 101])
def test_an_invalid_page_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="page_size must be a whole number from 1 to 100"):
        page_request(1, size, None)


@pytest.mark.parametrize(
    ("offset", "lines"), [(-1, 1), (10**9 + 1, 1), (0, 0), (0, 1001), (True, 1), (0, 1.0)]
)
def test_an_invalid_part_of_a_log_is_refused(offset: int, lines: int) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^(offset|lines) must be a whole number from [01] to 10+, "
    ):
        logs_request("ft-1", offset, lines)


# --- names --------------------------------------------------------------------------------------------


def created(**arguments: Any) -> dict[str, Any]:
    """The body of a create request."""
    body: dict[str, Any] = json.loads(
        create_request({"model": "m", "training_file_ids": ["f"]} | arguments).body or b""
    )
    return body


@pytest.mark.parametrize(
    "name",
    [
        "客服\u3000模型",
        "non\u00a0breaking",
        "family 👨\u200d👩\u200d👧",
        "\u0645\u06cc\u200c\u062e",
        "right\u200fto left",
        "a b",
    ],
)
def test_names_of_all_scripts_are_accepted(name: str) -> None:
    assert created(job_name=name)["job_name"] == name
    assert URL(f"https://h{page_request(1, 10, name).path}").query["model"] == name
    assert URL(f"https://h{export_request('ft-1', 'c', name).path}").query["model_name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u3000",
        "a\nb",
        "a\r",
        "a\x00",
        "a\tb",
        "a\x7f",
        "a\x85",
        "a\u2028",
        "a\u2029",
        "\ud800",
        5,
        b"q",
        ["q"],
    ],
    ids=ascii,
)
def test_names_with_line_breaks_or_control_characters_are_refused(name: Any) -> None:
    for attempt in (
        lambda: page_request(1, 10, name),
        lambda: export_request("ft-1", "c", name),
        lambda: created(job_name=name),
    ):
        with pytest.raises(ConfigurationError, match="must be text without line breaks and control"):
            attempt()


# --- create -------------------------------------------------------------------------------------------


def test_documented_fields_and_extra_ones_are_sent() -> None:
    arguments: dict[str, Any] = {
        "finetuned_output_suffix": "v2",
        "rollout": {"id": "r-1", "runtime": {"cpu": 2}},
        "rewards": [{"id": "w-1", "weight": 0.5}],
        "resource_config": {"charge_type": "mtu_postpaid"},
        "teacher_model": "qwen3-max",
        "priority": "high",
    }
    extra = {"new": {"a": [1]}, "priority": "low", "none": None}

    assert created(**arguments, extra_body=extra) == {
        "model": "m",
        "training_file_ids": ["f"],
        **arguments,
        **extra,
    }


def test_a_key_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the keys of hyper_parameters must be text"):
        created(hyper_parameters={"\ud800": 1})


def test_extra_fields_may_take_the_place_of_the_training_data() -> None:
    assert created(training_file_ids=None, extra_body={"corpus": "c-1"}) == {"model": "m", "corpus": "c-1"}
    with pytest.raises(ConfigurationError, match="not both"):
        created(extra_body={"training_datasets": []})


class Scalar:
    """As numpy's numbers: not Python's, but convertible."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Int64(Scalar):
    def __index__(self) -> int:
        return int(self.value)


class Level(IntEnum):
    HIGH = 3


class Truth(Scalar):
    def __bool__(self) -> bool:
        return True


Truth.__name__ = "bool_"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Int64(3), 3), (Scalar(0.5), 0.5), (Decimal("0.25"), 0.25), (Level.HIGH, 3), (Truth(1.0), True),
        (2**63, 2**63), (-(2**63), -(2**63)), (1e300, 1e300), ((1, 2), [1, 2]), (True, True), (None, None),
    ],
)  # fmt: skip
def test_everything_that_converts_to_a_number_is_a_number(value: Any, sent: Any) -> None:
    found = created(hyper_parameters={"a": [value]})["hyper_parameters"]["a"][0]

    assert (found, type(found)) == (sent, type(sent))


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        10**400,
        float("nan"),
        Decimal("1e999"),
        Scalar(float("inf")),
        "\ud800",
        {1},
        b"x",
        1j,
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_with_the_name_of_its_field(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^hyper_parameters\.a\[0\] cannot be written as JSON"):
        created(hyper_parameters={"a": [value]})


@pytest.mark.parametrize("depth", [300, 100_000])
def test_a_value_nested_very_deep_is_refused_with_the_name_of_its_field(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]

    with pytest.raises(ConfigurationError, match=r"^rollout cannot be written as JSON: it is nested"):
        created(rollout={"a": value})
    with pytest.raises(ConfigurationError, match=r"^extra_body cannot be written as JSON: it is nested"):
        created(extra_body={"new": value})
