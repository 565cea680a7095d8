"""How long it is asked for the facts of a report: with patience, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from dashscope_ft_async.errors import DashScopeFTError, RateLimitError, WaitTimeoutError
from dashscope_ft_async.policy import is_transient

_T = TypeVar("_T")

LULL = 60.0
"""Seconds without one good answer after which no more is hoped for."""


@attrs.define
class Patience:
    """What all questions of a report share: until when they are asked, and asked again.

    Where many ask at once and the account's rate is low, some must be refused now and then. As long as
    others are answered, their turn comes.
    """

    timeout: float | None
    """Seconds for all questions together; `None` for as long as good answers come."""
    _begun: float = attrs.field(init=False, factory=time.monotonic)
    _good: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._good = self._begun

    @property
    def left(self) -> float | None:
        """Seconds of `timeout` that are left."""
        return None if self.timeout is None else max(0.0, self._begun + self.timeout - time.monotonic())

    def renew(self) -> None:
        """What came before was asked elsewhere, and was no lull."""
        self._good = time.monotonic()

    async def answer(self, ask: Callable[[], Awaitable[_T]], job_id: str | None = None) -> _T:
        """The answer to `ask`, which is asked again where there were too many requests.

        Raises:
            WaitTimeoutError: there was none in time.
            DashScopeFTError: what `ask` raises; too many requests only after a lull.
        """
        throttled: RateLimitError | None = None
        while (room := self._room()) > 0:
            limit = asyncio.timeout(room)
            try:
                async with limit:
                    if throttled is not None:
                        await asyncio.sleep(throttled.retry_after or 0.0)
                    answer = await ask()
            except TimeoutError:
                if not limit.expired():
                    raise
            except DashScopeFTError as error:
                if not is_transient(error):
                    self.renew()  # a plain no is an answer
                if not is_transient(error) or not isinstance(error, RateLimitError):
                    raise
                throttled = error
            else:
                self.renew()
                return answer
        if throttled is not None and self.left != 0.0:
            raise throttled
        elapsed = time.monotonic() - self._begun
        raise WaitTimeoutError("no answer", job_id=job_id, elapsed=elapsed, last_error=throttled)

    def _room(self) -> float:
        lull = self._good + LULL - time.monotonic()
        return lull if self.left is None else min(lull, self.left)
