"""The hub under any order of events: nothing is lost, nothing is told twice, nothing is left.

A state machine of hypothesis plays the service, those who wait and the clock. A longer run:
``HYPOTHESIS_PROFILE=long pytest tests/engine/test_scheduler_machine.py``.
"""

# pyright: reportPrivateUsage=false
# What it holds of the heap and the queues has no public face.

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dashscope_ft_async import APIConnectionError, APITimeoutError, DashScopeFTError, FineTuneJob
from dashscope_ft_async._api.wire import Response
from dashscope_ft_async._engine.scheduler import LAST_POLL, Hub
from tests.support.scheduler_machine_world import PAGE_SIZE, Reply, World, body, page_body

ENDS = ("SUCCEEDED", "FAILED", "CANCELED")
JOBS = [f"ft-{number:02}" for number in range(2 * PAGE_SIZE)]

ids = st.sampled_from(JOBS)
picks = st.integers(0, 10**6)
timeouts = st.none() | st.sampled_from([0.0, 1.0, 20.0, 400.0])

# What a request may bring beside the truth. Each is made anew: an exception belongs to one raise.
TROUBLES: dict[str, Callable[[], Reply]] = {
    "404": lambda: Response(404, {}, b'{"code": "NotFound", "message": "Not Found!"}'),
    "404 of a proxy": lambda: Response(404, {}, b"<html>"),
    "429": lambda: Response(429, {}, b'{"code": "Throttling"}'),
    "429, Retry-After": lambda: Response(429, {"retry-after": "20"}, b'{"code": "Throttling.RateQuota"}'),
    "500": lambda: Response(500, {}, b'{"code": "InternalError"}'),
    "502 of a proxy": lambda: Response(502, {}, b"<html>Bad Gateway"),
    "401": lambda: Response(401, {}, b'{"code": "InvalidApiKey"}'),
    "garbage": lambda: Response(200, {}, b"\x00{"),
    "nothing": lambda: Response(200, {}, b""),
    "another job": lambda: Response(200, {}, body({"job_id": "ft-other", "status": "SUCCEEDED"})),
    "refused": lambda: APIConnectionError("refused", never_connected=True),
    "reset": lambda: APIConnectionError("reset"),
    "timed out": lambda: APITimeoutError("no whole answer within 30 s"),
}
troubles = st.sampled_from(sorted(TROUBLES))


def assert_nobody_is_forgotten(hub: Hub) -> None:
    """Each watched job is asleep with one live entry in the heap, or something is being done about it."""
    live = [watch for _, entry, watch in hub._heap if watch.entry == entry]
    assert len(live) == len(set(map(id, live)))
    assert len(hub._heap) <= 2 * len(JOBS) + 65
    for watch in hub._watches.values():
        assert watch.waits
        at_work = watch.poll is not None or watch.queued or (watch.swept and hub._sweep is not None)
        assert at_work or watch in live, watch.job_id
    queued = [watch for watch in (*hub._queue, *hub._to_confirm) if watch.queued and watch.waits]
    if (queued or live) and not hub._polls and hub._sweep is None:
        assert hub._timer is not None


class HubMachine(RuleBasedStateMachine):
    """The rules are what the world may do; the invariants are what the hub owes it."""

    @initialize(listed=st.booleans(), seed=st.integers(0, 2**16))
    def made(self, listed: bool, seed: int) -> None:
        self.world = World(listed=listed, seed=seed)
        self.jumped_at = 0.0

    # --- those who wait ---------------------------------------------------------------------------------

    @rule(job_id=ids, timeout=timeouts, at_once=st.booleans())
    def watch(self, job_id: str, timeout: float | None, at_once: bool) -> None:
        self.world.watch(job_id, timeout)
        if at_once:
            self.world.loop.settle()

    @rule(timeout=timeouts)
    def watch_a_crowd(self, timeout: float | None) -> None:
        for job_id in JOBS:
            self.world.watch(job_id, timeout)
        self.world.loop.settle()

    @rule(job_id=ids, seconds=st.floats(0.1, 30))
    def watch_with_a_slow_callback(self, job_id: str, seconds: float) -> None:
        self.world.watch(job_id, None, lambda: asyncio.sleep(seconds))
        self.world.loop.settle()

    @precondition(lambda self: self.world.pending)
    @rule(pick=picks, at_once=st.booleans())
    def cancel_a_waiter(self, pick: int, at_once: bool) -> None:
        waiter = self.world.pending[pick % len(self.world.pending)]
        waiter.given_up = True
        assert waiter.task is not None
        waiter.task.cancel()
        if at_once:
            self.world.loop.settle()
            assert waiter.task.cancelled()

    # --- the service ------------------------------------------------------------------------------------

    @rule(job_id=ids, word=st.sampled_from(ENDS))
    def a_job_ends(self, job_id: str, word: str) -> None:
        if self.world.statuses.get(job_id) not in ENDS:
            self.world.statuses[job_id] = word

    @rule(every=st.integers(2, 5), word=st.sampled_from(ENDS))
    def many_jobs_end(self, every: int, word: str) -> None:
        for job_id in JOBS[::every]:
            self.a_job_ends(job_id, word)

    @precondition(lambda self: self.world.polls)
    @rule(pick=picks)
    def answer_a_poll(self, pick: int) -> None:
        job_id = sorted(self.world.polls)[pick % len(self.world.polls)]
        self._tell_the_truth(job_id)

    @precondition(lambda self: self.world.polls)
    @rule(pick=picks, trouble=troubles)
    def fail_a_poll(self, pick: int, trouble: str) -> None:
        job_id = sorted(self.world.polls)[pick % len(self.world.polls)]
        self.world.reply(self.world.polls[job_id], TROUBLES[trouble]())

    @rule()
    def answer_all_polls(self) -> None:
        for job_id in tuple(self.world.polls):
            if job_id in self.world.polls:
                self._tell_the_truth(job_id)

    @rule(seconds=st.integers(1, 20), step=st.sampled_from([0.1, 1.0]), stale=st.booleans())
    def all_is_well_for_a_while(self, seconds: int, step: float, stale: bool) -> None:
        for _ in range(seconds):
            self.answer_the_pages(shift=0, stale=stale, first_again=False)
            self.answer_all_polls()
            self.world.loop.pass_time(step)

    @precondition(lambda self: self.world.pages)
    @rule(shift=st.integers(-PAGE_SIZE, PAGE_SIZE), stale=st.booleans(), first_again=st.booleans())
    def answer_the_pages(self, shift: int, stale: bool, first_again: bool) -> None:
        rows = [(job_id, "RUNNING" if stale else word) for job_id, word in self._listed()]
        for number in tuple(self.world.pages):
            start = max(0, (0 if first_again else (number - 1) * PAGE_SIZE) + shift)
            told = page_body(rows[start : start + PAGE_SIZE], number, len(rows))
            if number in self.world.pages:
                self.world.reply(self.world.pages[number], Response(200, {}, told))

    @precondition(lambda self: self.world.pages)
    @rule(word=st.sampled_from(["PENDING", *ENDS]))
    def answer_the_pages_with_a_lie(self, word: str) -> None:
        rows = [(job_id, word) for job_id, _ in self._listed()]
        for number, asked in tuple(self.world.pages.items()):
            told = page_body(rows[(number - 1) * PAGE_SIZE :][:PAGE_SIZE], number, len(rows))
            if not asked.done():
                self.world.reply(asked, Response(200, {}, told))

    @precondition(lambda self: self.world.pages)
    @rule(trouble=troubles)
    def fail_the_pages(self, trouble: str) -> None:
        for asked in tuple(self.world.pages.values()):
            if not asked.done():
                self.world.reply(asked, TROUBLES[trouble]())

    def _listed(self) -> list[tuple[str, str]]:
        return sorted(self.world.statuses.items())

    def _tell_the_truth(self, job_id: str) -> None:
        told = body({"job_id": job_id, "status": self.world.statuses[job_id]})
        self.world.reply(self.world.polls[job_id], Response(200, {}, told))

    # --- the clock --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0, 310.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.loop.pass_time(seconds)

    @rule(seconds=st.sampled_from([3.0, 700.0, 100_000.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.world.loop.jump(seconds)
        self.jumped_at = self.world.loop.time()

    # --- the ends ---------------------------------------------------------------------------------------

    @precondition(lambda self: not self.world.closed)
    @rule(seldom=st.integers(0, 20))
    def close(self, seldom: int) -> None:
        if seldom == 13:  # or few runs would see much before it
            self.world.close()
            self._nothing_is_left()

    @precondition(lambda self: not self.world.closed)
    @rule(seldom=st.integers(0, 20))
    def the_service_recovers_and_all_jobs_end(self, seldom: int) -> None:
        """Whatever came before, everybody who still waits learns how his job ended."""
        if seldom != 13:
            return
        for job_id in self.world.statuses:
            self.a_job_ends(job_id, "SUCCEEDED")
        for _ in range(300):
            if not self.world.pending:
                break
            self.answer_all_polls()
            self.answer_the_pages(shift=0, stale=False, first_again=False)
            self.world.loop.pass_time(5.0)
        assert self.world.pending == []

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        if not world.closed:
            world.close()
        world.loop.pass_time(61.0)  # the slowest callback, and the same for what came while it ran
        self._nothing_is_left()
        for waiter in world.waiters:
            assert waiter.ends == 1
            assert waiter.task is not None
            if waiter.task.cancelled():
                assert waiter.given_up
            else:
                self._is_a_right_end(waiter.job_id, waiter.outcome())
        world.loop.close()

    def _nothing_is_left(self) -> None:
        hub = self.world.hub
        assert "watches=0 heap=0 queued=0 polls=0 wakes=never" in repr(hub)
        left: set[asyncio.Task[Any]] = asyncio.all_tasks(self.world.loop)
        in_callbacks = {waiter.task for waiter in self.world.pending}
        assert left <= in_callbacks
        assert not self.world.polls
        assert not self.world.pages

    def _is_a_right_end(self, job_id: str, outcome: FineTuneJob | BaseException) -> None:
        if isinstance(outcome, FineTuneJob):
            assert outcome.job_id == job_id
            assert (job_id, outcome.raw_status) in self.world.ends_told
        else:
            assert isinstance(outcome, DashScopeFTError)
            assert outcome.job_id == job_id

    # --- what the hub owes ------------------------------------------------------------------------------

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert_nobody_is_forgotten(self.world.hub)

    @invariant()
    def one_poll_per_job_is_in_flight(self) -> None:
        assert self.world.double_flights == []

    @invariant()
    def deadlines_hold(self) -> None:
        now = self.world.loop.time()
        for waiter in self.world.pending:
            if waiter.deadline is not None:
                # One whose deadline passed while the machine slept has its last poll after that.
                assert now <= max(waiter.deadline, self.jumped_at) + LAST_POLL + 0.01

    @invariant()
    def an_end_is_told_last_and_once(self) -> None:
        for waiter in self.world.waiters:
            assert not any(job.is_terminal for job in waiter.told[:-1])
            assert all(later.is_change_from(job) for job, later in pairwise(waiter.told))

    @invariant()
    def nobody_complains(self) -> None:
        assert self.world.complaints == []


HubMachine.TestCase.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=50)
TestHubMachine = HubMachine.TestCase
