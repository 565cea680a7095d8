"""The scheduler under any order of events: no wait is lost, none ends twice, nothing is left.

A state machine of hypothesis plays the service, the callers and the clock. A longer run:
``HYPOTHESIS_PROFILE=long pytest tests/engine/test_scheduler_machine.py``.
"""

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
from dashscope_ft_async.models.limits import LAST_POLL
from tests.support.scheduler_machine_world import Reply, World, body

ENDS = ("SUCCEEDED", "FAILED", "CANCELED")
JOBS = [f"ft-{number:02}" for number in range(30)]

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
    "no model's name": lambda: Response(200, {}, body({"status": "SUCCEEDED"})),
    "refused": lambda: APIConnectionError("refused", never_connected=True),
    "reset": lambda: APIConnectionError("reset"),
    "timed out": lambda: APITimeoutError("no whole answer within 30 s"),
}
troubles = st.sampled_from(sorted(TROUBLES))


class SchedulerMachine(RuleBasedStateMachine):
    """The rules are what may happen; the invariants are what callers may rely on."""

    @initialize(listed=st.booleans(), seed=st.integers(0, 2**16))
    def made(self, listed: bool, seed: int) -> None:
        self.world = World(listed=listed, seed=seed)
        self.jumped_at = 0.0

    # --- callers ----------------------------------------------------------------------------------------

    @rule(job_id=ids, timeout=timeouts)
    def wait(self, job_id: str, timeout: float | None) -> None:
        self.world.call(job_id, timeout)
        self.world.loop.settle()

    @rule(timeout=timeouts)
    def wait_for_every_job(self, timeout: float | None) -> None:
        for job_id in JOBS:
            self.world.call(job_id, timeout)
        self.world.loop.settle()

    @rule(job_id=ids, seconds=st.floats(0.1, 30), timeout=timeouts)
    def wait_with_a_slow_callback(self, job_id: str, seconds: float, timeout: float | None) -> None:
        self.world.call(job_id, timeout, lambda: asyncio.sleep(seconds))
        self.world.loop.settle()

    @precondition(lambda self: self.world.pending)
    @rule(pick=picks, other=ids, turns=st.integers(0, 6))
    def cancel_a_caller(self, pick: int, other: str, turns: int) -> None:
        """So many iterations of the loop after another wait began, so between any two steps of that."""
        caller = self.world.pending[pick % len(self.world.pending)]
        self.world.call(other, None)
        for _ in range(turns):
            self.world.run(asyncio.sleep(0))
        caller.cancel()
        self.world.loop.settle()

    @precondition(lambda self: self.world.pending and self.world.loop.timers())
    @rule(pick=picks, everybody=st.booleans())
    def cancel_callers_as_a_timer_fires(self, pick: int, everybody: bool) -> None:
        pending = self.world.pending
        when = min(self.world.loop.timers())
        for caller in pending if everybody else [pending[pick % len(pending)]]:
            self.world.loop.call_at(when, caller.cancel)
        self.world.loop.pass_time(max(0.0, when - self.world.loop.time()))

    # --- the service ------------------------------------------------------------------------------------

    @rule(job_id=ids, status=st.sampled_from(ENDS))
    def a_job_ends(self, job_id: str, status: str) -> None:
        if self.world.statuses.get(job_id) not in ENDS:
            self.world.statuses[job_id] = status

    @rule(every=st.integers(2, 5), status=st.sampled_from(ENDS))
    def many_jobs_end(self, every: int, status: str) -> None:
        for job_id in JOBS[::every]:
            self.a_job_ends(job_id, status)

    @precondition(lambda self: self.world.polls)
    @rule(pick=picks)
    def answer_a_poll(self, pick: int) -> None:
        self._answer_truly(sorted(self.world.polls)[pick % len(self.world.polls)])

    @precondition(lambda self: self.world.polls)
    @rule(pick=picks, trouble=troubles)
    def fail_a_poll(self, pick: int, trouble: str) -> None:
        job_id = sorted(self.world.polls)[pick % len(self.world.polls)]
        self.world.answer_poll(job_id, TROUBLES[trouble]())

    @rule()
    def answer_all_polls(self) -> None:
        for job_id in tuple(self.world.polls):
            if job_id in self.world.polls:
                self._answer_truly(job_id)

    @rule(seconds=st.integers(1, 20), step=st.sampled_from([0.1, 1.0]), frozen=st.booleans())
    def all_is_well_for_a_while(self, seconds: int, step: float, frozen: bool) -> None:
        for _ in range(seconds):
            self.answer_the_pages(shift=0, frozen=frozen)
            self.answer_all_polls()
            self.world.loop.pass_time(step)

    @precondition(lambda self: self.world.pages)
    @rule(shift=st.integers(-15, 15), frozen=st.booleans())
    def answer_the_pages(self, shift: int, frozen: bool) -> None:
        """With the jobs moved by some places, and perhaps from a list that never shows an end."""
        rows = [(job_id, "RUNNING" if frozen else status) for job_id, status in self._newest_first()]
        self._answer_pages(rows[shift:] if shift >= 0 else [("ft-new", "RUNNING")] * -shift + rows)

    @precondition(lambda self: self.world.pages)
    @rule(status=st.sampled_from(["PENDING", *ENDS]))
    def answer_the_pages_with_a_lie(self, status: str) -> None:
        self._answer_pages([(job_id, status) for job_id, _ in self._newest_first()])

    @precondition(lambda self: self.world.pages)
    @rule(trouble=troubles)
    def fail_the_pages(self, trouble: str) -> None:
        for page in tuple(self.world.pages):
            if page in self.world.pages:
                self.world.answer_page(page, TROUBLES[trouble]())

    def _newest_first(self) -> list[tuple[str, str]]:
        return sorted(self.world.statuses.items(), reverse=True)

    def _answer_pages(self, rows: list[tuple[str, str]]) -> None:
        for page in tuple(self.world.pages):
            if page in self.world.pages:
                self.world.answer_page(page, rows)

    def _answer_truly(self, job_id: str) -> None:
        output = {"job_id": job_id, "status": self.world.statuses[job_id]}
        if output["status"] == "SUCCEEDED":
            output["finetuned_output"] = f"model-{job_id}"
        self.world.answer_poll(job_id, Response(200, {}, body(output)))

    # --- the clock --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0, 310.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.loop.pass_time(seconds)

    @rule(seconds=st.sampled_from([3.0, 700.0, 100_000.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.world.loop.jump(seconds)
        self.jumped_at = self.world.loop.time()

    # --- the end ----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.world.closed)
    @rule(seldom=st.integers(0, 20))
    def close(self, seldom: int) -> None:
        if seldom == 13:  # or few runs would see much before it
            self.world.close()
            self._nothing_is_left()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._ends_well(self.world)
        finally:
            self.world.loop.close()

    def _ends_well(self, world: World) -> None:
        if not world.closed:
            self._everybody_learns_the_end()
            world.close()
        world.loop.pass_time(61.0)  # the slowest callback, and the same for what came while it ran
        self._nothing_is_left()
        for caller in world.callers:
            assert caller.ends == 1
            assert caller.task is not None
            if caller.task.cancelled():
                assert caller.given_up
            else:
                self._is_a_right_end(caller.job_id, caller.outcome())

    def _everybody_learns_the_end(self) -> None:
        """Whatever came before: once the service is well and all jobs end, all waits end."""
        for job_id in self.world.statuses:
            self.a_job_ends(job_id, "SUCCEEDED")
        for _ in range(100):
            if not self.world.pending:
                break
            self.answer_all_polls()
            self.answer_the_pages(shift=0, frozen=False)
            self.world.loop.pass_time(10.0)
        assert self.world.pending == []

    def _nothing_is_left(self) -> None:
        stats = self.world.scheduler.stats()
        assert (stats.jobs, stats.queued, stats.in_flight) == (0, 0, 0)
        left: set[asyncio.Task[Any]] = asyncio.all_tasks(self.world.loop)
        assert self.world.pending or not left  # a callback may outlast `close` if its job has ended
        assert not self.world.polls
        assert not self.world.pages

    def _is_a_right_end(self, job_id: str, outcome: FineTuneJob | BaseException) -> None:
        if isinstance(outcome, FineTuneJob):
            assert outcome.is_terminal
            assert outcome.job_id == job_id
        else:
            assert isinstance(outcome, DashScopeFTError)
            assert outcome.job_id == job_id

    # --- what callers may rely on -----------------------------------------------------------------------

    @invariant()
    def every_wait_goes_on(self) -> None:
        """Each job that is waited for is known, and a request or a timer will bring the next step."""
        world = self.world
        stats = world.scheduler.stats()
        waiting = {caller.job_id for caller in world.pending if caller.is_undecided()}
        assert stats.jobs == len(waiting)
        assert stats.queued <= stats.jobs
        assert stats.in_flight == len(world.polls) + len(world.pages)
        for job_id in waiting:
            assert world.scheduler.next_poll(job_id) is not None
        if waiting:
            assert stats.in_flight or world.loop.timers()

    @invariant()
    def a_job_has_one_poll_in_flight(self) -> None:
        assert self.world.double_polls == []

    @invariant()
    def deadlines_hold(self) -> None:
        now = self.world.loop.time()
        for caller in self.world.pending:
            if caller.deadline is not None:
                # One whose deadline passed while the machine slept has its last poll after that.
                assert now <= max(caller.deadline, self.jumped_at) + LAST_POLL + 0.01

    @invariant()
    def a_caller_gets_the_end_last_and_once(self) -> None:
        for caller in self.world.callers:
            assert not any(job.is_terminal for job in caller.updates[:-1])
            assert all(later.is_change_from(job) for job, later in pairwise(caller.updates))

    @invariant()
    def an_end_was_shown_by_a_get_or_by_a_proven_list(self) -> None:
        assert all(caller.was_shown for caller in self.world.callers)

    @invariant()
    def nothing_fails_unseen(self) -> None:
        assert self.world.complaints == []


SchedulerMachine.TestCase.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=50
)
TestSchedulerMachine = SchedulerMachine.TestCase
