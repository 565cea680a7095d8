"""The only request runner: build, send, decode, retry, inform the gate, emit events."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TypeVar
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from dashscope_ft_async._api import wire
from dashscope_ft_async._api.calls import Call, list_page
from dashscope_ft_async._api.config import Settings
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.session import Session
from dashscope_ft_async.errors import APIError, APIStatusError, APITimeoutError
from dashscope_ft_async.hooks import CallEnded, CallStarted, RequestFinished, Retrying, Throttled
from dashscope_ft_async.models.limits import CALLS_AT_ONCE, PAGE_TIMEOUT, POLLS_AT_ONCE
from dashscope_ft_async.policy import RetryPolicy, is_wrong_address

_T = TypeVar("_T")
_NUMBERS = itertools.count(1)


def next_number() -> int:
    """A number for a call or a wait, unique in this process."""
    return next(_NUMBERS)


class Runner:
    """Runs the calls of one client over one session."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        retry: RetryPolicy,
        events: EventStream,
        max_rate: float | None,
    ) -> None:
        self._session = session
        self._settings = settings
        self._retry = retry
        self._events = events
        self.gate = Gate(retry, POLLS_AT_ONCE, max_rate, self._throttled)
        self.list_gate = Gate(retry, POLLS_AT_ONCE, max_rate, self._list_throttled)
        self._room = asyncio.Semaphore(CALLS_AT_ONCE)
        self.requests = 0
        """Requests sent."""

    async def perform(self, call: Call[_T]) -> _T:
        """Run a call of the user's: retried while its `may_retry` allows, at most `RetryPolicy.attempts`
        times in all. Raises what the last attempt raised."""
        if not self._events.has_hooks:
            return await self._retried(call, None)
        number, clock = next_number(), asyncio.get_running_loop().time
        self._events.emit(CallStarted(call=number, name=call.name, job_id=call.job_id))
        began, error = clock(), None
        try:
            return await self._retried(call, number)
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = clock() - began
            self._events.emit(
                CallEnded(call=number, name=call.name, job_id=call.job_id, seconds=seconds, error=error)
            )
            error = None  # or the error and this frame would keep each other alive

    async def _retried(self, call: Call[_T], number: int | None) -> _T:
        # tenacity takes over after the first failure only: a fresh AsyncRetrying costs as much as half a
        # request; and it must be a fresh one, since a shared one mixes up its callers.
        try:
            async with self._room:
                return await self.attempt(call, number)
        except APIError as error:
            failures = [error]

        def may_retry(error: BaseException) -> bool:
            return call.may_retry(error, answered=self.gate.contact.answered)

        def delay(state: RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            return self._retry.delay(state.attempt_number, error or APIError(), random.random())

        def before_sleep(state: RetryCallState) -> None:
            error = (state.outcome and state.outcome.exception()) or APIError()
            self._events.emit(
                Retrying(
                    call=number,
                    wait=None,
                    job_id=call.job_id,
                    attempt=state.attempt_number,
                    seconds=state.upcoming_sleep,
                    error=error,
                )
            )

        async def attempt() -> _T:
            if failures:  # tenacity's first attempt has been made already
                raise failures.pop()
            async with self._room:
                return await self.attempt(call, number)

        if not may_retry(failures[0]):
            raise failures[0]
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._retry.attempts),
            retry=retry_if_exception(may_retry),
            wait=delay,
            before_sleep=before_sleep,
            reraise=True,
        )
        return await retrying(attempt)

    async def attempt(self, call: Call[_T], number: int | None = None) -> _T:
        """Send the request once and decode the answer; `number` is that of the user's call, if it is one.

        Raises:
            APIError: the request failed, or its answer is an error or unreadable.
            ClientClosedError, ConfigurationError: the client cannot be used.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        outcome: _T | APIError
        try:
            self.requests += 1
            if self._events.has_hooks:
                response = await self._observed(call, number, began)
            else:
                response = await self._session.send(call.request, fresh=call.once)
            outcome = call.decode(response)
        except APIError as error:
            outcome = error
        if isinstance(outcome, APIError):
            outcome = self._explained(outcome, call)
        gate = self.list_gate if call.lists else self.gate
        if call.throttles_waits or not isinstance(outcome, APIError):
            gate.report(outcome, began=began, now=clock(), u=random.random())
        if isinstance(outcome, APIError):
            raise outcome
        return outcome

    async def list_page(self, page_no: int, page_size: int) -> wire.ScannedPage:
        """Get a list page for the waits, within `PAGE_TIMEOUT` seconds; raises as `attempt`."""
        try:
            async with asyncio.timeout(PAGE_TIMEOUT):
                return await self.attempt(list_page(page_no, page_size))
        except APIError:
            raise
        except TimeoutError:
            pass
        raise APITimeoutError(f"no list page within {PAGE_TIMEOUT:g} s")

    async def _observed(self, call: Call[_T], number: int | None, began: float) -> wire.Response:
        try:
            response = await self._session.send(call.request, fresh=call.once)
        except BaseException as error:
            self.request_finished(call.request, number, began, None, type(error).__name__)
            raise
        self.request_finished(call.request, number, began, response.status, None)
        return response

    def request_finished(
        self, request: wire.Request, number: int | None, began: float, status: int | None, error: str | None
    ) -> None:
        """Emit the event that an exchange is over."""
        if not self._events.has_hooks:
            return
        url = urlsplit(self._settings.base_url)
        self._events.emit(
            RequestFinished(
                call=number,
                method=request.method,
                template=request.template,
                job_id=request.job_id,
                host=url.hostname or "",
                port=url.port or (443 if url.scheme == "https" else 80),
                seconds=asyncio.get_running_loop().time() - began,
                status=status,
                error=error,
            )
        )

    def _explained(self, error: APIError, call: Call[_T]) -> APIError:
        """`error` with the job it is about; a missing endpoint or a wrong address is named as such."""
        if isinstance(error, APIStatusError):
            error = wire.endpoint_error(error, call.request, self._settings.described_url)
        if error.job_id is None:
            error.job_id = call.job_id
        if not self.gate.contact.reached and is_wrong_address(error):
            error.sent_to = self._settings.described_url
        return error

    def _throttled(self, seconds: float, rate: float) -> None:
        self._events.emit(Throttled(seconds=seconds, rate=rate, pages=False))

    def _list_throttled(self, seconds: float, rate: float) -> None:
        self._events.emit(Throttled(seconds=seconds, rate=rate, pages=True))
