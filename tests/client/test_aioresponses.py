"""An application's own tests that mock our URLs with aioresponses work. It proves no time-outs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses, core
from tenacity import wait_incrementing

from dashscope_ft_async import AuthenticationError, FineTuneClient, RetryPolicy
from tests.conftest import KEY

URL = "https://dashscope-intl.aliyuncs.com/api/v1/fine-tunes/ft-1"


def answer(status: str) -> dict[str, Any]:
    output = {"job_id": "ft-1", "status": status, "finetuned_output": "qwen-ft-1"}
    return {"request_id": "r", "output": output}


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """aioresponses 0.7.9 builds a `ClientResponse` without the `stream_writer` that aiohttp 3.14 wants."""

    class Response(aiohttp.ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if aiohttp.__version__ >= "3.14":
                kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(core, "ClientResponse", Response)
    with aioresponses() as mock:
        yield mock


async def test_get_reads_a_mocked_answer(mocked: Any) -> None:
    mocked.get(URL, payload=answer("SUCCEEDED"))

    async with FineTuneClient(KEY) as client:
        job = await client.get("ft-1")

    assert job.succeeded


async def test_a_mocked_refusal_has_its_class(mocked: Any) -> None:
    mocked.get(URL, status=401, payload={"code": "InvalidApiKey", "message": "Invalid API-key provided."})

    async with FineTuneClient(KEY) as client:
        with pytest.raises(AuthenticationError):
            await client.wait_for_terminal("ft-1")


@pytest.mark.looptime
async def test_a_wait_under_throttling_then_internal_error_backs_off_as_tenacity_says(
    mocked: Any,
) -> None:
    mocked.get(URL, status=429, payload={"code": "Throttling", "message": "Requests throttling triggered."})
    mocked.get(URL, status=429, payload={"code": "Throttling", "message": "Requests throttling triggered."})
    mocked.get(URL, status=500, payload={"code": "InternalError", "message": "Internal server error!"})
    mocked.get(URL, payload=answer("SUCCEEDED"))
    retry = RetryPolicy(attempts=9, wait=wait_incrementing(start=3, increment=2))
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with FineTuneClient(KEY, retry=retry) as client:
        job = await client.wait_for_terminal("ft-1")

    assert job.succeeded
    assert loop.time() - started == pytest.approx(3 + 5 + 7, abs=0.1)
