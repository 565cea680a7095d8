"""The fault table can find fault: its judge tells what is not as wanted, its runner sees what is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from bench.contenders import KEY, Way
from bench.faults.judging import Seen, Want, judge
from bench.faults.rows import ROWS
from bench.faults.runner import Pace, play
from tests.support.adversary import JOB_ID

ON = Want(kind="carry on")
STOP = Want(kind="stop", told_as=("NotFoundError",), status=404, requests=1)
DEADLINE = Want(kind="deadline", requests=2)
LATE = Want(kind="carry on", not_later=1)
PAUSED = Want(kind="carry on", not_before=1)

JOB = Seen(seconds=0.1, deadline=4.0, grace=0.5, word="SUCCEEDED", job_id=JOB_ID)
ERROR = evolve(JOB, word=None, job_id=None, error="KeyError")
MISSING = evolve(ERROR, error="NotFoundError", times=(0.0,))
TIMED_OUT = evolve(ERROR, error="WaitTimeoutError", seconds=4.1)
SDK_TIMED_OUT = evolve(TIMED_OUT, error="DashScopeError", text="<DashScopeError> timed out after 4.0s")
HTTP = evolve(ERROR, error="ClientResponseError", status=404)

CASES: tuple[tuple[Want, Seen, tuple[str, ...]], ...] = (
    (ON, JOB, ()),
    (ON, evolve(JOB, job_id="ft-2"), ("returns job ft-2",)),
    (ON, evolve(JOB, word="FAILED"), ("returns it, FAILED",)),
    (ON, evolve(JOB, seconds=5.0), ("ends 1 s after the deadline, returning it, SUCCEEDED",)),
    (ON, evolve(JOB, elsewhere=1), ("follows the redirect",)),
    (ON, evolve(ERROR, cut=True), ("hangs",)),
    (ON, ERROR, ("stops, KeyError",)),
    (ON, TIMED_OUT, ("goes on to the deadline",)),
    (ON, SDK_TIMED_OUT, ("goes on to the deadline",)),
    (evolve(ON, word="FAILED", told_as=("JobError",)), evolve(ERROR, error="JobError"), ()),
    (evolve(ON, word="FAILED", told_as=("JobError",)), ERROR, ("stops, KeyError",)),
    (evolve(ON, word=None), evolve(JOB, word="EXPIRED"), ()),
    (evolve(ON, megabytes=32), evolve(JOB, megabytes=33), ("takes more than 32 MB",)),
    (PAUSED, evolve(JOB, times=(0.0, 1.0, 2.0)), ()),
    (PAUSED, evolve(JOB, times=(0.0, 1.0, 1.5)), ("asks again after 0.5 s",)),
    (LATE, evolve(JOB, times=(0.0, 1.0, 9.0)), ("asks again only after 8 s",)),
    (STOP, MISSING, ()),
    (STOP, HTTP, ()),
    (STOP, evolve(HTTP, status=401), ("stops, ClientResponseError (401)",)),
    (STOP, evolve(MISSING, times=(0.0, 1.0, 2.0)), ("asks 2 times too often",)),
    (STOP, evolve(MISSING, leaks=("key in the log",)), ("key in the log",)),
    (STOP, JOB, ("returns it, SUCCEEDED",)),
    (DEADLINE, TIMED_OUT, ()),
    (DEADLINE, SDK_TIMED_OUT, ()),
    (DEADLINE, evolve(TIMED_OUT, seconds=3.0), ("gives up early, WaitTimeoutError",)),
    (DEADLINE, evolve(TIMED_OUT, error="OSError"), ("gives up early, OSError",)),
    (DEADLINE, evolve(TIMED_OUT, times=(0.0, 1.0, 2.0)), ("asks 1 times too often",)),
)


@pytest.mark.parametrize(("want", "seen", "wrong"), CASES)
def test_the_judge_tells_what_is_not_as_wanted(want: Want, seen: Seen, wrong: tuple[str, ...]) -> None:
    assert judge(want, seen, JOB_ID) == wrong


async def test_the_runner_sees_what_a_careless_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [row] = [row for row in ROWS if row.name == "96 MB in chunks, and no end"]
    left: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    @asynccontextmanager
    async def careless(url: str, pace: Pace) -> AsyncGenerator[Way, None]:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

        async def get(job_id: str, *, timeout: float = 1.0) -> None:
            logging.getLogger("careless").debug("%s asked for with %s", job_id, KEY)
            left.append((asyncio.create_task(asyncio.sleep(timeout + pace.cap)), writer))
            bytearray(40_000_000)
            raise LookupError(KEY)

        yield Way(get, get)

    seen = await play(row, careless, Pace(0.01, 0.1, 0.1, 0.1, 1.0))

    for task, writer in left:
        task.cancel()
        writer.close()
    assert judge(row.want, seen, JOB_ID) == (
        "stops, LookupError",
        "takes more than 32 MB",
        "key in the log",
        "key in the error's text",
        "key in the error's repr",
        "key in the traceback",
        "connections left open: 1",
        "tasks left running: 1",
    )
