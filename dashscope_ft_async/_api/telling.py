"""Turning what the rooms below do into events for the user's hooks.

Imported with the first hook only: without one there is no `Telling`, and no room builds anything for it.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TypeVar, cast
from urllib.parse import urlsplit

from tenacity import RetryCallState

from dashscope_ft_async._api.retrying import retried
from dashscope_ft_async._api.wire import Request
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.errors import APIError, ConfigurationError
from dashscope_ft_async.hooks import (
    CallEnded,
    CallStarted,
    Event,
    Hook,
    RequestFinished,
    Retrying,
    StatusChanged,
    Throttled,
    WaitEnded,
    WaitStarted,
)
from dashscope_ft_async.models import FineTuneJob
from dashscope_ft_async.policy import RetryPolicy

_T = TypeVar("_T")
_LOG = logging.getLogger("dashscope_ft_async")
_NUMBERS = itertools.count(1)
# Set only while a call runs, and calls arm no timer of the hub, so no poll inherits it.
_CALL: ContextVar[int | None] = ContextVar("dashscope_ft_async call", default=None)


class Telling:
    """Calls every hook with every event. What a hook raises is logged once for each hook.

    Raises:
        ConfigurationError: for what is no hook.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        if not isinstance(cast("object", hooks), Iterable):
            raise ConfigurationError("hooks must be a list of callables that take one event.")
        self._hooks = tuple(hooks)
        self._broken: set[int] = set()
        for hook in self._hooks:
            if not callable(hook):
                raise ConfigurationError(f"a hook must be callable, which {type(hook).__name__} is not.")
            if inspect.iscoroutinefunction(hook):
                raise ConfigurationError("a hook is a plain function: a coroutine would never be awaited.")

    def _tell(self, event: Event) -> None:
        for number, hook in enumerate(self._hooks):
            try:
                hook(event)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - nobody's wait depends on a hook
                if number not in self._broken:
                    self._broken.add(number)
                    _LOG.warning(
                        "a hook raised on %s; this is told once for each hook",
                        type(event).__name__,
                        exc_info=True,
                    )

    async def call(
        self,
        name: str,
        job_id: str | None,
        once: Callable[[], Awaitable[_T]],
        retry: RetryPolicy,
        may_again: Callable[[BaseException], bool],
    ) -> _T:
        """`retried`, with the call, its requests and its pauses told."""
        loop, call, error = asyncio.get_running_loop(), next(_NUMBERS), None

        def pausing(state: RetryCallState) -> None:
            failure = (state.outcome and state.outcome.exception()) or APIError()
            attempt, seconds = state.attempt_number, state.upcoming_sleep
            self._tell(
                Retrying(
                    call=call, wait=None, job_id=job_id, attempt=attempt, seconds=seconds, error=failure
                )
            )

        self._tell(CallStarted(call=call, name=name, job_id=job_id))
        began, outside = loop.time(), _CALL.set(call)
        try:
            return await retried(once, retry, may_again, pausing)
        except BaseException as met:
            error = met
            raise
        finally:
            _CALL.reset(outside)
            seconds = loop.time() - began
            self._tell(CallEnded(call=call, name=name, job_id=job_id, seconds=seconds, error=error))
            error = None  # or it and this frame would hold each other

    def request(
        self, request: Request, base_url: str, seconds: float, status: int | None, error: str | None
    ) -> None:
        """An exchange is over: with a status, or with the name of an error."""
        where = urlsplit(base_url)
        self._tell(
            RequestFinished(
                call=_CALL.get(),
                method=request.method,
                template=request.template,
                job_id=request.job_id,
                host=where.hostname or "",
                port=where.port or (443 if where.scheme == "https" else 80),
                seconds=seconds,
                status=status,
                error=error,
            )
        )

    def throttled(self, seconds: float, rate: float) -> None:
        """A poll or a call was refused because of the rate."""
        self._tell(Throttled(seconds=seconds, rate=rate, pages=False))

    def pages_throttled(self, seconds: float, rate: float) -> None:
        """A page of the list was refused because of the rate."""
        self._tell(Throttled(seconds=seconds, rate=rate, pages=True))

    def seen(self, job: FineTuneJob, before: FineTuneJob | None, unseen: float) -> None:
        """A job was looked at, `unseen` seconds after the look before."""
        if before is None or before.raw_status != job.raw_status:
            self._tell(StatusChanged(job=job, before=before, unseen=None if before is None else unseen))

    def wait_started(self, wait: Wait) -> None:
        """A wait was entered; it gets its number."""
        wait.number = next(_NUMBERS)
        self._tell(WaitStarted(wait=wait.number, job_id=wait.watch.job_id))

    def wait_failed(self, wait: Wait, error: BaseException, seconds: float) -> None:
        """A poll failed, and this wait goes on after `seconds`."""
        self._tell(
            Retrying(
                call=None,
                wait=wait.number,
                job_id=wait.watch.job_id,
                attempt=0 if wait.state.trouble is None else wait.state.trouble.attempts,
                seconds=seconds,
                error=error,
            )
        )

    def wait_ended(self, wait: Wait, now: float) -> None:
        """A wait was left, ended or not."""
        ended = wait.ended
        known = ended.done() and not ended.cancelled()
        error = ended.exception() if known else None
        job = ended.result() if known and error is None else None
        self._tell(
            WaitEnded(
                wait=wait.number,
                job_id=wait.watch.job_id,
                seconds=now - wait.state.started,
                polls=wait.state.polls + (job is not None),
                job=job,
                error=error,
            )
        )
