"""The simulator, over HTTP. Users test their programs with it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from dashscope_ft_async.testing import Fault, Simulator

pytestmark = pytest.mark.looptime
HEADERS = {"Authorization": "Bearer sk-any"}
START = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the times of the service have no zone


async def ask(service: Simulator, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(service.base_url + path, headers=HEADERS if headers is None else headers) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_job_follows_its_timeline_and_set_status_changes_it() -> None:
    async with Simulator() as service:
        job_id = service.add_job([(5, "RUNNING"), (0, "PENDING"), (9, "FAILED")], message="why")
        seen: list[Any] = []
        for pause in (0, 5, 5):
            await asyncio.sleep(pause)
            seen.append((await ask(service, f"/fine-tunes/{job_id}"))[1]["output"])
        service.set_status(job_id, "CANCELED", code="1")
        seen.append((await ask(service, f"/fine-tunes/{job_id}"))[1]["output"])

        assert [output["status"] for output in seen] == ["PENDING", "RUNNING", "FAILED", "CANCELED"]
        assert [output.get("end_time") for output in seen[:2]] == [None, None]
        assert (seen[3]["code"], seen[3]["usage"], seen[3]["message"]) == ("1", 0, "why")


async def test_the_latencies_of_the_simulator_and_of_a_job_add_up() -> None:
    async with Simulator(latency=2) as service:
        job_id = service.add_job(latency=3)
        await ask(service, f"/fine-tunes/{job_id}")

        assert service.requests[0].at == pytest.approx(5, abs=0.01)


async def test_it_listens_on_the_given_port_and_raises_if_the_port_is_in_use() -> None:
    async with Simulator() as first:
        port = int(first.base_url.split(":")[2].partition("/")[0])
        with pytest.raises(OSError, match="in use"):
            await Simulator(port=port).__aenter__()
    async with Simulator(port=port) as second:
        assert second.base_url == first.base_url
        assert (await ask(second, "/fine-tunes"))[0] == 200


async def test_a_wrong_key_is_answered_with_401() -> None:
    async with Simulator(api_key="sk-right") as service:
        for headers, expected in (({}, 401), (HEADERS, 401), ({"Authorization": "Bearer sk-right"}, 200)):
            status, _ = await ask(service, "/fine-tunes", headers)
            assert status == expected


@pytest.mark.parametrize("query", ["page_no=0", "page_size=101", "page_no=x"])
async def test_page_numbers_out_of_range_are_answered_with_400(query: str) -> None:
    async with Simulator() as service:
        status, body = await ask(service, f"/fine-tunes?{query}")

    assert (status, body["code"]) == (400, "InvalidParameter")


async def test_requests_are_throttled_by_rate_and_by_time() -> None:
    async with Simulator(rate_limit=2) as service:
        statuses = [(await ask(service, "/fine-tunes"))[0] for _ in range(4)]
        await asyncio.sleep(1)
        statuses.append((await ask(service, "/fine-tunes"))[0])
        service.throttle(10, retry_after=3)
        statuses.append((await ask(service, "/fine-tunes"))[0])

    assert statuses == [200, 200, 429, 429, 200, 429]


async def test_faults_are_sent_in_order() -> None:
    async with Simulator() as service:
        job_id = service.add_job(faults=[Fault.error(500, "InternalError"), Fault.stall(7), Fault.cut()])
        service.fail_next(Fault.html(502), Fault.json({"a": 1}, 202))
        statuses: list[int] = []
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            for _ in range(4):
                async with session.get(f"{service.base_url}/fine-tunes/{job_id}") as response:
                    statuses.append(response.status)
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.get(f"{service.base_url}/fine-tunes/{job_id}") as response:
                    await response.read()

        assert statuses == [502, 202, 500, 200]


async def test_a_job_that_is_removed_is_not_found() -> None:
    async with Simulator() as service:
        job_id = service.add_job()
        service.remove_job(job_id)

        assert (await ask(service, f"/fine-tunes/{job_id}"))[0] == 404


async def test_a_timeline_without_a_start_and_a_known_job_id_are_refused() -> None:
    service = Simulator()
    with pytest.raises(ValueError, match="status at 0"):
        service.add_job([(1, "RUNNING")])
    with pytest.raises(ValueError, match="status at 0"):
        service.add_job([])
    service.add_job(job_id="ft-1")
    with pytest.raises(ValueError, match="already"):
        service.add_job(job_id="ft-1")
    await service.__aexit__()


# --- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "kind", "body"),
    [
        (Fault.error(500, "InternalError", "oh"), 500, "application/json", b'"code": "InternalError"'),
        (Fault.error(418), 418, "application/json", b""),
        (Fault.html(), 502, "text/html", b"<html>"),
        (Fault.json({"a": [1]}), 200, "application/json", b'{"a": [1]}'),
        (Fault.raw(b"\xff{", 203), 203, "application/json", b"\xff{"),
        (Fault.stall(9), 200, "application/json", b'"status": "RUNNING"'),
    ],
    ids=["error", "error without a body", "html", "json", "raw", "stall"],
)
async def test_each_fault_is_sent_once(fault: Fault, status: int, kind: str, body: bytes) -> None:
    async with Simulator() as service, aiohttp.ClientSession(headers=HEADERS) as session:
        url = f"{service.base_url}/fine-tunes/{service.add_job([(0, 'RUNNING')], faults=[fault])}"
        async with session.get(url) as response:
            seen = (response.status, response.content_type, body in await response.read())
        async with session.get(url) as response:
            after = (await response.json())["output"]["status"]

    assert seen == (status, kind, True)
    assert after == "RUNNING"


@pytest.mark.parametrize(
    ("fault", "statuses"), [(Fault.reset(), [0, 0]), (Fault.cut(), [200])], ids=["reset", "cut"]
)
async def test_a_broken_connection_is_recorded(fault: Fault, statuses: list[int]) -> None:
    async with Simulator() as service:
        service.fail_next(fault, *[fault] * (len(statuses) - 1))
        with pytest.raises(
            (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
        ):
            await ask(service, "/fine-tunes")

        assert [seen.status for seen in service.requests] == statuses


async def test_a_stall_without_seconds_lasts_until_the_simulator_stops() -> None:
    async with Simulator() as service:
        service.fail_next(Fault.stall())
        asking = asyncio.create_task(ask(service, "/fine-tunes"))
        await asyncio.sleep(200)
        assert not asking.done()
    with pytest.raises(aiohttp.ClientError):
        await asking


@pytest.mark.parametrize(
    ("retry_after", "sent"), [(5, "5"), (0.5, "0.5"), ("soon", "soon"), (None, None)], ids=str
)
@pytest.mark.parametrize("way", ["fault", "throttle"])
async def test_a_retry_after_is_sent_as_given(
    way: str, retry_after: float | str | None, sent: str | None
) -> None:
    async with Simulator() as service, aiohttp.ClientSession(headers=HEADERS) as session:
        if way == "fault":
            service.fail_next(Fault.error(429, "Throttling", retry_after=retry_after))
        else:
            service.throttle(10, retry_after=retry_after)
        async with session.get(f"{service.base_url}/fine-tunes") as response:
            assert (response.status, response.headers.get("Retry-After")) == (429, sent)


async def test_throttling_ends_after_its_seconds() -> None:
    async with Simulator() as service:
        service.throttle(10)
        before = await ask(service, "/fine-tunes")
        await asyncio.sleep(10)
        after = await ask(service, "/fine-tunes")

    assert (before[0], before[1]["code"], after[0]) == (429, "Throttling", 200)


async def test_a_rate_limit_admits_its_rate_and_a_burst_of_one_second() -> None:
    async with Simulator(rate_limit=5) as service:
        await asyncio.sleep(100)
        admitted = 0
        for _ in range(100):
            admitted += (await ask(service, "/fine-tunes"))[0] == 200
            await asyncio.sleep(0.1)

    assert admitted == pytest.approx(5 + 10 * 5, abs=2)


# --- pages, keys and recorded requests ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", range(24, 14, -1)),
        ("?page_no=3", range(4, -1, -1)),
        ("?page_no=4", []),
        ("?page_size=100", range(24, -1, -1)),
    ],
    ids=["the newest first", "the last page", "beyond", "all"],
)
async def test_pages_begin_with_the_newest_job(query: str, expected: list[int]) -> None:
    async with Simulator() as service:
        ids = [service.add_job() for _ in range(25)]
        _, body = await ask(service, f"/fine-tunes{query}")

    assert [job["job_id"] for job in body["output"]["jobs"]] == [ids[n] for n in expected]
    assert body["output"]["total"] == 25


async def test_a_list_can_be_filtered_by_model() -> None:
    async with Simulator() as service:
        service.add_job(model="other")
        mine = service.add_job(model="mine")
        _, body = await ask(service, "/fine-tunes?model=mine")

    assert ([job["job_id"] for job in body["output"]["jobs"]], body["output"]["total"]) == ([mine], 1)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic sk-any", "sk-any"], ids=repr)
async def test_a_request_without_a_bearer_key_is_answered_with_401(value: str) -> None:
    async with Simulator() as service:
        status, body = await ask(service, f"/fine-tunes/{service.add_job()}", {"Authorization": value})

    assert (status, body["code"]) == (401, "InvalidApiKey")


async def test_every_request_is_recorded_with_its_time_and_status() -> None:
    async with Simulator() as service:
        job_id = service.add_job()
        for path in ("/fine-tunes", f"/fine-tunes/{job_id}", "/fine-tunes/ft-none"):
            await asyncio.sleep(10)
            await ask(service, path)

        assert [(round(seen.at), seen.method, seen.path, seen.status) for seen in service.requests] == [
            (10, "GET", "/api/v1/fine-tunes", 200),
            (20, "GET", f"/api/v1/fine-tunes/{job_id}", 200),
            (30, "GET", "/api/v1/fine-tunes/ft-none", 404),
        ]
        assert (service.polls(job_id), service.polls("ft-none"), service.polls("ft-other")) == (1, 1, 0)


async def test_set_status_replaces_the_rest_of_the_timeline() -> None:
    async with Simulator() as service, service.client() as client:
        job_id = service.add_job([(0, "RUNNING"), (50, "SUCCEEDED")])
        await asyncio.sleep(20)
        service.set_status(job_id, "CANCELING")
        await asyncio.sleep(100)
        status = (await client.get(job_id)).raw_status

    assert status == "CANCELING"


async def test_given_fields_replace_the_usual_ones() -> None:
    async with Simulator() as service, service.client() as client:
        job = await client.get(
            service.add_job(job_id="mine", model="m", surprise=1, training_file_ids=["f"])
        )

    assert (job.job_id, job.model, job.training_file_ids, job.extra) == (
        "mine",
        "m",
        ("f",),
        {"surprise": 1},
    )


async def test_the_end_time_is_when_the_job_ended() -> None:
    async with Simulator() as service, service.client() as client:
        job_id = service.add_job([(0, "RUNNING"), (3_600, "SUCCEEDED")])
        await asyncio.sleep(10_000)
        job = await client.get(job_id)

    assert job.duration is not None
    assert job.duration.total_seconds() == 3_600


async def test_an_unknown_job_cannot_be_changed_or_removed() -> None:
    async with Simulator() as service:
        with pytest.raises(KeyError):
            service.set_status("ft-none", "RUNNING")
        with pytest.raises(KeyError):
            service.remove_job("ft-none")


async def test_two_simulators_can_run_at_the_same_time() -> None:
    async with Simulator() as one, Simulator() as other:
        job_id = one.add_job()
        assert one.base_url != other.base_url
        assert (await ask(other, f"/fine-tunes/{job_id}"))[0] == 404


# --- changes to jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"model": "m"}', b'{"model": "", "training_file_ids": ["f"]}']
)
async def test_a_create_request_without_required_fields_is_answered_with_400(body: bytes) -> None:
    async with (
        Simulator() as service,
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.post(f"{service.base_url}/fine-tunes", data=body) as response,
    ):
        assert (response.status, (await response.json())["code"]) == (400, "InvalidParameter")
        assert (await ask(service, "/fine-tunes"))[1]["output"]["total"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("checkpoints", 200),
        ("export/checkpoint-50", 400),
        ("export/checkpoint-1?model_name=m", 404),
        ("validation-details/checkpoint-1", 404),
        ("validation-details/checkpoint-50?page_no=x", 400),
    ],
)
async def test_requests_about_checkpoints_are_checked(path: str, status: int) -> None:
    async with Simulator() as service:
        job_id = service.add_job([(0, "RUNNING"), (0, "SUCCEEDED")])

        assert (await ask(service, f"/fine-tunes/{job_id}/{path}"))[0] == status


@pytest.mark.parametrize("end", ["FAILED", "CANCELED"])
async def test_a_run_that_does_not_succeed_has_the_checkpoint_that_was_saved_halfway(end: str) -> None:
    async with Simulator(start_time=START) as service:
        job_id = service.add_job([(0, "PENDING"), (1, "RUNNING"), (5, end)])
        await asyncio.sleep(9)
        _, body = await ask(service, f"/fine-tunes/{job_id}/checkpoints")

    assert [one["create_time"] for one in body["output"]] == ["2026-01-05T10:30:15"]


# --- what makes a simulated job look real -------------------------------------------------------------


async def test_times_and_ids_are_those_of_today() -> None:
    before = datetime.now().replace(microsecond=0)  # noqa: DTZ005 - the times of the service have no zone
    async with Simulator() as service, service.client() as client:
        job = await client.get(service.add_job())

    assert job.create_time is not None
    assert before <= job.create_time < before + timedelta(minutes=1)
    assert job.job_id.startswith(f"ft-{job.create_time:%Y%m%d%H%M}-")


async def test_a_model_is_named_after_the_base_model_of_its_job() -> None:
    async with Simulator(new_jobs=[(0, "SUCCEEDED")]) as service, service.client() as client:
        job = await client.create(model="qwen3-8b", training_file_ids=["file-1"])

    assert (job.base_model, job.finetuned_output) == ("qwen3-8b", f"qwen3-8b-{job.job_id}")


async def test_each_job_has_its_own_losses_which_fall_with_noise_and_never_change() -> None:
    async with Simulator(loss_every=10) as service, service.client() as client:
        job_ids = [service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")]) for _ in range(2)]
        await asyncio.sleep(301)
        early = service.log_lines(job_ids[0])
        await asyncio.sleep(400)
        metrics = [[metric async for metric in client.metrics(job_id)] for job_id in job_ids]

    losses = [[metric.loss or 0 for metric in curve] for curve in metrics]
    assert service.log_lines(job_ids[0])[: len(early)] == early
    assert len(early) == 31
    assert losses[0] != losses[1]
    assert losses[0][-1] < losses[0][0] / 1.5
    assert losses[0] != sorted(losses[0], reverse=True)
    assert [(one.step, one.max_steps, one.epoch) for one in (metrics[0][0], metrics[0][-1])] == [
        (1, 60, 0.05),
        (60, 60, 3.0),
    ]


async def test_a_job_that_is_cancelled_in_training_keeps_its_planned_steps() -> None:
    async with Simulator(loss_every=10) as service, service.client() as client:
        job_id = service.add_job([(0, "RUNNING"), (600, "SUCCEEDED")])
        await asyncio.sleep(105)
        await client.cancel(job_id)
        await asyncio.sleep(100)
        metrics = [metric async for metric in client.metrics(job_id)]

    assert [(metric.step, metric.max_steps) for metric in metrics] == [(n, 60) for n in range(1, 11)]


async def test_the_repr_shows_the_url_and_counts_but_not_the_key() -> None:
    simulator = Simulator(api_key="sk-secret")
    assert repr(simulator) == "<Simulator not started jobs=0 requests=0>"
    async with simulator as service:
        service.add_job()
        assert repr(service) == f"<Simulator {service.base_url} jobs=1 requests=0>"
