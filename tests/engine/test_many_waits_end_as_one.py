"""Each of many waits ends as it would have ended alone, with and without list pages.

The bound on detection lag, while the gate is open: interval(age) * (1 + jitter), the pages of one sweep
and the confirming GET. A wait may be in back-off when the job ends.
"""

from __future__ import annotations

import asyncio
import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashscope_ft_async import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    FineTuneJob,
    InternalServerError,
    JobStatus,
    PollPolicy,
)
from dashscope_ft_async._api.wire import ScannedPage
from tests.support.scheduler_world import Answer, World, job, page_of, truthful

pytestmark = pytest.mark.looptime(start=1000)

LATENCY = 0.05
PAGE_LATENCY = 0.2
POLICY = PollPolicy()

FAULTS: tuple[Exception, ...] = (
    InternalServerError(status=502),
    APIConnectionError("reset"),
    APIResponseValidationError("HTML"),
)


@attrs.frozen
class Life:
    """What happens to one job, and to those who ask for it."""

    begins: float
    ends: float
    status: JobStatus
    trouble: tuple[float, float]
    """Start and length of a time in which asking for it fails."""
    fault: int
    revoked: bool
    """Whether the key is refused for it from the middle of its life on."""

    def answer(self, job_id: str, now: float) -> Answer:
        start, length = self.trouble
        if start <= now < start + length:
            return FAULTS[self.fault]
        if self.revoked and now >= self.ends / 2:
            return AuthenticationError("revoked", status=401)
        return job(job_id, self.status if now >= self.ends else JobStatus.RUNNING)

    def bound(self) -> float:
        """When the wait must have ended, counted from the start of the world."""
        due = self.ends / 2 if self.revoked else self.ends
        start, length = self.trouble
        clear = max(
            due, start + length if start <= due + (80 if self.revoked else 40) else 0.0, self.begins
        )
        age = clear - self.begins
        interval = min(POLICY.max_interval, POLICY.initial + (POLICY.multiplier - 1) * age)
        backoff = 8.0 if start <= clear else 0.0  # RetryPolicy.max_delay
        if self.revoked:  # a 401 is looked at twice after a good answer, and the second pause is longer
            later = age + interval * (1 + POLICY.jitter)
            interval += min(POLICY.max_interval, POLICY.initial + (POLICY.multiplier - 1) * later)
        return clear + max(interval * (1 + POLICY.jitter), backoff) + 4 * PAGE_LATENCY + 2 * LATENCY + 0.1


lives = st.builds(
    Life,
    begins=st.floats(0, 30),
    ends=st.floats(0, 400),
    status=st.sampled_from([JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED]),
    trouble=st.one_of(st.just((0.0, 0.0)), st.tuples(st.floats(0, 300), st.floats(0, 120))),
    fault=st.integers(0, len(FAULTS) - 1),
    revoked=st.sampled_from([False] * 9 + [True]),
)


async def lived(lives_of_jobs: list[Life], *, coalesce: bool, seed: int) -> list[tuple[object, float]]:
    """What each wait of the lives_of_jobs ended with, and when."""
    ids = [f"ft-{n}" for n in range(len(lives_of_jobs))]
    by_id = dict(zip(ids, lives_of_jobs, strict=True))

    def script(job_id: str, number: int, now: float) -> Answer:
        return by_id[job_id].answer(job_id, now)

    def listing(number: int, now: float, size: int) -> ScannedPage:
        shown = [life.answer(job_id, now) for job_id, life in by_id.items()]
        good = [each for each in shown if isinstance(each, FineTuneJob)]
        return page_of(good, number, min(size, 20))

    world = World(
        script,
        latency=LATENCY,
        page_latency=PAGE_LATENCY,
        width=len(lives_of_jobs),
        poll=POLICY,
        u=random.Random(seed).random,
        listing=listing if coalesce else None,
    )

    async def one(job_id: str, life: Life) -> tuple[object, float]:
        await asyncio.sleep(life.begins)
        try:
            return (await world.wait(job_id)).status, world.now
        except AuthenticationError as error:
            return type(error), world.now

    try:
        return await asyncio.gather(*(one(job_id, life) for job_id, life in by_id.items()))
    finally:
        await world.scheduler.close()


def expected(life: Life) -> object:
    return AuthenticationError if life.revoked else life.status


@pytest.mark.parametrize("coalesce", [False, True], ids=["polls", "pages"])
@given(lives_of_jobs=st.lists(lives, min_size=1, max_size=40), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
async def test_each_of_many_waits_ends_as_it_would_alone_and_within_the_bound(
    coalesce: bool, lives_of_jobs: list[Life], seed: int
) -> None:
    ended = await lived(lives_of_jobs, coalesce=coalesce, seed=seed)

    # Only the job's own GET shows a revoked key: a page may go on showing the job, for five minutes.
    patience = [300.0 if life.revoked and coalesce else 0.0 for life in lives_of_jobs]
    assert [status for status, _ in ended] == [expected(life) for life in lives_of_jobs]
    late = [
        (life, at)
        for life, (_, at), more in zip(lives_of_jobs, ended, patience, strict=True)
        if at > life.bound() + more
    ]
    assert late == []


@pytest.mark.parametrize("coalesce", [False, True], ids=["polls", "pages"])
async def test_the_bound_on_detection_lag_holds_for_two_hundred_healthy_jobs(coalesce: bool) -> None:
    dice = random.Random(5)
    ids = [f"ft-{n}" for n in range(200)]
    ends = {job_id: dice.uniform(0, 600) for job_id in ids}

    def script(job_id: str, number: int, now: float) -> Answer:
        return job(job_id, JobStatus.SUCCEEDED if now >= ends[job_id] else JobStatus.RUNNING)

    world = World(
        script,
        latency=LATENCY,
        page_latency=PAGE_LATENCY,
        width=200,
        poll=POLICY,
        u=dice.random,
        listing=truthful(ids, script) if coalesce else None,
    )
    late: list[float] = []

    async def one(job_id: str) -> None:
        await world.wait(job_id)
        interval = min(30.0, 2.0 + 0.5 * ends[job_id])
        late.append(world.now - ends[job_id] - interval * 1.2)

    await asyncio.gather(*map(one, ids))

    pages = 2 / 2 * PAGE_LATENCY if coalesce else 0.0
    assert max(late) <= pages + 2 * LATENCY + PAGE_LATENCY + 0.5
