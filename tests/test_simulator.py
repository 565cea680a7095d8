"""The simulator obeys its script: it is what users test with."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from dashscope_ft_async.testing import Fault, Simulator

pytestmark = pytest.mark.looptime
HEADERS = {"Authorization": "Bearer sk-any"}


async def ask(service: Simulator, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(service.base_url + path, headers=HEADERS if headers is None else headers) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_job_follows_its_timeline_and_moves_by_hand() -> None:
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


async def test_latency_of_service_and_job_add_up() -> None:
    async with Simulator(latency=2) as service:
        job_id = service.add_job(latency=3)
        await ask(service, f"/fine-tunes/{job_id}")

        assert service.requests[0].at == pytest.approx(5, abs=0.01)


async def test_keys_are_checked() -> None:
    async with Simulator(api_key="sk-right") as service:
        for headers, expected in (({}, 401), (HEADERS, 401), ({"Authorization": "Bearer sk-right"}, 200)):
            status, _ = await ask(service, "/fine-tunes", headers)
            assert status == expected


@pytest.mark.parametrize("query", ["page_no=0", "page_size=101", "page_no=x"])
async def test_bad_pages_are_refused(query: str) -> None:
    async with Simulator() as service:
        status, body = await ask(service, f"/fine-tunes?{query}")

    assert (status, body["code"]) == (400, "InvalidParameter")


async def test_throttling_by_time_and_by_rate() -> None:
    async with Simulator(rate_limit=2) as service:
        statuses = [(await ask(service, "/fine-tunes"))[0] for _ in range(4)]
        await asyncio.sleep(1)
        statuses.append((await ask(service, "/fine-tunes"))[0])
        service.throttle(10, retry_after=3)
        statuses.append((await ask(service, "/fine-tunes"))[0])

    assert statuses == [200, 200, 429, 429, 200, 429]


async def test_faults_come_in_order_and_broken_answers_are_broken() -> None:
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


async def test_mistakes_in_a_script_are_told() -> None:
    service = Simulator()
    with pytest.raises(ValueError, match="status at 0"):
        service.add_job([(1, "RUNNING")])
    with pytest.raises(ValueError, match="status at 0"):
        service.add_job([])
    service.add_job(job_id="ft-1")
    with pytest.raises(ValueError, match="already"):
        service.add_job(job_id="ft-1")
    await service.__aexit__()
