"""A single call, tried again by tenacity."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from dashscope_ft_async.errors import APIError
from dashscope_ft_async.policy import RetryPolicy, may_try_again

_T = TypeVar("_T")


async def retried(
    once: Callable[[], Awaitable[_T]],
    retry: RetryPolicy,
    may_again: Callable[[BaseException], bool] = may_try_again,
    before_sleep: Callable[[RetryCallState], None] | None = None,
) -> _T:
    """What `once` gives, tried again while `may_again` lets it; raises what the last try raised.

    tenacity comes in with the first failure only, since a fresh `AsyncRetrying` costs a fifth of a
    request; and a fresh one it must be, since a shared one mixes up its callers.
    """
    try:
        return await once()
    except APIError as error:
        met: list[APIError] = [error]
    if not may_again(met[0]):
        raise met[0]

    async def again() -> _T:
        if met:  # tenacity's first attempt is the one that has been made
            raise met.pop()
        return await once()

    def delay(state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        return retry.delay(state.attempt_number, error or APIError(), random.random())

    retrying = AsyncRetrying(
        stop=stop_after_attempt(retry.attempts),
        retry=retry_if_exception(may_again),
        wait=delay,
        before_sleep=before_sleep,
        reraise=True,
    )
    return await retrying(again)
