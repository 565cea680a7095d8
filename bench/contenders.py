"""The ways to wait that are compared: ours, the official SDK, openai's SDK, and a bare loop.

Each is used as its own documentation says, with the defaults of its pools and retries. Imports are inside:
a process of the benchmark imports the one it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import attrs

KEY = "sk-0123456789abcdef0123456789abcdef"
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


@attrs.frozen
class Way:
    """One way to ask and to wait, ready to be used."""

    get: Callable[[str], Awaitable[Any]]
    wait: Callable[..., Awaitable[Any]]
    """Until the job has ended."""
    client: Any = None


Opener: TypeAlias = Callable[..., AbstractAsyncContextManager[Way]]
"""Called with the URL of the service and the seconds between polls; and, where it shall not be the
contender's default, ``timeout=``, the seconds of one request."""


@asynccontextmanager
async def bare(url: str, interval: float, *, timeout: float | None = None) -> AsyncIterator[Way]:
    """What one writes in ten minutes: one aiohttp session, `GET`, `sleep`."""
    aiohttp: Any = import_module("aiohttp")
    orjson: Any = import_module("orjson")
    options = {} if timeout is None else {"timeout": aiohttp.ClientTimeout(total=timeout)}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}, **options) as session:

        async def get(job_id: str) -> Any:
            async with session.get(f"{url}/api/v1/fine-tunes/{job_id}") as response:
                response.raise_for_status()
                return orjson.loads(await response.read())["output"]

        async def wait(job_id: str) -> Any:
            while (job := await get(job_id))["status"] not in _ENDED:
                await asyncio.sleep(interval)
            return job

        yield Way(get, wait, session)


@asynccontextmanager
async def ours(url: str, interval: float, **options: float) -> AsyncIterator[Way]:
    """`FineTuneClient.wait_for_terminal`, with a fixed interval and all else as it comes."""
    library: Any = import_module("dashscope_ft_async")
    poll = library.PollPolicy(initial=interval, multiplier=1.0, max_interval=interval)
    async with library.FineTuneClient(KEY, base_url=f"{url}/api/v1", poll=poll, **options) as client:
        yield Way(client.get, client.wait_for_terminal, client)


@asynccontextmanager
async def official(url: str, interval: float, **options: float) -> AsyncIterator[Way]:
    """`dashscope.AsyncClient().fine_tunes.wait`, told to keep a fixed interval."""
    dashscope: Any = import_module("dashscope")
    async with dashscope.AsyncClient(api_key=KEY, base_url=f"{url}/api/v1", **options) as client:
        wait = partial(client.fine_tunes.wait, poll_interval=interval, max_interval=interval)
        yield Way(client.fine_tunes.get, wait, client)


@asynccontextmanager
async def openai(url: str, interval: float) -> AsyncIterator[Way]:
    """`AsyncOpenAI().fine_tuning.jobs.retrieve` in a loop: openai has no wait for fine-tune jobs."""
    library: Any = import_module("openai")
    async with library.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as client:
        get = client.fine_tuning.jobs.retrieve

        async def wait(job_id: str) -> Any:
            while (job := await get(job_id)).status not in ("succeeded", "failed", "cancelled"):
                await asyncio.sleep(interval)
            return job

        yield Way(get, wait, client)


OPENERS: dict[str, Opener] = {"bare": bare, "ours": ours, "dashscope": official, "openai": openai}
MODULES = {"bare": "aiohttp", "ours": "dashscope_ft_async", "dashscope": "dashscope", "openai": "openai"}
TITLES = {
    "bare": "bare aiohttp loop",
    "ours": "dashscope_ft_async",
    "dashscope": "dashscope SDK",
    "openai": "openai SDK loop",
}


def installed() -> list[str]:
    """The contenders that this environment has."""
    return [name for name, module in MODULES.items() if find_spec(module) is not None]
