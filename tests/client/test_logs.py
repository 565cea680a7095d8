"""Logs over the simulator, in virtual time: every line once and in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import attrs
import pytest
from aiohttp import web

from dashscope_ft_async import (
    APIResponseValidationError,
    ClientClosedError,
    ConfigurationError,
    FineTuneClient,
    JobFailedError,
    NotFoundError,
    OutageError,
    PollPolicy,
    WaitTimeoutError,
    WatchState,
)
from dashscope_ft_async.testing import Fault, Simulator
from dashscope_ft_async.testing.answers import Answer
from dashscope_ft_async.testing.jobs import SimulatedJob

pytestmark = pytest.mark.looptime

STEADY = PollPolicy(initial=10, multiplier=1, max_interval=10, jitter=0)
HOURS = ((0, "PENDING"), (60, "QUEUING"), (3600, "RUNNING"), (2.5 * 3600, "SUCCEEDED"))
SHORT = ((0, "RUNNING"), (300, "SUCCEEDED"))
COMPLETE = "2026-01-05 10:52:39,175 - INFO - ##FT_COMPLETE##"
METRIC = "{'loss': 1.25, 'learning_rate': 1.6e-05}"


@pytest.fixture(autouse=True)
async def nothing_left_running(client: FineTuneClient) -> AsyncIterator[None]:
    yield
    await client.close()
    await asyncio.sleep(0)
    assert [str(task) for task in asyncio.all_tasks() if "/dashscope_ft_async/" in str(task)] == []


class Scripted(Simulator):
    """A simulator whose answers to requests for a log are those of a test."""

    fault = Fault.error(404, "NotFound", "Request path not found.")
    lines_at: Callable[[float], list[str]] | None = None
    """The log, so many seconds after the job was added; without it `fault` is the answer."""
    ahead = 0
    """Lines that the stated length of the log is ahead of the lines in an answer."""

    def _log(self, job: SimulatedJob, query: Mapping[str, str], now: float) -> Answer:
        if self.lines_at is None:
            return self.fault
        lines = self.lines_at(now - job.added)
        offset, number = int(query["offset"]), int(query["line"])
        page = lines[offset : offset + number]
        return Fault.json({"output": {"total": len(lines) + self.ahead, "logs": page}})


def now() -> float:
    return asyncio.get_running_loop().time()


async def all_of(lines: AsyncGenerator[str, None]) -> list[str]:
    async with aclosing(lines):
        return [line async for line in lines]


def asked(service: Simulator, what: str) -> list[float]:
    return [seen.at for seen in service.requests if seen.path.endswith(f"/{what}")]


# --- following ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
async def test_hours_of_a_log_in_few_requests(first: int) -> None:
    async with Simulator(first_log_offset=first) as service, service.client() as client:
        job_id = service.add_job(HOURS)

        lines = await all_of(client.follow_logs(job_id))

        assert lines == service.log_lines(job_id)
        assert len(lines) == 184
        assert lines[-1].endswith("##FT_COMPLETE##")
        # A job that has not started is not asked for its log; then there is one page for each poll.
        early = [at for at in asked(service, "logs") if at - service.requests[0].at < 3590]
        assert len(early) <= 2
        assert len(asked(service, "logs")) <= service.polls(job_id) + 5


async def test_following_shares_the_polls_of_the_job(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(SHORT)
    job, lines = await asyncio.gather(
        client.wait_for_terminal(job_id, poll=STEADY), all_of(client.follow_logs(job_id, poll=STEADY))
    )

    assert job.succeeded
    assert lines == service.log_lines(job_id)
    assert service.polls(job_id) <= 32


@pytest.mark.parametrize("seed", range(4))
async def test_trouble_on_the_way_loses_and_repeats_nothing(seed: int) -> None:
    luck = random.Random(seed)
    faults: list[Callable[[], Fault]] = [
        Fault.reset,
        Fault.cut,
        Fault.html,
        lambda: Fault.error(500, "InternalError"),
        lambda: Fault.error(429, "Throttling", retry_after=20),
        lambda: Fault.raw(b'{"output": {"logs": ["half'),
        lambda: Fault.stall(40),
    ]
    async with Simulator(first_log_offset=seed % 2) as service, service.client() as client:
        script = [(luck.random() * 3000, luck.choice(["same", f"line {n}"])) for n in range(700)]
        job_id = service.add_job(((0, "RUNNING"), (3000, "FAILED")), log=sorted(script))

        async def trouble() -> None:
            while True:
                await asyncio.sleep(luck.random() * 100)
                service.fail_next(luck.choice(faults)())

        troubles = asyncio.create_task(trouble())
        lines = await all_of(client.follow_logs(job_id))
        troubles.cancel()

        assert lines == [line for _, line in sorted(script)]


async def test_the_runs_of_a_program_together_see_every_line_once(service: Simulator) -> None:
    job_id = service.add_job(SHORT, log=[(n * 0.25, "same" if n % 3 else f"line {n}") for n in range(1200)])
    lines: list[str] = []
    while len(lines) < 1200:
        async with (
            service.client() as client,
            aclosing(client.follow_logs(job_id, after=len(lines))) as rest,
        ):
            most = random.Random(len(lines)).randrange(1, 300)
            async for line in rest:
                lines.append(line)
                most -= 1
                if not most:
                    break

    assert lines == service.log_lines(job_id)


@pytest.mark.parametrize(
    ("log", "end"),
    [
        ([(1, "begun"), (15, COMPLETE), (25, "training usage 393216")], (90_000, "SUCCEEDED")),
        ([(1, "begun"), (35, "canceled by user")], (25, "CANCELED")),
    ],
    ids=["the completion line", "the end of the job"],
)
async def test_lines_written_after_the_end_are_given_too(
    service: Simulator, client: FineTuneClient, log: list[tuple[float, str]], end: tuple[float, str]
) -> None:
    job_id = service.add_job(((0, "RUNNING"), end), log=log)

    assert await all_of(client.follow_logs(job_id, poll=STEADY)) == [line for _, line in log]
    assert now() < 120


@pytest.mark.parametrize("method", ["follow_logs", "iter_logs"])
async def test_the_log_of_an_ended_job_comes_at_once(
    service: Simulator, client: FineTuneClient, method: str
) -> None:
    log = [(0.0, f"line {n}") for n in range(12_345)]
    job_id = service.add_job(((0, "RUNNING"), (50, "CANCELED")), log=log)
    await asyncio.sleep(60)
    began = now()

    assert await all_of(getattr(client, method)(job_id, after=20)) == [line for _, line in log[20:]]
    assert now() - began < 5
    assert len(asked(service, "logs")) <= 18


async def test_no_log_is_requested_while_the_gate_is_closed(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job(SHORT)
    async with aclosing(client.follow_logs(job_id, poll=STEADY)) as lines:
        await anext(lines)
        service.throttle(100, retry_after=100)
        closed = service.requests[-1].at
        rest = [line async for line in lines]

    during = [at for at in asked(service, "logs") if closed < at < closed + 100]
    assert len(during) <= 2
    assert len(rest) + 1 == len(service.log_lines(job_id))


async def test_a_progress_line_that_is_rewritten_repeats_no_other_line() -> None:
    def lines_at(seconds: float) -> list[str]:
        step = f"step {int(min(seconds, 290) / 10)}/29: loss 1.5"
        return [*(f"line {n}" for n in range(200)), step, *(["done", COMPLETE] if seconds > 295 else [])]

    async with Scripted() as service, service.client() as client:
        service.lines_at = lines_at
        lines = await all_of(client.follow_logs(service.add_job(SHORT), poll=STEADY))

        assert [line for line in lines if not line.startswith("step")] == [
            line for line in lines_at(300) if not line.startswith("step")
        ]
        assert len(lines) == len(set(lines)) >= 225
        assert len(asked(service, "logs")) <= 36


async def test_pages_over_8_megabytes_are_read_in_parts(service: Simulator, client: FineTuneClient) -> None:
    log = [(0, f"{n} ".ljust(16_000, "=")) for n in range(700)] + [(0, METRIC), (0, "end")]
    job_id = service.add_job([(0, "SUCCEEDED")], log=log)

    assert await all_of(client.iter_logs(job_id)) == [line for _, line in log]
    assert await all_of(client.follow_logs(job_id)) == [line for _, line in log]
    assert [metric.loss async for metric in client.metrics(job_id)] == [1.25]
    assert len(asked(service, "logs")) <= 24


async def test_a_line_over_8_megabytes_is_an_error_that_says_so(
    service: Simulator, client: FineTuneClient
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")], log=[(0, "begun"), (0, "=" * 9_000_000)])
    for lines in (client.iter_logs(job_id), client.follow_logs(job_id)):
        with pytest.raises(APIResponseValidationError, match="larger than"):
            await all_of(lines)
    assert len(asked(service, "logs")) <= 20


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_log_that_grows_after_the_end_of_its_job_is_read_with_pauses_up_to_the_deadline(
    ahead: int,
) -> None:
    written: list[str] = []

    def lines_at(_: float) -> list[str]:
        written.append(f"line {len(written)}")
        return written

    lines: list[str] = []
    async with Scripted() as service, service.client() as client:
        service.lines_at, service.ahead = lines_at, ahead
        job_id = service.add_job([(0, "SUCCEEDED")])
        assert ahead or len(await all_of(client.iter_logs(job_id))) <= 2
        began = now()
        with pytest.raises(WaitTimeoutError, match="not read to its end") as caught:
            async for line in client.follow_logs(job_id, timeout=100):
                lines.append(line)

        assert 100 <= now() - began < 103
        assert len(asked(service, "logs")) <= 55
        assert lines == written
        assert caught.value.state is not None
        assert caught.value.state.log_offset == len(lines)
        assert caught.value.elapsed >= 100


# --- what ends it badly -----------------------------------------------------------------------------------


async def test_a_started_job_without_a_log_is_an_error(client: FineTuneClient) -> None:
    async with Scripted() as service, service.client() as other:
        with pytest.raises(NotFoundError, match="Request path not found"):
            await all_of(other.follow_logs(service.add_job(SHORT)))
    with pytest.raises(NotFoundError):
        await all_of(client.follow_logs("ft-nowhere"))


async def test_a_log_may_come_late() -> None:
    async with Scripted() as service, service.client() as client:
        job_id = service.add_job(((0, "QUEUING"), (600, "RUNNING"), (900, "SUCCEEDED")))

        def mend() -> None:
            service.lines_at = lambda _: [COMPLETE]

        asyncio.get_running_loop().call_later(595, mend)

        assert await all_of(client.follow_logs(job_id)) == [COMPLETE]


async def test_a_log_that_fails_for_too_long_is_an_outage() -> None:
    async with Scripted() as service, service.client() as client:
        service.fault = Fault.error(500, "InternalError")
        job_id = service.add_job(((0, "RUNNING"), (9000, "SUCCEEDED")))
        with pytest.raises(OutageError) as caught:
            await all_of(client.follow_logs(job_id))

    assert caught.value.last_job is not None
    assert caught.value.job_id == job_id


async def test_a_later_run_goes_on_from_the_state_of_an_error(service: Simulator) -> None:
    job_id = service.add_job(SHORT, log=[(n * 0.2, "same" if n % 3 else f"line {n}") for n in range(1500)])
    lines: list[str] = []
    async with service.client() as client:
        with pytest.raises(WaitTimeoutError) as caught:
            async for line in client.follow_logs(job_id, timeout=100):
                lines.append(line)
    assert caught.value.job_id == job_id
    assert caught.value.state is not None
    state = attrs.evolve(WatchState.from_json(caught.value.state.to_json()), deadline=None)
    assert state.log_offset == len(lines) > 300

    async with service.client() as client:
        lines += await all_of(client.follow_logs(state))

    assert lines == service.log_lines(job_id)


async def test_the_deadline_cuts_a_request(service: Simulator, client: FineTuneClient) -> None:
    began = now()
    service.fail_next(Fault.stall(), Fault.stall())
    with pytest.raises(WaitTimeoutError):
        await all_of(client.follow_logs(service.add_job(SHORT), timeout=5))

    assert now() - began < 8


@pytest.mark.parametrize("after", [-1, 1.5, True, "3"])
async def test_bad_input_is_refused_before_any_request(
    service: Simulator, client: FineTuneClient, after: Any
) -> None:
    for call in (client.follow_logs, client.stream_events, client.iter_logs):
        with pytest.raises(ConfigurationError):
            call("ft-1", after=after)
        with pytest.raises(ConfigurationError):
            call("ft/1")
    with pytest.raises(ConfigurationError):
        await client.logs("ft-1", lines=1001)
    with pytest.raises(ConfigurationError):
        await client.wait_for_success("ft-1", failure_logs=-1)
    assert service.requests == []


# --- streams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [None, 0, 100])
@pytest.mark.parametrize("late", [0, 120])
async def test_a_stream_is_the_log_however_long_it_lasts(seconds: float | None, late: float) -> None:
    async with Simulator(stream_seconds=seconds) as service, service.client() as client:
        job_id = service.add_job(SHORT)
        await asyncio.sleep(late)

        assert await all_of(client.stream_events(job_id)) == service.log_lines(job_id)
        assert len(asked(service, "stream")) == 1


async def test_a_stream_brings_lines_as_they_are_written(
    service: Simulator, client: FineTuneClient
) -> None:
    log = [(n * 31.7, f"line {n}") for n in range(30)]
    job_id = service.add_job(((0, "RUNNING"), (930, "SUCCEEDED")), log=log)
    began = now()
    delays: list[float] = []
    async for line in client.stream_events(job_id):
        delays.append(now() - began - int(line.split()[1]) * 31.7)

    assert len(delays) == 30
    assert max(delays[2:]) < 1
    assert len(asked(service, "logs")) <= 8


class Streaming(Scripted):
    """A stream of given pieces, that then ends or hangs; the log is that of the job."""

    pieces: tuple[bytes, ...] = ()
    hangs = False
    _log = Simulator._log

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
        if self.hangs:
            await asyncio.Event().wait()
        return response


LOG = [(float(n), line) for n, line in enumerate(["a", "b", " up", "c", " up", "d", " up", "e"])]


@pytest.mark.parametrize("blank", [b"", b" "], ids=["data:line", "data: line"])
@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"data:c\n\ndata: up\n\n",),
        (b"data: up\n\n", b"data:d\n\n", b"data: up\n\n", b"data:e\n\n"),
        (b"data:a\ndata:b\ndata: up\ndata:c\nda", b"ta: up\r\ndata:d\n"),
        (b"event:error\nstatus:500\ndata:{}\n\ndata:c\n\n",),
        (b"\xff\xfe\n\n:\n\nid:1\n",),
        (b"data:d\n\ndata:##FT_COMPLETE##\n\ndata:x\n\n",),
    ],
)
async def test_whatever_a_stream_brings_no_line_is_lost_or_comes_twice(
    pieces: tuple[bytes, ...], hangs: bool, blank: bytes
) -> None:
    async with Streaming() as service, service.client() as client:
        service.pieces = tuple(piece.replace(b"ta:", b"ta:" + blank) for piece in pieces)
        service.hangs = hangs
        job_id = service.add_job(((0, "RUNNING"), (200, "SUCCEEDED")), log=LOG)
        await asyncio.sleep(3.5)

        lines = await all_of(client.stream_events(job_id))

    assert sorted(line for line in lines if "##" not in line) == sorted(line for _, line in LOG)


@pytest.mark.parametrize("blank", ["", " "], ids=["data:line", "data: line"])
async def test_a_line_that_is_written_again_keeps_its_place_in_the_stream(blank: str) -> None:
    log = [(0, "a"), (0, " up"), (3600, "b"), (3600, " up"), (3600, "c"), (3600, "a")]
    streamed = [" up", "b", " up", "c", "a"]
    async with Streaming() as service, service.client() as client:
        service.pieces = tuple(f"data:{blank}{line}\n\n".encode() for line in streamed)
        service.hangs = True
        async with aclosing(client.stream_events(service.add_job([(0, "RUNNING")], log=log))) as lines:
            got = [await anext(lines) for _ in log]

        assert got == [line for _, line in log]
        assert now() < 60


@pytest.mark.parametrize(
    "fault", [Fault.error(404, "NotFound"), Fault.json({"output": {}}), Fault.html(502), Fault.reset()]
)
async def test_without_a_stream_the_log_is_read(fault: Fault) -> None:
    class Without(Simulator):
        async def _stream(self, request: web.Request) -> web.StreamResponse:
            self.fail_next(fault)
            return await super()._stream(request)

    async with Without() as service, service.client() as client:
        job_id = service.add_job(SHORT, log=[(n * 3.0, f"line {n}") for n in range(90)])

        assert await all_of(client.stream_events(job_id)) == service.log_lines(job_id)


async def test_a_silent_stream_ends_after_a_minute_or_with_the_wait_or_the_client() -> None:
    async with Streaming() as service, service.client() as client:
        service.hangs = True
        job_id = service.add_job(((0, "RUNNING"), (4000, "SUCCEEDED")), log=[(0, "a"), (100, "b")])
        async with aclosing(client.stream_events(job_id)) as lines:
            assert [await anext(lines), await anext(lines)] == ["a", "b"]
        assert now() < 200

        began = now()
        with pytest.raises(WaitTimeoutError) as caught:
            await all_of(client.stream_events(job_id, after=7, timeout=20))
        assert now() - began < 21
        assert caught.value.state is not None
        assert caught.value.state.log_offset == 7

        began, closing = now(), list[asyncio.Task[None]]()
        asyncio.get_running_loop().call_later(
            20, lambda: closing.append(asyncio.create_task(client.close()))
        )
        outcomes = await asyncio.gather(
            all_of(client.stream_events(job_id)), all_of(client.follow_logs(job_id)), return_exceptions=True
        )
        await asyncio.gather(*closing)
        assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 2
        assert now() - began < 22


async def test_streams_leave_connections_for_requests(service: Simulator, client: FineTuneClient) -> None:
    jobs = [service.add_job(((0, "RUNNING"), (30, "SUCCEEDED"))) for _ in range(60)]

    logs = await asyncio.gather(*(all_of(client.stream_events(job_id)) for job_id in jobs))

    assert logs == [service.log_lines(job_id) for job_id in jobs]
    assert len(asked(service, "stream")) == 50


async def test_a_stream_leaves_out_what_an_earlier_run_has_seen(
    service: Simulator, client: FineTuneClient
) -> None:
    log = [(n, f"line {n}") for n in range(6)]
    job_id = service.add_job([(0, "RUNNING"), (10, "SUCCEEDED")], log=log)
    await asyncio.sleep(3)
    async with client.waiting(job_id) as waiting:
        kept = attrs.evolve(waiting.state, log_offset=2)
    for lines in (client.stream_events(kept), client.stream_events(job_id, after=2)):
        assert await all_of(lines) == [f"line {n}" for n in range(2, 6)]


# --- metrics and failures ---------------------------------------------------------------------------------


async def test_metrics_so_far_and_as_they_come(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job(SHORT)
    await asyncio.sleep(100)

    so_far = [metric async for metric in client.metrics(job_id)]
    followed = [metric async for metric in client.follow_metrics(job_id)]

    assert [(metric.step, metric.max_steps, metric.epoch) for metric in so_far] == [
        (1, 10, 0.3),
        (2, 10, 0.6),
        (3, 10, 0.9),
    ]
    assert len(followed) == 10
    assert (followed[0].learning_rate, followed[-1].learning_rate) == (1.44e-05, 0.0)


async def test_a_failure_without_reason_brings_the_end_of_the_log(
    service: Simulator, client: FineTuneClient
) -> None:
    log = [(n * 0.001, f"line {n}") for n in range(2500)] + [(5, "CUDA out of memory"), (5, " ")]
    job_id = service.add_job(((0, "RUNNING"), (10, "FAILED")), log=log)

    with pytest.raises(JobFailedError, match="CUDA out of memory") as caught:
        await client.wait_for_success(job_id)
    with pytest.raises(JobFailedError) as few:
        await client.wait_for_success(job_id, failure_logs=3)
    with pytest.raises(JobFailedError) as without:
        await client.wait_for_success(job_id, failure_logs=0)

    assert caught.value.log_lines == tuple(line for _, line in log[-20:])
    assert few.value.log_lines == ("line 2499", "CUDA out of memory", " ")
    assert without.value.log_lines == ()
    assert pickle.loads(pickle.dumps(caught.value)).log_lines == caught.value.log_lines


async def test_a_failure_that_says_why_needs_no_log(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "FAILED")], message="no face detected")

    with pytest.raises(JobFailedError, match="no face detected") as caught:
        await client.wait_for_success(job_id)

    assert caught.value.log_lines == ()
    assert asked(service, "logs") == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault.error(500, "InternalError"),
        Fault.stall(),
        Fault.raw(b"{"),
        Fault.reset(),
        Fault.json({"output": {"logs": ["line"] * 1000}}),  # perhaps not the last lines
    ],
)
async def test_a_failing_log_hides_no_failure(fault: Fault) -> None:
    async with Scripted() as service, service.client() as client:
        service.fault = fault
        began = now()
        with pytest.raises(JobFailedError) as caught:
            await client.wait_for_success(service.add_job([(0, "FAILED")]))

    assert caught.value.log_lines == ()
    assert now() - began < 12
