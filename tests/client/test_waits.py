"""One wait, over the simulator and in virtual time: what ends it, what does not, and when it asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from tenacity import wait_exponential, wait_fixed

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    InternalServerError,
    JobCanceledError,
    JobError,
    JobFailedError,
    JobStatus,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    PollPolicy,
    RetryPolicy,
    WaitTimeoutError,
)
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import refused_port

pytestmark = pytest.mark.looptime

STEADY = PollPolicy(initial=10, multiplier=1, max_interval=10, jitter=0)


@pytest.fixture(autouse=True)
async def nothing_left_running(client: FineTuneClient) -> AsyncIterator[None]:
    """Closing leaves no task of ours."""
    yield
    await client.close()
    await asyncio.sleep(0)
    assert [str(task) for task in asyncio.all_tasks() if "/dashscope_ft_async/" in str(task)] == []


def now() -> float:
    return asyncio.get_running_loop().time()


def polled_at(service: Simulator) -> list[float]:
    """When requests came, counted from the first: the simulator was started before time became virtual."""
    return [seen.at - service.requests[0].at for seen in service.requests]


# --- good ends --------------------------------------------------------------------------------------


async def test_a_day_of_polling_takes_no_time(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "PENDING"), (60, "RUNNING"), (20_000, "SUCCEEDED")])
    began = now()
    job = await client.wait_for_terminal(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert 20_000 <= now() - began <= 20_036
    assert service.polls(job_id) < 1000


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "CANCELED"])
async def test_each_terminal_status_is_returned(
    status: str, service: Simulator, client: FineTuneClient
) -> None:
    job = await client.wait_for_terminal(service.add_job([(0, "RUNNING"), (50, status)]))
    assert (job.status.value, job.is_terminal) == (status, True)


async def test_an_ended_job_costs_one_request(service: Simulator, client: FineTuneClient) -> None:
    began = now()
    job = await client.wait_for_success(service.add_job([(0, "SUCCEEDED")]))
    assert (job.succeeded, len(service.requests)) == (True, 1)
    assert now() - began < 0.01


async def test_a_twelvefold_run_of_mixed_faults_does_not_end_a_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    faults = [Fault.error(429, "Throttling"), Fault.reset(), Fault.html(502), Fault.cut()] * 3
    job_id = service.add_job([(0, "RUNNING"), (5, "SUCCEEDED")], faults=faults)
    job = await client.wait_for_success(job_id)
    assert job.succeeded
    assert service.polls(job_id) >= 13


async def test_an_unknown_status_is_logged_once_and_does_not_end_a_wait(
    service: Simulator, client: FineTuneClient, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = service.add_job([(0, "WARMING_UP"), (100, "RUNNING"), (200, "WARMING_UP"), (300, "SUCCEEDED")])
    assert (await client.wait_for_terminal(job_id)).succeeded
    received = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().count("WARMING_UP") for record in received] == [1]


async def test_an_unknown_word_with_an_end_time_ends_a_wait(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    wait = asyncio.create_task(client.wait_for_success(job_id))
    await asyncio.sleep(100)
    service.set_status(job_id, "EXPIRED", end_time="2026-01-05 12:00:00")
    with pytest.raises(JobError) as caught:
        await wait
    assert type(caught.value) is JobError
    assert caught.value.job is not None
    assert caught.value.job.raw_status == "EXPIRED"
    assert (await client.wait_for_terminal(job_id)).status is JobStatus.UNRECOGNIZED


@pytest.mark.parametrize(
    ("status", "kind"), [("FAILED", JobFailedError), ("CANCELED", JobCanceledError)], ids=str
)
async def test_a_job_that_did_not_succeed_is_raised_by_wait_for_success(
    status: str, kind: type[JobError], service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, status)], message="out of memory", code="1")
    with pytest.raises(kind, match="out of memory") as caught:
        await client.wait_for_success(job_id)
    assert type(caught.value) is kind
    assert caught.value.job is not None
    assert (caught.value.job_id, caught.value.job.raw_status, caught.value.job.code) == (
        job_id,
        status,
        "1",
    )


# --- ends without an end of the job -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.error(400, "InvalidParameter"), BadRequestError),
        (Fault.error(401, "InvalidApiKey"), AuthenticationError),
        (Fault.error(403, "AccessDenied"), PermissionDeniedError),
        (Fault.error(404, "NotFound"), NotFoundError),
    ],
    ids=["400", "401", "403", "404"],
)
async def test_a_refusal_in_the_middle_is_looked_at_twice_if_it_may_pass(
    fault: Fault, kind: type[APIError], service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    wait = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(100)
    polls = service.polls(job_id)
    service.fail_next(fault, fault)
    with pytest.raises((kind, JobVanishedError)):
        await wait
    assert service.polls(job_id) == polls + (1 if kind is BadRequestError else 2)


async def test_a_timeout_cuts_a_stalled_request(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(faults=[Fault.stall()])
    began = now()
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_terminal(job_id, timeout=1)
    assert now() - began == pytest.approx(1, abs=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.job_id, caught.value.last_job) == (job_id, None)


async def test_a_timeout_carries_the_last_snapshot(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "PENDING"), (30, "RUNNING")])
    began = now()
    with pytest.raises(WaitTimeoutError, match="RUNNING") as caught:
        await client.wait_for_terminal(job_id, timeout=100)
    assert caught.value.last_job is not None
    assert caught.value.last_job.status is JobStatus.RUNNING
    assert caught.value.elapsed == pytest.approx(100, abs=0.1)
    assert caught.value.polls == service.polls(job_id)
    assert now() - began == pytest.approx(100, abs=0.1)


async def test_a_timeout_of_zero_is_one_poll(service: Simulator, client: FineTuneClient) -> None:
    assert (await client.wait_for_terminal(service.add_job([(0, "FAILED")]), timeout=0)).is_terminal
    job_id = service.add_job([(0, "RUNNING")])
    began = now()
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_terminal(job_id, timeout=0)
    assert caught.value.last_job is not None
    assert (service.polls(job_id), caught.value.polls) == (1, 1)
    assert now() - began < 0.1


async def test_a_timeout_of_none_is_never(service: Simulator, client: FineTuneClient) -> None:
    began = now()
    job = await client.wait_for_terminal(
        service.add_job([(0, "RUNNING"), (200_000, "SUCCEEDED")]),
        timeout=None,
        poll=PollPolicy(max_interval=5_000),
    )
    assert job.succeeded
    assert now() - began > 200_000


async def test_a_deadline_in_a_pause_is_a_last_poll(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (14, "SUCCEEDED")])
    began = now()
    job = await client.wait_for_terminal(job_id, timeout=15, poll=STEADY)
    assert job.succeeded
    assert now() - began == pytest.approx(15, abs=0.1)
    assert [round(at) for at in polled_at(service)] == [0, 10, 15]


async def test_the_last_poll_takes_two_seconds_at_most(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    began = now()
    wait = asyncio.create_task(client.wait_for_terminal(job_id, timeout=15, poll=STEADY))
    await asyncio.sleep(12)
    service.fail_next(Fault.stall())
    with pytest.raises(WaitTimeoutError):
        await wait
    assert now() - began == pytest.approx(17, abs=0.1)


async def test_an_outage_ends_a_wait_when_it_outlasts_the_tolerance(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    wait = asyncio.create_task(
        client.wait_for_terminal(job_id, poll=PollPolicy(max_interval=10, outage_tolerance=300))
    )
    await asyncio.sleep(100)
    service.fail_next(*[Fault.html(502)] * 1000)
    began = now()
    with pytest.raises(OutageError) as caught:
        await wait
    assert 290 <= now() - began <= 330
    assert isinstance(caught.value.last_error, InternalServerError)
    assert caught.value.last_job is not None


async def test_throttling_is_no_outage(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (100, "SUCCEEDED")])
    service.throttle(5_000)
    began = now()
    assert (await client.wait_for_success(job_id, poll=PollPolicy(outage_tolerance=10))).succeeded
    assert 5_000 <= now() - began <= 5_060


@pytest.mark.parametrize("timeout", [0.5, 3_600], ids=["short", "long"])
async def test_a_wrong_host_fails_in_seconds(timeout: float) -> None:
    base_url = f"http://127.0.0.1:{refused_port()}"
    began = now()
    async with FineTuneClient(KEY, base_url=base_url, timeout=timeout) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.wait_for_terminal("ft-1")
    assert caught.value.never_connected
    assert now() - began < 10


# --- a job that is not there ------------------------------------------------------------------------


async def test_a_grace_lets_a_job_appear(service: Simulator, client: FineTuneClient) -> None:
    wait = asyncio.create_task(client.wait_for_success("new", poll=PollPolicy(not_found_grace=60)))
    await asyncio.sleep(30)
    service.add_job([(0, "SUCCEEDED")], job_id="new")
    assert (await wait).succeeded


async def test_a_grace_that_has_passed_is_not_found(service: Simulator, client: FineTuneClient) -> None:
    began = now()
    with pytest.raises(NotFoundError) as caught:
        await client.wait_for_terminal("ft-none", poll=PollPolicy(not_found_grace=60))
    assert 60 <= now() - began <= 100
    assert caught.value.job_id == "ft-none"


async def test_a_job_that_vanishes_is_looked_for_once_more(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    wait = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(100)
    polls = service.polls(job_id)
    service.remove_job(job_id)
    with pytest.raises(JobVanishedError) as caught:
        await wait
    assert service.polls(job_id) == polls + 2
    assert caught.value.last_job is not None
    assert isinstance(caught.value.last_error, NotFoundError)


async def test_a_single_404_about_a_job_seen_before_is_sat_out(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (200, "SUCCEEDED")])
    wait = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(100)
    service.fail_next(Fault.error(404, "NotFound"))
    assert (await wait).succeeded


# --- pace -------------------------------------------------------------------------------------------


async def test_polls_come_at_growing_distances_up_to_the_longest(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (100, "SUCCEEDED")])
    await client.wait_for_terminal(
        job_id, poll=PollPolicy(initial=2, multiplier=1.5, max_interval=20, jitter=0)
    )
    gaps = [round(later - earlier, 1) for earlier, later in pairwise(polled_at(service))]
    assert gaps == [2.0, 3.0, 4.5, 6.8, 10.1, 15.2, 20.0, 20.0, 20.0]


async def test_a_client_says_when_it_polls_next(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING"), (25, "SUCCEEDED")])
    assert client.next_poll(job_id) is None
    async with client.waiting(job_id, poll=STEADY) as wait:
        assert client.next_poll(job_id) == 0  # due at once
        await asyncio.sleep(4)
        assert client.next_poll(job_id) == pytest.approx(6, abs=0.1)
        service.fail_next(Fault.stall(3))
        await asyncio.sleep(7)
        assert client.next_poll(job_id) == 0  # under way
        await wait.terminal()
    assert client.next_poll(job_id) is None
    with pytest.raises(ConfigurationError):
        client.next_poll("a/b")


async def test_a_tenacity_strategy_drives_the_polls_of_a_throttled_wait(service: Simulator) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    service.throttle(30)
    async with service.client(retry=RetryPolicy(attempts=99, wait=wait_fixed(7))) as client:
        await client.wait_for_terminal(job_id)
    assert [round(at) for at in polled_at(service)] == [0, 7, 14, 21, 28, 35]


async def test_throttling_then_internal_error_backs_off_as_tenacity_says(service: Simulator) -> None:
    throttled, failed = Fault.error(429, "Throttling"), Fault.error(500, "InternalError")
    job_id = service.add_job([(0, "SUCCEEDED")], faults=[throttled, throttled, throttled, failed, failed])
    retry = RetryPolicy(attempts=99, wait=wait_exponential(multiplier=2, min=2, max=60))
    async with service.client(retry=retry) as client:
        await client.wait_for_terminal(job_id)
    assert [round(at) for at in polled_at(service)] == [0, 2, 6, 14, 30, 62]


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(45, 45, 49.6), (290, 290, 301), (100_000, 300, 301)], ids=str
)
async def test_a_retry_after_is_obeyed_up_to_its_ceiling(
    asked: int, least: float, most: float, service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], faults=[Fault.error(429, "Throttling", retry_after=asked)])
    began = now()
    await client.wait_for_terminal(job_id)
    assert least <= now() - began <= most


async def test_a_throttled_single_call_holds_the_waits_too(
    service: Simulator, client: FineTuneClient
) -> None:
    service.fail_next(Fault.error(429, "Throttling", retry_after=100))
    with pytest.raises(APIError):
        await client.get("ft-1")
    began = now()
    await client.wait_for_terminal(service.add_job([(0, "SUCCEEDED")]))
    assert 100 <= now() - began <= 111


async def test_a_strategy_that_breaks_ends_a_wait_as_a_configuration_error(service: Simulator) -> None:
    def broken(_: object) -> float:
        raise ZeroDivisionError

    job_id = service.add_job(faults=[Fault.error(500)])
    async with service.client(retry=RetryPolicy(wait=broken)) as client:
        with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
            await client.wait_for_terminal(job_id)


# --- leaving ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["asleep", "in flight", "held"])
async def test_cancelling_is_prompt_and_nothing_goes_on(
    state: str, service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")], faults=[Fault.stall()] if state == "in flight" else [])
    if state == "held":
        service.throttle(1_000, retry_after=1_000)
    wait = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(5)
    polls = service.polls(job_id)
    began = now()
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    assert now() - began == pytest.approx(0, abs=0.001)
    await asyncio.sleep(1_000)
    assert service.polls(job_id) == polls


@pytest.mark.parametrize("state", ["asleep", "in flight", "held", "not begun"])
async def test_closing_ends_a_wait_with_all_it_knows(
    state: str, service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "RUNNING")], faults=[Fault.stall()] if state == "in flight" else [])
    if state == "held":
        service.throttle(1_000, retry_after=1_000)
    wait = asyncio.create_task(client.wait_for_terminal(job_id))
    await asyncio.sleep(0 if state == "not begun" else 5)
    await client.close()
    with pytest.raises(ClientClosedError) as caught:
        await wait
    assert caught.value.job_id == job_id
    assert (caught.value.last_job is not None) == (state == "asleep")


# --- the log ----------------------------------------------------------------------------------------


async def test_the_log_has_changes_and_a_growing_heartbeat_and_never_a_poll(
    service: Simulator, client: FineTuneClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dashscope_ft_async")
    job_id = service.add_job([(0, "PENDING"), (600, "RUNNING"), (7_200, "SUCCEEDED")])
    await client.wait_for_terminal(job_id)
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("dashscope_ft_async")]
    changes = [line for line in ours if "->" in line]
    beats = [line for line in ours if line.startswith("still waiting")]
    assert service.polls(job_id) > 200
    assert [line.split(": ")[1].split(" after")[0] for line in changes] == [
        "first seen -> PENDING",
        "PENDING -> RUNNING",
        "RUNNING -> SUCCEEDED",
    ]
    assert 4 <= len(beats) <= 8
    assert len(ours) == len(changes) + len(beats)


async def test_a_status_word_of_many_lines_writes_none_of_its_own_into_the_log(
    service: Simulator, client: FineTuneClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dashscope_ft_async")
    forged = "RUNNING\nERROR root: all is lost\x1b[2J"
    job_id = service.add_job([(0, forged), (600, "PENDING"), (900, "SUCCEEDED")])
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_terminal(job_id, timeout=300)
    await client.wait_for_terminal(job_id)
    lines = [one.getMessage() for one in caplog.records] + [str(caught.value)]
    assert all(line.isprintable() for line in lines)
    assert sum(r"'RUNNING\nERROR root: all is lost\x1b[2J'" in line for line in lines) >= 5


async def test_the_log_has_failures_in_few_lines_and_its_end(
    service: Simulator, client: FineTuneClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dashscope_ft_async")
    faults = [Fault.html(502)] * 20
    await client.wait_for_terminal(service.add_job([(0, "RUNNING"), (1_500, "SUCCEEDED")], faults=faults))
    ours = [one.getMessage() for one in caplog.records if one.name == "dashscope_ft_async"]
    assert sum("failed (" in line for line in ours) == 5
    assert sum("polls succeed again" in line for line in ours) == 1
