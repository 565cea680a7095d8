"""The clients that are compared, each used as its documentation says, with its default pools and retries.

Imports are inside functions: a process of the benchmark imports only the client that it measures.
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
LIBRARY = "dashscope_ft_async"
"""The name of this library among the contenders."""

Get: TypeAlias = Callable[[str], Awaitable[Any]]
Wait: TypeAlias = Callable[..., Awaitable[Any]]


@attrs.frozen
class OpenClient:
    """A client, ready for use."""

    get: Get
    wait: Wait
    """Returns when the job has ended."""
    client: Any = None


Opener: TypeAlias = Callable[..., AbstractAsyncContextManager[OpenClient]]
"""Called with the URL of the service and the seconds between polls; ``timeout=`` is that of one request."""


@asynccontextmanager
async def bare(url: str, interval: float, *, timeout: float | None = None) -> AsyncIterator[OpenClient]:
    """One aiohttp session, `GET`, `orjson.loads`, `sleep`."""
    aiohttp: Any = import_module("aiohttp")
    orjson: Any = import_module("orjson")
    options = {} if timeout is None else {"timeout": aiohttp.ClientTimeout(total=timeout)}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}, **options) as session:

        async def get(job_id: str) -> Any:
            async with session.get(f"{url}/api/v1/fine-tunes/{job_id}") as response:
                response.raise_for_status()
                return orjson.loads(await response.read())["output"]

        yield OpenClient(get, _loop(get, _has_ended, interval), session)


@asynccontextmanager
async def bare_cattrs(url: str, interval: float) -> AsyncIterator[OpenClient]:
    """The same loop; a default cattrs converter structures the answer's 20 fields."""
    structure = import_module("cattrs").Converter().structure
    async with bare(url, interval) as loop:

        async def get(job_id: str) -> Any:
            return structure(await loop.get(job_id), _Job)

        yield OpenClient(get, _loop(get, lambda job: job.status in _ENDED, interval), loop.client)


@asynccontextmanager
async def library(url: str, interval: float, **options: float) -> AsyncIterator[OpenClient]:
    """`FineTuneClient.wait_for_terminal` with a fixed interval."""
    module: Any = import_module("dashscope_ft_async")
    poll = module.PollPolicy(initial=interval, multiplier=1.0, max_interval=interval)
    async with module.FineTuneClient(KEY, base_url=f"{url}/api/v1", poll=poll, **options) as client:
        yield OpenClient(client.get, client.wait_for_terminal, client)


@asynccontextmanager
async def official(url: str, interval: float, **options: float) -> AsyncIterator[OpenClient]:
    """`dashscope.AsyncClient().fine_tunes.wait` with a fixed interval."""
    dashscope: Any = import_module("dashscope")
    async with dashscope.AsyncClient(api_key=KEY, base_url=f"{url}/api/v1", **options) as client:
        wait = partial(client.fine_tunes.wait, poll_interval=interval, max_interval=interval)
        yield OpenClient(client.fine_tunes.get, wait, client)


@asynccontextmanager
async def openai(url: str, interval: float) -> AsyncIterator[OpenClient]:
    """`AsyncOpenAI().fine_tuning.jobs.retrieve` in a loop: openai has no function that waits."""
    module: Any = import_module("openai")
    async with module.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as client:
        get = client.fine_tuning.jobs.retrieve
        ended = ("succeeded", "failed", "cancelled")
        yield OpenClient(get, _loop(get, lambda job: job.status in ended, interval), client)


_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


def _has_ended(job: Any) -> bool:
    return job["status"] in _ENDED


def _loop(get: Get, has_ended: Callable[[Any], bool], interval: float) -> Wait:
    async def wait(job_id: str) -> Any:
        while not has_ended(job := await get(job_id)):
            await asyncio.sleep(interval)
        return job

    return wait


@attrs.frozen
class _Job:
    """The 20 fields of a `FineTuneJob` that the service sends."""

    job_id: str
    status: str
    job_name: str | None = None
    finetuned_output: str | None = None
    model: str | None = None
    base_model: str | None = None
    training_file_ids: tuple[str, ...] = ()
    validation_file_ids: tuple[str, ...] = ()
    hyper_parameters: dict[str, Any] = attrs.field(factory=dict[str, Any])
    training_type: str | None = None
    create_time: str | None = None
    workspace_id: str | None = None
    user_identity: str | None = None
    modifier: str | None = None
    creator: str | None = None
    end_time: str | None = None
    group: str | None = None
    usage: int | None = None
    output_cnt: int | None = None
    max_output_cnt: int | None = None


@attrs.frozen
class Contender:
    """One client of the comparison."""

    title: str
    module: str
    """What a program imports to use it."""
    open: Opener


CONTENDERS = {
    "bare": Contender("bare aiohttp loop", "aiohttp", bare),
    "bare+cattrs": Contender("bare loop + cattrs", "cattrs", bare_cattrs),
    LIBRARY: Contender("dashscope_ft_async", "dashscope_ft_async", library),
    "dashscope": Contender("dashscope SDK", "dashscope", official),
    "openai": Contender("openai SDK loop", "openai", openai),
}
TITLES = {name: contender.title for name, contender in CONTENDERS.items()}


def installed() -> list[str]:
    """The contenders that this environment has."""
    return [name for name, contender in CONTENDERS.items() if find_spec(contender.module) is not None]
