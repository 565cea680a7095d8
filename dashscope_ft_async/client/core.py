"""What all wings of the client share: the session, the hub and the gates, put together once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from dashscope_ft_async._api.config import Settings
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.journal import Journal
from dashscope_ft_async._api.retrying import retried
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.wire import (
    Request,
    Response,
    ScannedPage,
    decode_job,
    decode_logs,
    endpoint_error,
    job_id_of,
    job_request,
    logs_request,
    page_request,
    scan_page,
)
from dashscope_ft_async._engine.list_planner import PAGE_SIZE
from dashscope_ft_async._engine.scheduler import Hub
from dashscope_ft_async._engine.turns import Turns
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.errors import APIError, APIStatusError, ConfigurationError
from dashscope_ft_async.models import FineTuneJob, LogPage, WatchState
from dashscope_ft_async.models.checks import check_timeout, checked
from dashscope_ft_async.policy import (
    PollPolicy,
    RetryPolicy,
    Trouble,
    WaitPolicy,
    WaitState,
    may_try_again,
)

if TYPE_CHECKING:
    from dashscope_ft_async._api.telling import Telling

_T = TypeVar("_T")
Watchable: TypeAlias = str | FineTuneJob | WatchState
"""What may be waited for. A state goes on where it stood."""

DAY = 86_400.0
_WIDTH = 32
"""Polls under way at once, at most."""


class Core:
    """The parts, composed. The hub is made at the first wait, inside the loop that drives it."""

    def __init__(
        self,
        where: Settings,
        session: Session,
        policy: WaitPolicy,
        *,
        coalesce: bool,
        max_rate: float | None,
        hooks: Telling | None,
    ) -> None:
        self._where = where
        self._session = session
        self._policy_of_all = policy
        self._coalesce = coalesce
        self._hooks = hooks
        self._gate = Gate(policy.retry, _WIDTH, max_rate, None if hooks is None else hooks.throttled)
        self._list_gate = Gate(
            policy.retry, _WIDTH, max_rate, None if hooks is None else hooks.pages_throttled
        )
        self._turns = Turns(self._gate)
        self._streams = 0
        self._journal = Journal()
        self._hub: Hub | None = None
        self._closing = asyncio.Event()

    @property
    def _retry(self) -> RetryPolicy:
        return self._policy_of_all.retry

    def _wait(self, job: Watchable, timeout: float | None, poll: PollPolicy | None) -> Wait:
        job_id = self._id_of(job)
        policy = self._policy(poll)
        check_timeout(timeout)
        return self._driver().wait(job_id, policy, self._begin(job, deadline_after(timeout)))

    def _check(self, job: Watchable, timeout: float | None, poll: PollPolicy | None) -> None:
        check_timeout(timeout)
        self._policy(poll)
        self._id_of(job)

    def _id_of(self, job: Watchable) -> str:
        """The id to ask for; raises `ConfigurationError` where this client would ask for another job."""
        if isinstance(job, WatchState):
            for name in ("base_url", "workspace"):
                theirs, ours = getattr(job, name), getattr(self._where, name)
                if theirs != ours:
                    raise ConfigurationError(
                        f"the state is of a job under {name} {theirs!r}; this client has {ours!r}."
                    )
        return job_id_of(job)

    def _begin(self, job: Watchable, deadline: float | None) -> WaitState:
        """Where a wait begins: now, or where `job` stood. A state has a deadline of its own."""
        now = asyncio.get_running_loop().time()
        if not isinstance(job, WatchState):
            return WaitState(now, deadline)
        clock = datetime.now(UTC)
        # A clock that is behind the one of the earlier process must not make the wait younger than new.
        started = now - max(0.0, (clock - job.started).total_seconds())
        left = None if job.deadline is None else (job.deadline - clock).total_seconds()
        return WaitState(
            started,
            None if left is None else now + left,
            trouble=Trouble(attempts=job.failures, since=now) if job.failures else None,
            origin=job,
        )

    def _save(self, wait: Wait) -> WatchState:
        state, job = wait.state, wait.last_job
        failures = 0 if state.trouble is None else state.trouble.attempts
        if state.origin is not None:
            last_status = state.origin.last_status if job is None else job.raw_status
            return attrs.evolve(state.origin, last_status=last_status, failures=failures)
        now, clock = asyncio.get_running_loop().time(), datetime.now(UTC)
        return WatchState(
            job_id=wait.watch.job_id,
            base_url=self._where.base_url,
            workspace=self._where.workspace,
            started=clock - timedelta(seconds=now - state.started),
            deadline=None if state.deadline is None else _after(clock, state.deadline - now),
            last_status=None if job is None else job.raw_status,
            failures=failures,
        )

    def _policy(self, poll: PollPolicy | None) -> WaitPolicy:
        if poll is None:
            return self._policy_of_all
        return attrs.evolve(self._policy_of_all, poll=checked(poll, PollPolicy, "poll"))

    def _driver(self) -> Hub:
        self._session.check_usable()
        if self._hub is None:
            self._hub = Hub(
                self._fetch,
                self._gate,
                self._journal,
                save=self._save,
                fetch_page=self._fetch_page if self._coalesce else None,
                list_gate=self._list_gate,
                hooks=self._hooks,
            )
        return self._hub

    def _call(
        self,
        name: str,
        job_id: str | None,
        once: Callable[[], Awaitable[_T]],
        may_again: Callable[[BaseException], bool] = may_try_again,
    ) -> Awaitable[_T]:
        """`once` as the single call `name`: tried again while `may_again` lets it, and told to hooks."""
        if self._hooks is None:
            return retried(once, self._retry, may_again)
        return self._hooks.call(name, job_id, once, self._retry, may_again)

    async def _fetch(self, job_id: str) -> FineTuneJob:
        try:
            return decode_job(await self._session.send(job_request(job_id)), job_id)
        except APIError as error:
            error.job_id = job_id
            raise

    async def _fetch_page(self, page_no: int) -> ScannedPage:
        return scan_page(await self._session.send(page_request(page_no, PAGE_SIZE, None)), PAGE_SIZE)

    async def _asked(
        self, request: Request, decode: Callable[[Response], _T], job_id: str | None = None
    ) -> _T:
        """One attempt at a single call; where there is no such call, the error names it."""
        try:
            return decode(await self._session.send(request))
        except APIError as error:
            told = error
        if isinstance(told, APIStatusError):
            told = endpoint_error(told, request, self._where.base_url)
        told.job_id = told.job_id or job_id
        raise told

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the client: the next request will tell of it."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _observed(self, job_id: str) -> FineTuneJob:
        job = await self._told(lambda: self._fetch(job_id))
        self._journal.met(job)
        return job

    async def _log_page(self, job_id: str, offset: int, lines: int) -> LogPage:
        request = logs_request(job_id, offset, lines)
        return await self._told(lambda: self._asked(request, decode_logs, job_id))

    async def _told(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """`once`, and tell the gate: what a single call learns of the service, the waits know too."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome: _T | APIError
        try:
            outcome = await once()
        except APIError as error:
            outcome = error
        self._gate.saw(outcome, began=began, now=loop.time(), u=random.random())
        if isinstance(outcome, APIError):
            raise outcome
        return outcome


def deadline_after(timeout: float | None) -> float | None:
    """The loop's time `timeout` seconds from now, or `None` for never."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def _after(clock: datetime, seconds: float) -> datetime | None:
    """The time `seconds` after `clock`; `None` beyond the end of the calendar."""
    try:
        return clock + timedelta(seconds=seconds)
    except OverflowError:
        return None
