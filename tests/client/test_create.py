"""Creating jobs: what is sent, what is sent again, and what is said when the answer was lost."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tenacity import RetryCallState

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    EndpointNotFoundError,
    FineTuneClient,
    InternalServerError,
    JobStatus,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
)
from dashscope_ft_async._api.wire import Response, create_request, decode_created
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import refused_port
from tests.support.paths import FIXTURES

FILES = ["11111111-1111-4111-8111-111111111111"]
DATASETS = [{"data_source_type": "file_id", "file_id": FILES[0]}]
RUNNING_CAP = "Too many fine-tune job in running, please retry later."
NUMBER_CAP = "Only 20 fine-tune job in running or succeeded allowed per user."


def sent(**arguments: Any) -> dict[str, Any]:
    """The body that these arguments make."""
    request = create_request({"model": "qwen3-14b", "training_file_ids": FILES} | arguments)
    assert (request.method, request.path) == ("POST", "/fine-tunes")
    body: dict[str, Any] = json.loads(request.body or b"")
    return body


def creations(service: Simulator) -> int:
    return sum(seen.method == "POST" for seen in service.requests)


# --- the request --------------------------------------------------------------------------------------


def test_only_what_was_given_is_sent() -> None:
    assert sent() == {"model": "qwen3-14b", "training_file_ids": FILES}


def test_everything_is_sent_as_given() -> None:
    everything: dict[str, Any] = {
        "model": "qwen3-14b-ft-1",
        "training_datasets": DATASETS,
        "validation_file_ids": ["https://example.com/a b.zip"],
        "hyper_parameters": {"learning_rate": "1.6e-5", "n_epochs": 3, "mix": {"a": [1, 0.5, None, True]}},
        "training_type": "efficient_sft",
        "job_name": "第一个任务",
        "model_name": "my model",
    }

    assert sent(training_file_ids=None, **everything) == everything


def test_tuples_and_read_only_mappings_are_lists_and_objects() -> None:
    assert sent(training_file_ids=tuple(FILES), hyper_parameters={"a": (1, 2)}) == {
        "model": "qwen3-14b",
        "training_file_ids": FILES,
        "hyper_parameters": {"a": [1, 2]},
    }


def nested_in_itself() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["again"] = inner
    return inner


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": "  "}, "model"),
        ({"model": 5}, "model"), ({"model": "a\nb"}, "model"),
        ({"training_file_ids": None}, "training_file_ids or training_datasets"),
        ({"training_datasets": DATASETS}, "training_file_ids or training_datasets"),
        ({"training_file_ids": []}, "training_file_ids"), ({"training_file_ids": "a"}, "training_file_ids"),
        ({"training_file_ids": {"a"}}, "training_file_ids"),
        ({"training_file_ids": ["a", ""]}, r"training_file_ids\[1\]"),
        ({"training_file_ids": None, "training_datasets": []}, "training_datasets"),
        ({"training_file_ids": None, "training_datasets": ["a"]}, r"training_datasets\[0\]"),
        ({"training_file_ids": None, "training_datasets": DATASETS[0]}, "training_datasets"),
        ({"validation_file_ids": []}, "validation_file_ids"), ({"validation_file_ids": [7]}, r"_ids\[0\]"),
        ({"validation_file_ids": FILES, "validation_datasets": DATASETS}, "not both"),
        ({"hyper_parameters": [1]}, "hyper_parameters"), ({"hyper_parameters": {1: 2}}, "keys of hyper"),
        ({"hyper_parameters": {"a": float("nan")}}, r"hyper_parameters\.a"),
        ({"hyper_parameters": {"a": [{"b": float("inf")}]}}, r"hyper_parameters\.a\[0\]\.b"),
        ({"hyper_parameters": {"a": datetime.now(UTC)}}, r"hyper_parameters\.a"),
        ({"hyper_parameters": {"a": b"x"}}, r"hyper_parameters\.a"),
        ({"hyper_parameters": {"a": 2**70}}, "JSON"), ({"hyper_parameters": {"a": "\ud800"}}, "JSON"),
        ({"hyper_parameters": nested_in_itself()}, "nested too deep"),
        ({"training_type": ""}, "training_type"), ({"job_name": 1}, "job_name"),
        ({"model_name": " "}, "model_name"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient, arguments: dict[str, Any], named: str
) -> None:
    good: dict[str, Any] = {"model": "qwen3-14b", "training_file_ids": FILES}

    with pytest.raises(ConfigurationError, match=named):
        await client.create(**(good | arguments))

    assert service.requests == []


async def test_the_body_is_json_and_says_so_and_a_get_has_none() -> None:
    seen: list[tuple[str, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("Content-Type"), await request.read()))
        return web.json_response({"output": {"job_id": "ft-1", "status": "PENDING"}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with FineTuneClient(KEY, base_url=f"http://127.0.0.1:{port}") as client:
        await client.create(model="m", training_file_ids=["f"])
        await client.get("ft-1")
    await runner.cleanup()

    assert seen == [
        ("POST", "application/json", b'{"model":"m","training_file_ids":["f"]}'),
        ("GET", None, b""),
    ]


async def test_a_key_in_the_wrong_place_is_not_told(client: FineTuneClient) -> None:
    with pytest.raises(ConfigurationError) as met:
        await client.create(model="m", training_file_ids=[f"{KEY}\n"])

    assert KEY not in str(met.value)


# --- the answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pending", "pending-datasets", "pending-facechain", "minimal"])
@pytest.mark.parametrize("status", [200, 201])
def test_the_documented_answers_are_the_new_job(name: str, status: int) -> None:
    job = decode_created(Response(status, {}, (FIXTURES / f"job-{name}.json").read_bytes()))

    assert (job.job_id, job.status) == ("ft-202601051030-a1b2", JobStatus.PENDING)


async def test_a_created_job_can_be_waited_for(client: FineTuneClient) -> None:
    job = await client.create(
        model="qwen3-14b",
        training_file_ids=FILES,
        hyper_parameters={"n_epochs": 1},
        training_type="sft",
        job_name="mine",
    )

    assert (job.status, job.job_name, job.training_type) == (JobStatus.PENDING, "mine", "sft")
    assert (job.training_file_ids, job.hyper_parameters) == (tuple(FILES), {"n_epochs": 1})
    assert (await client.get(job)).model == "qwen3-14b"


@pytest.mark.looptime
async def test_a_created_job_runs_as_the_simulator_was_told() -> None:
    async with (
        Simulator(new_jobs=[(0, "QUEUING"), (50, "FAILED")]) as service,
        service.client() as client,
    ):
        job = await client.create(model="m", training_datasets=DATASETS)

        assert (await client.wait_for_terminal(job)).status is JobStatus.FAILED
        assert (await client.list()).total == 1


# --- sent again, or not -------------------------------------------------------------------------------


async def create(client: FineTuneClient) -> str:
    return (await client.create(model="qwen3-14b", training_file_ids=FILES)).job_id


@pytest.mark.looptime
async def test_a_throttled_create_is_sent_again(service: Simulator, client: FineTuneClient) -> None:
    service.fail_next(*[Fault.error(429, "Throttling", "Requests throttling triggered.")] * 3)

    await create(client)

    assert creations(service) == 4
    assert (await client.list()).total == 1


@pytest.mark.looptime
async def test_a_throttled_create_slows_no_wait(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (5, "SUCCEEDED")])
    steady = PollPolicy(initial=1, multiplier=1, max_interval=1, jitter=0)
    loop = asyncio.get_running_loop()
    service.fail_next(Fault.error(429, "Throttling", retry_after=50))
    creating = asyncio.create_task(create(client))
    await asyncio.sleep(0.01)
    began = loop.time()

    await client.wait_for_terminal(job_id, poll=steady)

    assert loop.time() - began < 7
    await creating
    assert loop.time() - began > 49


@pytest.mark.looptime
@pytest.mark.parametrize("text", [RUNNING_CAP, NUMBER_CAP])
async def test_a_cap_on_jobs_is_raised_at_once(
    service: Simulator, client: FineTuneClient, text: str
) -> None:
    service.fail_next(Fault.error(429, "Throttling", text))

    with pytest.raises(RateLimitError, match="fine-tune job") as met:
        await create(client)

    assert creations(service) == 1
    assert not met.value.maybe_created


@pytest.mark.looptime
async def test_a_long_retry_after_is_not_sat_out(service: Simulator, client: FineTuneClient) -> None:
    service.fail_next(Fault.error(429, "Throttling", retry_after=61))

    with pytest.raises(RateLimitError):
        await create(client)

    assert creations(service) == 1


async def test_no_connection_is_tried_again_and_leaves_no_doubt() -> None:
    tries: list[int] = []

    def note(state: RetryCallState) -> float:
        tries.append(state.attempt_number)
        return 0.0

    where = f"http://127.0.0.1:{refused_port()}"
    async with FineTuneClient(KEY, base_url=where, retry=RetryPolicy(wait=note)) as client:
        with pytest.raises(APIConnectionError) as met:
            await create(client)

    assert tries == [1, 2, 3, 4]
    assert met.value.never_connected
    assert not met.value.maybe_created


LOST: Sequence[tuple[Fault, type[APIError]]] = [
    (Fault.reset(), APIConnectionError),
    (Fault.cut(), APIConnectionError),
    (Fault.stall(), APIConnectionError),
    (Fault.error(500, "InternalError"), InternalServerError),
    (Fault.html(502), InternalServerError),
    (Fault.error(408), APIError),
    (Fault.raw(b"<html>"), APIResponseValidationError),
    (Fault.json({"output": {}}), APIResponseValidationError),
    (Fault.json({"output": None}), APIResponseValidationError),
    (Fault.json({"code": "SomethingNew", "message": "?"}), APIError),
]


@pytest.mark.looptime
@pytest.mark.parametrize(("fault", "kind"), LOST)
async def test_after_a_lost_answer_it_is_not_sent_again_and_the_error_says_so(
    service: Simulator, client: FineTuneClient, fault: Fault, kind: type[APIError]
) -> None:
    service.fail_next(fault)

    with pytest.raises(kind, match=r"may have been created.*iter_jobs") as met:
        await create(client)

    assert creations(service) <= 1  # the simulator counts a stalled request when it is answered
    assert met.value.maybe_created
    assert pickle.loads(pickle.dumps(met.value)).maybe_created


@pytest.mark.looptime
async def test_a_job_whose_answer_was_cut_is_there(service: Simulator, client: FineTuneClient) -> None:
    service.fail_next(Fault.cut())

    with pytest.raises(APIConnectionError):
        await create(client)

    assert [job.model async for job in client.iter_jobs(model="qwen3-14b")] == ["qwen3-14b"]


@pytest.mark.looptime
async def test_doubt_after_a_throttled_try_is_told_too(service: Simulator, client: FineTuneClient) -> None:
    service.fail_next(Fault.error(429, "Throttling"), Fault.reset())

    with pytest.raises(APIConnectionError) as met:
        await create(client)

    assert met.value.maybe_created
    assert creations(service) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.error(400, "InvalidParameter", "Missing training files"), BadRequestError),
        (Fault.error(401, "InvalidApiKey"), AuthenticationError),
        (Fault.error(403, "AccessDenied"), PermissionDeniedError),
        (Fault.error(429, "PrepaidBillOverdue"), PermissionDeniedError),
        (Fault.error(400, "Throttling.AllocationQuota"), RateLimitError),
        (Fault.error(404, "NotFound", "Request path not found."), EndpointNotFoundError),
        (Fault.html(404), EndpointNotFoundError),
        (Fault.error(405), EndpointNotFoundError),
        (Fault.error(425), APIError),
        (Fault.json({"code": "InvalidApiKey", "message": "?"}), AuthenticationError),
    ],
)
async def test_a_refusal_leaves_no_doubt_and_is_final(
    service: Simulator, client: FineTuneClient, fault: Fault, kind: type[APIError]
) -> None:
    service.fail_next(fault)

    with pytest.raises(kind) as met:
        await create(client)

    assert creations(service) == 1
    assert not met.value.maybe_created
    assert "may have been created" not in str(met.value)


async def test_an_answer_without_a_status_still_tells_the_id(
    service: Simulator, client: FineTuneClient
) -> None:
    service.fail_next(Fault.json({"output": {"job_id": "ft-9"}}))

    with pytest.raises(APIResponseValidationError) as met:
        await create(client)

    assert (met.value.job_id, met.value.maybe_created) == ("ft-9", True)


async def test_an_absent_endpoint_is_named_with_its_host(
    service: Simulator, client: FineTuneClient
) -> None:
    service.fail_next(Fault.error(404, "NotFound", "Request path not found."))

    with pytest.raises(EndpointNotFoundError) as met:
        await create(client)

    assert f"POST /fine-tunes does not exist at {service.base_url}" in str(met.value)


async def test_closing_during_a_create_leaves_doubt_and_before_it_none(service: Simulator) -> None:
    service.fail_next(Fault.stall())
    client = service.client()
    creating = asyncio.create_task(create(client))
    await asyncio.sleep(0.02)
    await client.close()

    with pytest.raises(ClientClosedError) as during:
        await creating
    with pytest.raises(ClientClosedError) as after:
        await create(client)

    assert (during.value.maybe_created, after.value.maybe_created) == (True, False)


# --- fields beyond the common ones ----------------------------------------------------------------------


async def test_fields_of_reinforcement_learning_and_unknown_ones_are_sent() -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response({"output": {"job_id": "ft-1", "status": "PENDING"}})

    app = web.Application()
    app.router.add_post("/api/v1/fine-tunes", answer)
    async with (
        TestServer(app) as server,
        FineTuneClient(KEY, base_url=str(server.make_url("/api/v1"))) as client,
    ):
        await client.create(
            model="qwen3-14b",
            finetuned_output_suffix="faq",
            rollout={"n": 4},
            rewards=[{"name": "length"}],
            resource_config={"charge_type": "post_paid"},
            teacher_model="qwen-max",
            priority="high",
            extra_body={"training_file_ids": FILES, "new_field": [1]},
        )

    (body,) = bodies
    assert body == {
        "model": "qwen3-14b",
        "finetuned_output_suffix": "faq",
        "rollout": {"n": 4},
        "rewards": [{"name": "length"}],
        "resource_config": {"charge_type": "post_paid"},
        "teacher_model": "qwen-max",
        "priority": "high",
        "training_file_ids": FILES,
        "new_field": [1],
    }


async def test_extra_body_that_is_no_mapping_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient
) -> None:
    extra: Any = [1]
    with pytest.raises(ConfigurationError, match="extra_body must be a mapping"):
        await client.create(model="qwen3-14b", training_file_ids=FILES, extra_body=extra)

    assert list(service.requests) == []
