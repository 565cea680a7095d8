"""What all wings of the client share: the session, the hub and the gates, put together once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from dashscope_ft_async._checks import check_timeout, checked
from dashscope_ft_async._journal import Journal
from dashscope_ft_async._retrying import retried
from dashscope_ft_async._roster import PAGE_SIZE
from dashscope_ft_async._watch import Wait
from dashscope_ft_async._wire import ScannedPage, decode_job, job_request, page_request, scan_page
from dashscope_ft_async.errors import APIError
from dashscope_ft_async.gate import Gate
from dashscope_ft_async.hub import Hub
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.policy import PollPolicy, RetryPolicy, WaitPolicy
from dashscope_ft_async.session import Session

if TYPE_CHECKING:
    from dashscope_ft_async._telling import Telling

_T = TypeVar("_T")

DAY = 86_400.0
_WIDTH = 32
"""Polls under way at once, at most."""


class Core:
    """The parts, composed. The hub is made at the first wait, inside the loop that drives it."""

    def __init__(
        self,
        session: Session,
        policy: WaitPolicy,
        *,
        coalesce: bool,
        max_rate: float | None,
        hooks: Telling | None,
    ) -> None:
        self._session = session
        self._policy_of_all = policy
        self._coalesce = coalesce
        self._hooks = hooks
        self._gate = Gate(policy.retry, _WIDTH, max_rate, None if hooks is None else hooks.throttled)
        self._list_gate = Gate(
            policy.retry, _WIDTH, max_rate, None if hooks is None else hooks.pages_throttled
        )
        self._journal = Journal()
        self._hub: Hub | None = None

    @property
    def _retry(self) -> RetryPolicy:
        return self._policy_of_all.retry

    def _wait(self, job_id: str, timeout: float | None, poll: PollPolicy | None) -> Wait:
        policy = self._policy(poll)
        check_timeout(timeout)
        return self._driver().wait(job_id, policy, deadline_after(timeout))

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
                fetch_page=self._fetch_page if self._coalesce else None,
                list_gate=self._list_gate,
                hooks=self._hooks,
            )
        return self._hub

    def _call(self, name: str, job_id: str | None, once: Callable[[], Awaitable[_T]]) -> Awaitable[_T]:
        """`once` as the single call `name`: tried again while that may help, and told to hooks."""
        if self._hooks is None:
            return retried(once, self._retry)
        return self._hooks.call(name, job_id, once, self._retry)

    async def _fetch(self, job_id: str) -> FineTuneJob:
        try:
            return decode_job(await self._session.send(job_request(job_id)), job_id)
        except APIError as error:
            error.job_id = job_id
            raise

    async def _fetch_page(self, page_no: int) -> ScannedPage:
        return scan_page(await self._session.send(page_request(page_no, PAGE_SIZE, None)), PAGE_SIZE)

    async def _observed(self, job_id: str) -> FineTuneJob:
        """`_fetch`, and tell the gate: what a single call learns of the service, the waits know too."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome: FineTuneJob | APIError
        try:
            outcome = await self._fetch(job_id)
        except APIError as error:
            outcome = error
        self._gate.saw(outcome, began=began, now=loop.time(), u=random.random())
        if isinstance(outcome, APIError):
            raise outcome
        self._journal.met(outcome)
        return outcome


def deadline_after(timeout: float | None) -> float | None:
    """The loop's time `timeout` seconds from now, or `None` for never."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
