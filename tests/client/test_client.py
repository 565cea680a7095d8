"""Single calls of the client, over the simulator: answers, pages, tries again, refusals of bad input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tenacity import RetryCallState, wait_fixed, wait_none

from dashscope_ft_async import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    EndpointNotFoundError,
    FineTuneClient,
    InternalServerError,
    JobStatus,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    ServiceUnavailableError,
)
from dashscope_ft_async._api import runner
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import Adversary, whole


@pytest.fixture(autouse=True)
async def nothing_left_running(client: FineTuneClient, service: Simulator) -> AsyncIterator[None]:
    """After closing, no task of ours is left."""
    yield
    await client.close()
    assert not [task for task in asyncio.all_tasks() if "/dashscope_ft_async/" in str(task)]


# --- answers ----------------------------------------------------------------------------------------


async def test_get_gives_the_job_as_it_is(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "RUNNING")], job_name="nightly")
    job = await client.get(job_id)
    assert (job.job_id, job.status, job.job_name) == (job_id, JobStatus.RUNNING, "nightly")


async def test_a_snapshot_serves_as_an_id(service: Simulator, client: FineTuneClient) -> None:
    job = await client.get(service.add_job([(0, "RUNNING")]))
    service.set_status(job.job_id, "FAILED")
    assert (await client.get(job)).status is JobStatus.FAILED


async def test_list_gives_a_page_the_newest_first(service: Simulator, client: FineTuneClient) -> None:
    ids = [service.add_job([(0, "RUNNING")]) for _ in range(25)]
    page = await client.list(2, 10)
    assert [job.job_id for job in page.jobs] == ids[::-1][10:20]
    assert (page.page_no, page.page_size, page.total) == (2, 10, 25)


async def test_list_and_iter_jobs_keep_to_a_model(service: Simulator, client: FineTuneClient) -> None:
    chosen = service.add_job([(0, "RUNNING")], model="qwen-a b")
    service.add_job([(0, "RUNNING")], model="other")
    page = await client.list(model="qwen-a b")
    walked = [job.job_id async for job in client.iter_jobs(model="qwen-a b")]
    assert [job.job_id for job in page.jobs] == [chosen] == walked


@pytest.mark.parametrize(
    ("count", "page_size", "requests"),
    [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (250, 100, 3)],
    ids=["none", "one", "a whole page", "one more", "many"],
)
async def test_iter_jobs_walks_every_page_and_no_more(
    count: int, page_size: int, requests: int, service: Simulator, client: FineTuneClient
) -> None:
    ids = [service.add_job([(0, "RUNNING")]) for _ in range(count)]
    walked = [job.job_id async for job in client.iter_jobs(page_size=page_size)]
    assert walked == ids[::-1]
    assert len(service.requests) == requests


async def test_iter_jobs_gives_each_job_once_when_new_jobs_shift_the_pages(
    service: Simulator, client: FineTuneClient
) -> None:
    ids = [service.add_job([(0, "RUNNING")]) for _ in range(10)]
    walked: list[str] = []
    async for job in client.iter_jobs(page_size=3):
        walked.append(job.job_id)
        if len(walked) in (1, 4):
            service.add_job([(0, "RUNNING")])
    assert walked == ids[::-1]


async def test_iter_jobs_outlives_a_whole_page_of_jobs_seen_before(
    service: Simulator, client: FineTuneClient
) -> None:
    ids = [service.add_job([(0, "RUNNING")]) for _ in range(6)]
    walked: list[str] = []
    async for job in client.iter_jobs(page_size=2):
        walked.append(job.job_id)
        if len(walked) == 1:
            for _ in range(2):
                service.add_job([(0, "RUNNING")])
    assert walked == ids[::-1]


def _page(ids: list[str], **fields: object) -> bytes:
    jobs = ", ".join(f'{{"job_id": "{one}", "status": "RUNNING"}}' for one in ids)
    facts = "".join(f', "{name}": {value}' for name, value in fields.items())
    return f'{{"output": {{"jobs": [{jobs}]{facts}}}}}'.encode()


async def test_a_row_that_is_no_job_hides_no_other_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = b'{"job_id": "a", "status": "RUNNING"}', b'{"job_id": "b", "status": null}'
    body = b'{"output": {"jobs": [' + bad + b", " + good + b'], "total": 2}}'
    async with Adversary(whole(body)) as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        page = await client.list()
        walked = [job.job_id async for job in client.iter_jobs(page_size=2)]
    assert [job.job_id for job in page.jobs] == walked == ["a"]
    assert page.extra["jobs"] == [{"job_id": "b", "status": None}]
    (received,) = [one for one in caplog.records if one.name == "dashscope_ft_async"]
    assert (received.levelname, received.getMessage()[:14]) == ("WARNING", "1 of 2 rows of")


@pytest.mark.parametrize(
    ("pages", "expected", "requests"),
    [
        ([_page(["a", "b"], total=3, page_size=2), _page(["c"], total=3, page_size=2)], ["a", "b", "c"], 2),
        ([_page(["a"]), _page(["b"]), _page([])], ["a", "b"], 3),
        ([_page(["a", "a"]), _page([])], ["a"], 2),
        ([_page(["a", "b"]), _page(["b", "c"]), _page([])], ["a", "b", "c"], 3),
        ([_page(["a"], total='"2"', page_size=1), _page(["b"], total='"2"', page_size=1)], ["a", "b"], 2),
        ([_page([], total=500)], [], 1),
    ],
    ids=[
        "a smaller page than asked for, echoed",
        "no total",
        "a duplicate on a page",
        "a duplicate on two pages",
        "numbers as text",
        "a total that never comes",
    ],
)
async def test_iter_jobs_goes_by_what_the_service_says_of_its_pages(
    pages: list[bytes], expected: list[str], requests: int
) -> None:
    async with (
        Adversary(*map(whole, pages)) as server,
        FineTuneClient(KEY, base_url=server.base_url) as client,
    ):
        walked = [job.job_id async for job in client.iter_jobs()]
    assert (walked, len(server.heads)) == (expected, requests)


@pytest.mark.parametrize(
    "page",
    [_page(["a", "b"]), _page(["a", "b"], total=10**9), _page(["a", "b"], total=10**9, page_size=1)],
    ids=["no total", "a huge total", "a huge total and small pages"],
)
async def test_a_service_that_gives_one_page_again_and_again_is_left(page: bytes) -> None:
    async with Adversary(whole(page)) as server, FineTuneClient(KEY, base_url=server.base_url) as client:
        walked = [job.job_id async for job in client.iter_jobs()]
    assert walked == ["a", "b"]
    assert len(server.heads) <= 12


async def test_iter_jobs_asks_for_a_page_only_when_it_is_needed(
    service: Simulator, client: FineTuneClient
) -> None:
    for _ in range(9):
        service.add_job([(0, "RUNNING")])
    jobs = client.iter_jobs(page_size=3)
    assert service.requests == []
    for _ in range(3):
        await anext(jobs)
    assert len(service.requests) == 1
    await jobs.aclose()


# --- trying again -----------------------------------------------------------------------------------

TRANSIENT: list[tuple[str, Fault, type[APIError]]] = [
    ("429", Fault.error(429, "Throttling"), RateLimitError),
    ("500", Fault.error(500, "InternalError"), InternalServerError),
    ("503", Fault.error(503, "ModelUnavailable"), ServiceUnavailableError),
    ("504", Fault.html(504), InternalServerError),
    ("408", Fault.error(408), APIStatusError),
    ("425", Fault.error(425), APIStatusError),
    ("HTML 404", Fault.html(404), EndpointNotFoundError),
    ("HTML 200", Fault.html(200), APIResponseValidationError),
    ("cut body", Fault.cut(), APIConnectionError),
    ("truncated JSON", Fault.raw(b'{"output": {"job'), APIResponseValidationError),
    ("200 with InternalError", Fault.json({"code": "InternalError"}), InternalServerError),
    ("200 with an unknown code", Fault.json({"code": "Surprise"}), APIStatusError),
    (
        "another job",
        Fault.json({"output": {"job_id": "x", "status": "RUNNING"}}),
        APIResponseValidationError,
    ),
]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("fault", "kind"), [(fault, kind) for _, fault, kind in TRANSIENT], ids=[name for name, *_ in TRANSIENT]
)
async def test_a_transient_failure_is_tried_again_as_often_as_the_policy_says(
    fault: Fault, kind: type[APIError], service: Simulator
) -> None:
    async with service.client(retry=RetryPolicy(attempts=3)) as client:
        job_id = service.add_job([(0, "RUNNING")], faults=[fault, fault])
        assert (await client.get(job_id)).status is JobStatus.RUNNING
        assert service.polls(job_id) == 3

        job_id = service.add_job([(0, "RUNNING")], faults=[fault] * 9)
        with pytest.raises(kind) as caught:
            await client.get(job_id)
        assert (type(caught.value), service.polls(job_id)) == (kind, 3)
        assert caught.value.job_id == job_id


FATAL: list[tuple[str, Fault, type[APIError]]] = [
    ("400", Fault.error(400, "InvalidParameter", "bad"), BadRequestError),
    ("400 Throttling", Fault.error(400, "Throttling.AllocationQuota"), RateLimitError),
    ("401", Fault.error(401, "InvalidApiKey"), AuthenticationError),
    ("403", Fault.error(403, "AccessDenied"), PermissionDeniedError),
    ("404", Fault.error(404, "NotFound"), NotFoundError),
    ("409", Fault.error(409, "Conflict"), ConflictError),
    ("418", Fault.error(418), APIStatusError),
    ("429 Arrearage", Fault.error(429, "Arrearage"), PermissionDeniedError),
    ("200 with NotFound", Fault.json({"code": "NotFound"}), NotFoundError),
]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("fault", "kind"), [(fault, kind) for _, fault, kind in FATAL], ids=[name for name, *_ in FATAL]
)
async def test_a_lasting_failure_is_raised_after_one_request(
    fault: Fault, kind: type[APIError], service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], faults=[fault])
    with pytest.raises(kind) as caught:
        await client.get(job_id)
    assert (type(caught.value), len(service.requests)) == (kind, 1)

    service.add_job([(0, "SUCCEEDED")], job_id="again", faults=[fault])
    with pytest.raises(kind) as caught:
        await client.wait_for_terminal("again")
    assert (type(caught.value), len(service.requests)) == (kind, 2)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("retry_after", "tries"), [(60, 2), (61, 1), (100_000, 1)], ids=["a minute", "more", "a day"]
)
async def test_a_single_call_sits_out_a_retry_after_of_a_minute_at_most(
    retry_after: int, tries: int, service: Simulator
) -> None:
    job_id = service.add_job(faults=[Fault.error(429, "Throttling", retry_after=retry_after)] * 2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with service.client(retry=RetryPolicy(attempts=2)) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.get(job_id)
    assert (service.polls(job_id), caught.value.retry_after) == (tries, retry_after)
    assert loop.time() - began == pytest.approx((tries - 1) * 60, abs=6.1)


@pytest.mark.looptime
@pytest.mark.parametrize("call", ["get", "list"])
async def test_a_wait_strategy_of_tenacity_drives_the_delays_of_a_single_call(
    call: str, service: Simulator
) -> None:
    asked: list[int] = []

    def strategy(state: RetryCallState) -> float:
        assert isinstance(state.outcome and state.outcome.exception(), InternalServerError)
        asked.append(state.attempt_number)
        return 7.0 * state.attempt_number

    service.fail_next(*[Fault.error(500, "InternalError")] * 3)
    loop = asyncio.get_running_loop()
    async with service.client(retry=RetryPolicy(wait=strategy)) as client:
        began = loop.time()
        arguments = () if call == "list" else (service.add_job(),)
        await getattr(client, call)(*arguments)
    assert asked == [1, 2, 3]
    assert loop.time() - began == pytest.approx(7 + 14 + 21, abs=0.01)


@pytest.mark.looptime
async def test_one_attempt_is_one_request_and_no_pause(service: Simulator) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with service.client(retry=RetryPolicy(attempts=1, wait=wait_fixed(60))) as client:
        with pytest.raises(InternalServerError):
            await client.get(service.add_job(faults=[Fault.error(500)]))
    assert len(service.requests) == 1
    assert loop.time() - began == pytest.approx(0, abs=0.01)


async def test_tenacity_has_no_part_in_a_call_that_goes_well(
    service: Simulator, client: FineTuneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(*_: object, **__: object) -> None:
        raise AssertionError("tenacity was used")

    monkeypatch.setattr(runner, "AsyncRetrying", used)
    assert (await client.get(service.add_job())).status is JobStatus.PENDING
    with pytest.raises(NotFoundError):
        await client.get("ft-none")


@pytest.mark.looptime
async def test_calls_side_by_side_count_their_tries_apart(service: Simulator) -> None:
    ids = [service.add_job(faults=[Fault.error(500)] * 3) for _ in range(5)]
    async with service.client(retry=RetryPolicy(attempts=4, wait=wait_none())) as client:
        jobs = await asyncio.gather(*map(client.get, ids))
    assert [job.job_id for job in jobs] == ids
    assert [service.polls(job_id) for job_id in ids] == [4] * 5


@pytest.mark.looptime
async def test_closing_ends_a_call_that_is_between_two_tries(service: Simulator) -> None:
    client = service.client(retry=RetryPolicy(wait=wait_fixed(50)))
    call = asyncio.create_task(client.get(service.add_job(faults=[Fault.error(500)])))
    await asyncio.sleep(10)
    await client.close()
    with pytest.raises(ClientClosedError):
        await call
    assert len(service.requests) == 1


# --- bad input --------------------------------------------------------------------------------------

BAD_IDS: list[object] = [
    "", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a b", " a", "a\n", "\x00", "a\u2028", 5, None,
    b"ft-1",
]  # fmt: skip
METHODS: dict[str, Callable[[FineTuneClient, Any], Any]] = {
    "get": lambda client, job: client.get(job),
    "wait_for_terminal": lambda client, job: client.wait_for_terminal(job),
    "wait_for_success": lambda client, job: client.wait_for_success(job),
    "watch": lambda client, job: anext(client.watch(job)),
    "wait_many": lambda client, job: client.wait_many(["ft-1", job]),
    "wait_many, exceptions returned": lambda client, job: client.wait_many([job], return_exceptions=True),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("job", BAD_IDS, ids=repr)
async def test_a_bad_id_is_refused_without_a_request(
    method: Callable[[FineTuneClient, Any], Any], job: object, service: Simulator, client: FineTuneClient
) -> None:
    with pytest.raises(ConfigurationError):
        await method(client, job)
    assert service.requests == []


def _short(value: object) -> str:
    return repr(value)[:40]


BAD_TIMEOUTS: list[object] = [-1, float("nan"), float("inf"), "5", True, 10**400]
BAD_OPTIONS: list[dict[str, object]] = [
    *({"timeout": value} for value in BAD_TIMEOUTS),
    {"poll": RetryPolicy()},
    {"poll": 5},
]
WAITS = ["wait_for_terminal", "wait_for_success", "watch", "wait_many", "as_completed"]


async def _waited(client: FineTuneClient, method: str, options: dict[str, Any]) -> None:
    match method:
        case "watch":
            await anext(client.watch("ft-1", **options))
        case "as_completed":
            await anext(client.as_completed(["ft-1"], **options))
        case "wait_many":
            await client.wait_many(["ft-1"], **options)
        case _:
            await getattr(client, method)("ft-1", **options)


@pytest.mark.parametrize("method", WAITS)
@pytest.mark.parametrize("options", BAD_OPTIONS, ids=_short)
async def test_a_bad_option_of_a_wait_is_refused_without_a_request(
    method: str, options: dict[str, Any], service: Simulator, client: FineTuneClient
) -> None:
    with pytest.raises(ConfigurationError):
        await _waited(client, method, options)
    assert service.requests == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"], ids=repr)
@pytest.mark.parametrize("method", ["wait_many", "as_completed"])
async def test_a_bad_limit_is_refused_without_a_request(
    method: str, limit: Any, service: Simulator, client: FineTuneClient
) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        await _waited(client, method, {"limit": limit})
    assert service.requests == []


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name in ("page_no", "page_size") for value in (0, -1, 1.0, True, "1", None)),
        {"page_size": 101},
        {"page_no": 10**10},
        {"model": ""},
        {"model": "a\nb"},
        {"model": 5},
    ],
    ids=repr,
)
async def test_a_bad_page_is_refused_without_a_request(
    options: dict[str, Any], service: Simulator, client: FineTuneClient
) -> None:
    with pytest.raises(ConfigurationError):
        await client.list(**options)
    options.pop("page_no", None)
    if options:
        with pytest.raises(ConfigurationError):
            client.iter_jobs(**options)
    assert service.requests == []


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": value} for value in (*BAD_TIMEOUTS, 0, None)),
        *({"max_rate": value} for value in (*BAD_TIMEOUTS, 0)),
        {"retry": PollPolicy()},
        {"retry": 4},
        {"poll": RetryPolicy()},
        {"api_key": ""},
        {"api_key": 5},
        {"region": "mars"},
        {"region": "cn-beijing", "base_url": "https://x"},
    ],
    ids=_short,
)
def test_a_bad_option_of_the_client_is_refused(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    with pytest.raises(ConfigurationError):
        FineTuneClient(**options)


def test_a_missing_key_is_said_before_anything_else() -> None:
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        FineTuneClient()
