"""Checkpoints: what the answers mean, and an export that is asked for once and waited for."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    Checkpoint,
    CheckpointError,
    CheckpointStatus,
    ClientClosedError,
    ConfigurationError,
    EndpointNotFoundError,
    FineTuneClient,
    InternalServerError,
    NotFoundError,
    OutageError,
    PollPolicy,
    ValidationSample,
    WaitTimeoutError,
)
from dashscope_ft_async._api.wire import (
    Response,
    decode_checkpoints,
    decode_exported,
    decode_validation_page,
    decode_validation_results,
    export_request,
    validation_details_request,
)
from dashscope_ft_async.testing import Fault, Simulator
from tests.support.paths import FIXTURES

STEADY = PollPolicy(initial=1, multiplier=1, max_interval=1, jitter=0)
NAME = "checkpoint-50"
DONE = [(0, "RUNNING"), (0, "SUCCEEDED")]
"""A job that has both of the simulator's checkpoints."""


def recorded(name: str) -> Response:
    return Response(200, {}, (FIXTURES / f"{name}.json").read_bytes())


def answer(output: object) -> Response:
    return Response(200, {}, json.dumps({"output": output}).encode())


def exports(service: Simulator) -> int:
    return sum("/export/" in seen.path for seen in service.requests)


def listed(*statuses: str) -> list[Fault]:
    """Answers to /checkpoints, in which the checkpoint has one status after the other."""
    return [Fault.json({"output": [{"checkpoint": NAME, "status": status}]}) for status in statuses]


NO_PATH = Fault.error(404, "NotFound", "Request path not found.")
TAKEN, NOT_TAKEN = Fault.json({"output": True}), Fault.json({"output": False})


# --- the wire -----------------------------------------------------------------------------------------


def test_the_documented_checkpoints_are_read() -> None:
    newest, older = decode_checkpoints(recorded("checkpoints"))

    assert newest == Checkpoint(
        checkpoint="checkpoint-00040004",
        status=CheckpointStatus.SUCCEEDED,
        raw_status="SUCCEEDED",
        checkpoint_id="ft-202601051030-a1b2:checkpoint-00040004",
        full_name="ft-202601051030-a1b2:checkpoint-00040004",
        job_id="ft-202601051030-a1b2",
        step=40004,
        create_time=datetime(2026, 1, 5, 18, 7, 16),  # noqa: DTZ001 - the service names no zone
        expire_time=datetime(2026, 1, 20, 18, 7, 16),  # noqa: DTZ001
        model_name="cosyvoice-v3-flash-ft-202601051030-a1b2",
        model_display_name="ft-202601051030-a1b2",
    )
    assert (older.status, older.model_name) == (CheckpointStatus.PENDING, None)


def test_older_and_wrapped_answers_are_read() -> None:
    old = decode_checkpoints(recorded("checkpoints-legacy-full-name"))
    wrapped = decode_checkpoints(recorded("checkpoints-wrapped"))

    assert [(one.checkpoint, one.step, one.checkpoint_id) for one in old] == [
        ("checkpoint-160", None, None),
        ("checkpoint-180", None, None),
    ]
    assert [one.step for one in wrapped] == [20]


def test_the_world_is_open() -> None:
    row = {"checkpoint": "c", "status": " succeeded ", "step": "x", "epoch": 2, "create_time": 5}
    (one,) = decode_checkpoints(answer([row]))
    other, none = decode_checkpoints(answer([row | {"status": "BAKING"}, {"checkpoint": "d"}]))

    assert (one.status, one.raw_status) == (CheckpointStatus.SUCCEEDED, " succeeded ")
    assert one.extra == {"step": "x", "create_time": 5}
    assert one.epoch == 2
    assert (other.status, other.raw_status) == (CheckpointStatus.UNRECOGNIZED, "BAKING")
    assert (none.status, none.raw_status) == (CheckpointStatus.UNRECOGNIZED, "")
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    "output", [None, True, "x", 7, {}, {"checkpoints": None}, [1], [{}], [{"checkpoint": ""}]]
)
def test_what_is_no_list_of_checkpoints_raises(output: object) -> None:
    with pytest.raises(APIResponseValidationError, match=r"\$\.output"):
        decode_checkpoints(answer(output))


def test_the_documented_answers_to_an_export_are_read() -> None:
    assert decode_exported(recorded("export-true")) is True
    assert decode_exported(recorded("export-false")) is False


@pytest.mark.parametrize("output", [None, 1, "true", [], {}])
def test_what_is_neither_true_nor_false_raises(output: object) -> None:
    with pytest.raises(APIResponseValidationError, match="true or false"):
        decode_exported(answer(output))


def test_the_documented_validation_answers_are_read() -> None:
    results = decode_validation_results(recorded("validation-results"))
    page = decode_validation_page(recorded("validation-details"), 1, 10)

    assert [one.checkpoint for one in results] == ["checkpoint-160", "checkpoint-140"]
    assert (page.page_no, page.page_size, page.total) == (1, 10, 1)
    assert page.samples == (
        ValidationSample(
            prompt="p",
            video_path="https://example.oss-cn-beijing.aliyuncs.com/v.mp4?Expires=1",
            first_frame_path="https://example.oss-cn-beijing.aliyuncs.com/f.jpg",
        ),
    )
    assert decode_validation_results(answer([])) == ()
    assert decode_validation_page(answer({"list": None, "new": 1}), 3, 7).extra == {"new": 1}
    with pytest.raises(APIResponseValidationError, match="expected a list"):
        decode_validation_page(answer({"list": 5}), 1, 10)


def test_names_are_escaped_in_the_requests() -> None:
    assert export_request("ft-1", "c:1", "我 &x").path == (
        "/fine-tunes/ft-1/export/c%3A1?model_name=%E6%88%91+%26x"
    )
    assert validation_details_request("ft-1", "c", 2, 5).path == (
        "/fine-tunes/ft-1/validation-details/c?page_no=2&page_size=5"
    )


# --- reading ------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_checkpoints_appear_while_a_job_trains(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (20, "SUCCEEDED")])
    counts: list[int] = []
    for _ in range(3):
        counts.append(len(await client.checkpoints(job_id)))
        await asyncio.sleep(10.5)

    newest, older = await client.checkpoints(await client.get(job_id))

    assert counts == [0, 1, 2]
    assert (newest.status, newest.model_name) == (CheckpointStatus.SUCCEEDED, f"qwen3-14b-{job_id}")
    assert (older.checkpoint, older.status) == (NAME, CheckpointStatus.PENDING)


async def test_validation_samples_are_read(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(DONE)

    results = await client.validation_results(job_id)
    (checkpoint, _) = await client.checkpoints(job_id)
    first = await client.validation_details(job_id, checkpoint)
    second = await client.validation_details(job_id, NAME, page_no=2, page_size=3)

    assert [one.checkpoint for one in results] == ["checkpoint-100", NAME]
    assert (len(first.samples), first.total) == (1, 1)
    assert (second.page_no, second.page_size, second.samples) == (2, 3, ())


@pytest.mark.parametrize(
    ("method", "arguments", "path"),
    [
        ("checkpoints", (), "checkpoints"),
        ("validation_results", (), "validation-results"),
        ("validation_details", (NAME,), f"validation-details/{NAME}"),
    ],
)
@pytest.mark.parametrize(
    "fault", [Fault.error(404, "NotFound", "Request path not found."), Fault.error(405)]
)
async def test_a_call_that_a_region_does_not_offer_is_named(
    service: Simulator,
    client: FineTuneClient,
    method: str,
    arguments: Sequence[str],
    path: str,
    fault: Fault,
) -> None:
    service.fail_next(fault)

    with pytest.raises(EndpointNotFoundError) as met:
        await getattr(client, method)("ft-1", *arguments)

    assert f"GET /fine-tunes/ft-1/{path} does not exist at {service.base_url}" in str(met.value)
    assert met.value.job_id == "ft-1"
    assert len(service.requests) == 1


@pytest.mark.looptime
async def test_html_in_place_of_a_call_is_tried_again_and_then_named(
    service: Simulator, client: FineTuneClient
) -> None:
    service.fail_next(*[Fault.html(404)] * 4)

    with pytest.raises(EndpointNotFoundError):
        await client.checkpoints(service.add_job())

    assert len(service.requests) == 4


async def test_a_job_that_is_not_there_is_not_a_missing_call(client: FineTuneClient) -> None:
    with pytest.raises(NotFoundError) as met:
        await client.checkpoints("ft-none")

    assert type(met.value) is NotFoundError


@pytest.mark.parametrize(
    ("method", "arguments", "options"),
    [
        ("checkpoints", ("a/b",), {}),
        ("validation_results", ("",), {}),
        ("validation_details", ("ft-1", "../x"), {}),
        ("validation_details", ("ft-1", NAME, 0), {}),
        ("validation_details", ("ft-1", NAME, 1, 101), {}),
        ("export_checkpoint", ("..", NAME), {"model_name": "m"}),
        ("export_checkpoint", ("ft-1", "a b"), {"model_name": "m"}),
        ("export_checkpoint", ("ft-1", None), {"model_name": "m"}),
        ("export_checkpoint", ("ft-1", NAME), {"model_name": " "}),
        ("export_checkpoint", ("ft-1", NAME), {"model_name": None}),
        ("export_checkpoint", ("ft-1", NAME), {"model_name": "m", "timeout": -1}),
        ("export_checkpoint", ("ft-1", NAME), {"model_name": "m", "poll": 5}),
    ],
)
async def test_bad_input_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient, method: str, arguments: tuple[Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        await getattr(client, method)(*arguments, **options)

    assert service.requests == []


# --- export -------------------------------------------------------------------------------------------


async def export(client: FineTuneClient, job_id: str, **options: Any) -> Checkpoint:
    given: dict[str, Any] = {"model_name": "mine", "poll": STEADY}
    return await client.export_checkpoint(job_id, NAME, **(given | options))


@pytest.mark.looptime
async def test_an_export_is_waited_for_and_returns_the_model(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(DONE)

    exported = await export(client, job_id)

    assert (exported.status, exported.model_name) == (CheckpointStatus.SUCCEEDED, "qwen3-14b-mine")
    assert exports(service) == 1
    assert (await client.checkpoints(job_id))[1] == exported


@pytest.mark.looptime
async def test_an_export_that_is_not_accepted_is_requested_again(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(DONE, faults=[NOT_TAKEN, NOT_TAKEN])
    began = asyncio.get_running_loop().time()

    await export(client, job_id)

    assert exports(service) == 3
    assert asyncio.get_running_loop().time() - began >= 2


@pytest.mark.looptime
async def test_a_throttled_export_is_sent_again(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(DONE, faults=[Fault.error(429, "Throttling")] * 3)

    await export(client, job_id)

    assert exports(service) == 4


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [Fault.error(500, "InternalError"), Fault.html(), Fault.raw(b"")])
async def test_after_a_lost_answer_an_export_that_has_begun_is_waited_for(
    service: Simulator, client: FineTuneClient, fault: Fault
) -> None:
    job_id = service.add_job(DONE, faults=[fault, *listed("PROCESSING", "PENDING", "SUCCEEDED")])

    await export(client, job_id)

    assert exports(service) == 1


@pytest.mark.looptime
async def test_a_cut_answer_of_an_export_that_was_carried_out_is_no_failure(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(DONE, faults=[Fault.cut()])

    assert (await export(client, job_id)).model_name == "qwen3-14b-mine"
    assert exports(service) == 1


@pytest.mark.looptime
async def test_after_a_lost_answer_an_export_that_is_not_seen_raises_and_is_not_repeated(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(DONE, faults=[Fault.error(500, "InternalError")])

    with pytest.raises(InternalServerError):
        await export(client, job_id)

    assert exports(service) == 1


@pytest.mark.looptime
@pytest.mark.parametrize("status", ["FAILED", "UNSUPPORTED"])
async def test_an_export_that_cannot_be_is_an_error_with_the_checkpoint(
    service: Simulator, client: FineTuneClient, status: str
) -> None:
    job_id = service.add_job(DONE, faults=[TAKEN, *listed("PROCESSING", status)])

    with pytest.raises(CheckpointError, match=f"{NAME} was not exported: {status}.*{job_id}") as met:
        await export(client, job_id)

    assert met.value.checkpoint is not None
    assert pickle.loads(pickle.dumps(met.value)).checkpoint == met.value.checkpoint


@pytest.mark.looptime
async def test_trouble_on_the_way_is_sat_out(service: Simulator, client: FineTuneClient) -> None:
    trouble = [Fault.error(500, "InternalError")] * 9
    job_id = service.add_job(DONE, faults=[TAKEN, *trouble, *listed("BAKING", "SUCCEEDED")])

    assert (await export(client, job_id)).checkpoint == NAME


@pytest.mark.looptime
async def test_an_outage_ends_the_wait_for_an_export(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(DONE, faults=[TAKEN, *[Fault.error(503, "ModelUnavailable")] * 999])
    patience = PollPolicy(initial=1, max_interval=1, multiplier=1, outage_tolerance=60)

    with pytest.raises(OutageError, match="the export of checkpoint checkpoint-50") as met:
        await export(client, job_id, poll=patience)

    assert met.value.elapsed == pytest.approx(60, abs=15)
    assert "ModelUnavailable" in str(met.value.last_error)


async def test_an_export_that_is_refused_raises(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "QUEUING")])

    with pytest.raises(NotFoundError):
        await export(client, job_id)

    assert exports(service) == 1


@pytest.mark.looptime
async def test_a_refusal_ends_the_wait_for_an_export(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(DONE, faults=[TAKEN, *[Fault.error(401, "InvalidApiKey")] * 2])

    with pytest.raises(AuthenticationError):
        await export(client, job_id)


@pytest.mark.looptime
@pytest.mark.parametrize(
    "faults", [[NOT_TAKEN] * 99, [TAKEN, *listed(*["PROCESSING"] * 99)], [Fault.stall()]]
)
async def test_a_timeout_ends_the_wait_for_an_export(
    service: Simulator, client: FineTuneClient, faults: list[Fault]
) -> None:
    job_id = service.add_job(DONE, faults=faults)

    with pytest.raises(WaitTimeoutError) as met:
        await export(client, job_id, timeout=7)

    assert met.value.elapsed == pytest.approx(7, abs=0.1)
    assert met.value.job_id == job_id


@pytest.mark.looptime
async def test_a_request_that_times_out_is_not_the_wait_that_does(service: Simulator) -> None:
    job_id = service.add_job(DONE, faults=[Fault.stall()])
    async with service.client(timeout=3) as client:
        with pytest.raises(APIConnectionError):
            await export(client, job_id, timeout=60)


@pytest.mark.looptime
async def test_closing_ends_the_wait_for_an_export_at_once(service: Simulator) -> None:
    job_id = service.add_job(DONE, faults=[TAKEN, *listed("PROCESSING")])
    slow = PollPolicy(initial=600, max_interval=600, jitter=0)
    client = service.client()
    exporting = asyncio.create_task(export(client, job_id, poll=slow))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    await client.close()

    with pytest.raises(ClientClosedError):
        await exporting
    assert asyncio.get_running_loop().time() - began < 1
