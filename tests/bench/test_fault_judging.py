"""The judge of the fault table names each difference, and the runner sees what a client leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from bench.contenders import KEY, OpenClient
from bench.faults import ROWS
from bench.faults.judging import Expected, Observed, judge
from bench.faults.runner import Timing, run
from tests.support.adversary import JOB_ID

RETURN = Expected("return")
RAISE = Expected("raise", errors=("NotFoundError",), http_status=404, requests=1)
TIME_OUT = Expected("time out", requests=2)

JOB = Observed(seconds=0.1, deadline=4.0, tolerance=0.5, status="SUCCEEDED", job_id=JOB_ID)
ERROR = evolve(JOB, status=None, job_id=None, error="KeyError")
MISSING = evolve(ERROR, error="NotFoundError", times=(0.0,))
TIMED_OUT = evolve(ERROR, error="WaitTimeoutError", seconds=4.1)
SDK_TIMED_OUT = evolve(TIMED_OUT, error="DashScopeError", text="<DashScopeError> timed out after 4.0s")
HTTP = evolve(ERROR, error="ClientResponseError", http_status=404)

CASES: tuple[tuple[Expected, Observed, tuple[str, ...]], ...] = (
    (RETURN, JOB, ()),
    (RETURN, evolve(JOB, job_id="ft-2"), ("returns job ft-2",)),
    (RETURN, evolve(JOB, status="FAILED"), ("returns the job, FAILED",)),
    (RETURN, evolve(JOB, seconds=5.0), ("ends 1 s after the deadline, returns the job, SUCCEEDED",)),
    (RETURN, evolve(JOB, redirected=1), ("follows the redirect",)),
    (RETURN, evolve(ERROR, hung=True), ("hangs",)),
    (RETURN, ERROR, ("raises KeyError",)),
    (RETURN, TIMED_OUT, ("polls until the deadline",)),
    (RETURN, SDK_TIMED_OUT, ("polls until the deadline",)),
    (evolve(RETURN, status="FAILED", errors=("JobError",)), evolve(ERROR, error="JobError"), ()),
    (evolve(RETURN, status="FAILED", errors=("JobError",)), ERROR, ("raises KeyError",)),
    (evolve(RETURN, status=None), evolve(JOB, status="EXPIRED"), ()),
    (evolve(RETURN, megabytes=32), evolve(JOB, megabytes=33), ("uses more than 32 MB",)),
    (evolve(RETURN, not_before=1), evolve(JOB, times=(0.0, 1.0, 2.0)), ()),
    (
        evolve(RETURN, not_before=1),
        evolve(JOB, times=(0.0, 1.0, 1.5)),
        ("sends the next request after 0.5 s",),
    ),
    (
        evolve(RETURN, not_later=1),
        evolve(JOB, times=(0.0, 1.0, 9.0)),
        ("sends the next request only after 8 s",),
    ),
    (RAISE, MISSING, ()),
    (RAISE, HTTP, ()),
    (RAISE, evolve(HTTP, http_status=401), ("raises ClientResponseError (401)",)),
    (RAISE, evolve(MISSING, times=(0.0, 1.0, 2.0)), ("requests: 2 too many",)),
    (RAISE, evolve(MISSING, leaks=("key in the log",)), ("key in the log",)),
    (RAISE, JOB, ("returns the job, SUCCEEDED",)),
    (TIME_OUT, TIMED_OUT, ()),
    (TIME_OUT, SDK_TIMED_OUT, ()),
    (TIME_OUT, evolve(TIMED_OUT, seconds=3.0), ("ends before the deadline, raises WaitTimeoutError",)),
    (TIME_OUT, evolve(TIMED_OUT, error="OSError"), ("ends before the deadline, raises OSError",)),
    (TIME_OUT, evolve(TIMED_OUT, times=(0.0, 1.0, 2.0)), ("requests: 1 too many",)),
)


@pytest.mark.parametrize(("expected", "observed", "differences"), CASES)
def test_the_judge_names_each_difference(
    expected: Expected, observed: Observed, differences: tuple[str, ...]
) -> None:
    assert judge(expected, observed, JOB_ID) == differences


async def test_the_runner_sees_what_a_careless_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [row] = [row for row in ROWS if row.name == "96 MB in chunks, and no end"]
    left: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    @asynccontextmanager
    async def careless(url: str, timing: Timing) -> AsyncGenerator[OpenClient, None]:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

        async def get(job_id: str, *, timeout: float = 1.0) -> None:
            logging.getLogger("careless").debug("%s asked for with %s", job_id, KEY)
            left.append((asyncio.create_task(asyncio.sleep(timeout + timing.cancel_after)), writer))
            bytearray(40_000_000)
            raise LookupError(KEY)

        yield OpenClient(get, get)

    observed = await run(row, careless, Timing(0.01, 0.1, 0.1, 0.1, 1.0))

    for task, writer in left:
        task.cancel()
        writer.close()
    assert judge(row.expected, observed, JOB_ID) == (
        "raises LookupError",
        "uses more than 32 MB",
        "key in the log",
        "key in the error's text",
        "key in the error's repr",
        "key in the traceback",
        "connections left open: 1",
        "tasks left running: 1",
    )
