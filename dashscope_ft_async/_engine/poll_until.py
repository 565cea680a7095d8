"""Poll anything until it has ended, as waits for jobs are polled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar, cast

import attrs

from dashscope_ft_async._engine.scheduler import Scheduler
from dashscope_ft_async.policy import Snapshot, WaitPolicy, WaitState

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Snapshot)


async def poll_until(
    scheduler: Scheduler,
    key: Hashable,
    attempt: Callable[[], Awaitable[_S]],
    policy: WaitPolicy,
    begin: WaitState,
) -> _S:
    """Poll with `attempt` until its snapshot is terminal, and return that.

    The polls go through the queue, the gate and `next_step` like those of jobs; waits with the same `key`
    share them. Raises what ends a wait.
    """
    wait = scheduler.add(key, policy, begin, attempt)
    try:
        return cast("_S", await wait.ended)
    finally:
        scheduler.remove(wait)


@attrs.frozen
class _Answer(Generic[_T]):
    value: _T
    is_terminal: bool = True


async def poll_once(
    scheduler: Scheduler,
    key: Hashable,
    attempt: Callable[[], Awaitable[_T]],
    policy: WaitPolicy,
    begin: WaitState,
) -> _T:
    """The first good answer of `attempt`: transient failures are sat out as in a wait."""

    async def answer() -> _Answer[_T]:
        return _Answer(await attempt())

    found: _Answer[Any] = await poll_until(scheduler, key, answer, policy, begin)
    return cast("_T", found.value)
