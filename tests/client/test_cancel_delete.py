"""Cancelling and deleting: once is enough, twice does no harm, and a lost answer is no failure."""

from __future__ import annotations

import pytest

from dashscope_ft_async import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    EndpointNotFoundError,
    FineTuneClient,
    InternalServerError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    PollPolicy,
)
from dashscope_ft_async._api.wire import Response, cancel_request, decode_action, delete_request
from dashscope_ft_async.testing import Fault, Simulator
from tests.support.paths import FIXTURES

pytestmark = pytest.mark.looptime

UNSUPPORTED = Fault.error(400, "UnsupportedOperation", "The fine-tune job can not be canceled")
STEADY = PollPolicy(initial=1, multiplier=1, max_interval=1, jitter=0)


def sent(service: Simulator, method: str) -> int:
    return sum(seen.method == method for seen in service.requests)


# --- the wire -----------------------------------------------------------------------------------------


def test_the_requests_are_the_documented_ones() -> None:
    cancel, delete = cancel_request("ft/1"), delete_request("ft/1")

    assert (cancel.method, cancel.path, cancel.body) == ("POST", "/fine-tunes/ft%2F1/cancel", None)
    assert (delete.method, delete.path, delete.body) == ("DELETE", "/fine-tunes/ft%2F1", None)


@pytest.mark.parametrize("name", ["cancel-success", "delete-success", "delete-success-legacy"])
def test_the_documented_answers_are_success(name: str) -> None:
    decode_action(Response(200, {}, (FIXTURES / f"{name}.json").read_bytes()))


@pytest.mark.parametrize("body", [b'{"output": {"status": "failed"}}', b'{"output": true}', b"[]", b""])
def test_any_other_answer_is_none(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError):
        decode_action(Response(200, {}, body))


# --- cancel -------------------------------------------------------------------------------------------


async def test_a_cancelled_job_is_canceling_and_then_canceled(
    service: Simulator, client: FineTuneClient
) -> None:
    job = await client.get(service.add_job([(0, "RUNNING")]))

    await client.cancel(job)

    assert (await client.get(job)).status is JobStatus.CANCELING
    assert (await client.wait_for_terminal(job, poll=STEADY)).status is JobStatus.CANCELED


async def test_cancelling_twice_does_no_harm(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "QUEUING")])

    await client.cancel(job_id)
    await client.cancel(job_id)

    assert (await client.get(job_id)).status is JobStatus.CANCELING


async def test_a_job_that_has_ended_cannot_be_cancelled(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])

    with pytest.raises(BadRequestError, match=f"UnsupportedOperation.*{job_id}"):
        await client.cancel(job_id)

    assert (sent(service, "POST"), service.polls(job_id)) == (1, 0)


@pytest.mark.parametrize("fault", [Fault.error(429, "Throttling"), Fault.error(500, "InternalError")])
async def test_a_cancel_that_failed_is_sent_again(
    service: Simulator, client: FineTuneClient, fault: Fault
) -> None:
    job_id = service.add_job([(0, "RUNNING")], faults=[fault] * 3)

    await client.cancel(job_id)

    assert sent(service, "POST") == 4


@pytest.mark.parametrize("status", ["CANCELING", "CANCELED"])
async def test_a_refusal_after_a_lost_answer_is_success_where_the_job_is_stopping(
    service: Simulator, client: FineTuneClient, status: str
) -> None:
    job_id = service.add_job([(0, status)], faults=[Fault.reset(), UNSUPPORTED])

    await client.cancel(job_id)

    assert service.polls(job_id) == 1


async def test_a_refusal_after_a_lost_answer_is_raised_where_the_job_ended_otherwise(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], faults=[Fault.reset(), UNSUPPORTED])

    with pytest.raises(BadRequestError, match="UnsupportedOperation"):
        await client.cancel(job_id)


async def test_a_refusal_after_a_throttled_try_is_raised_unread(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "CANCELED")], faults=[Fault.error(429, "Throttling")])

    with pytest.raises(BadRequestError):
        await client.cancel(job_id)

    assert service.polls(job_id) == 0


async def test_cancelling_what_is_not_there_is_not_found(client: FineTuneClient) -> None:
    with pytest.raises(NotFoundError) as met:
        await client.cancel("ft-none")

    assert met.value.job_id == "ft-none"
    assert not isinstance(met.value, EndpointNotFoundError)


# --- delete -------------------------------------------------------------------------------------------


async def test_a_deleted_job_is_gone(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "FAILED")])

    await client.delete(job_id)

    with pytest.raises(NotFoundError):
        await client.get(job_id)
    assert (await client.list()).total == 0


async def test_a_job_in_training_cannot_be_deleted(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING")])

    with pytest.raises(BadRequestError, match="UnsupportedOperation"):
        await client.delete(job_id)

    assert (await client.get(job_id)).status is JobStatus.RUNNING


async def test_a_wait_for_a_job_that_is_deleted_says_that_it_vanished(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "QUEUING")])
    async with client.waiting(job_id, poll=STEADY) as wait:
        async for _ in client.watch(job_id, poll=STEADY):
            break
        await client.delete(job_id)

        with pytest.raises(JobVanishedError):
            await wait.terminal()


async def test_not_found_after_a_lost_answer_is_success(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], faults=[Fault.cut()])

    await client.delete(job_id)

    assert (await client.list()).total == 0


@pytest.mark.parametrize("faults", [[], [Fault.error(429, "Throttling")]])
async def test_not_found_without_doubt_is_raised(
    service: Simulator, client: FineTuneClient, faults: list[Fault]
) -> None:
    service.fail_next(*faults)

    with pytest.raises(NotFoundError):
        await client.delete("ft-none")


async def test_an_absent_endpoint_after_a_lost_answer_is_no_success(
    service: Simulator, client: FineTuneClient
) -> None:
    no_path = Fault.error(404, "NotFound", "Request path not found.")
    job_id = service.add_job(faults=[Fault.error(500, "InternalError"), no_path])

    with pytest.raises(EndpointNotFoundError, match=f"DELETE /fine-tunes/{job_id} does not exist at"):
        await client.delete(job_id)


# --- both ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["cancel", "delete"])
async def test_trouble_that_does_not_pass_is_raised_after_four_tries(
    service: Simulator, client: FineTuneClient, action: str
) -> None:
    job_id = service.add_job([(0, "QUEUING")], faults=[Fault.error(500, "InternalError")] * 9)

    with pytest.raises(InternalServerError, match=job_id):
        await getattr(client, action)(job_id)

    assert len(service.requests) == 4


@pytest.mark.parametrize("action", ["cancel", "delete"])
async def test_a_refusal_is_final(service: Simulator, client: FineTuneClient, action: str) -> None:
    service.fail_next(Fault.error(401, "InvalidApiKey"))

    with pytest.raises(AuthenticationError):
        await getattr(client, action)(service.add_job())

    assert len(service.requests) == 1


@pytest.mark.parametrize("action", ["cancel", "delete"])
async def test_a_bad_id_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient, action: str
) -> None:
    with pytest.raises(ConfigurationError):
        await getattr(client, action)("../files")

    assert service.requests == []


async def test_a_service_that_is_silent_raises(service: Simulator, client: FineTuneClient) -> None:
    service.fail_next(*[Fault.stall()] * 9)

    with pytest.raises(APIConnectionError):
        await client.delete(service.add_job([(0, "QUEUING")]))
