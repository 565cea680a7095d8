"""Handing events to the user's hooks. Where there are none, there is no `Telling` and nothing is built."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Iterable
from contextvars import ContextVar
from typing import cast

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.hooks import Event, Hook

_LOG = logging.getLogger("dashscope_ft_async")

NUMBERS = itertools.count(1)
"""Of calls and waits."""
CALL: ContextVar[int | None] = ContextVar("dashscope_ft_async call", default=None)
"""The call that runs in this context. Set only while one runs, so no timer of the hub inherits it."""


class Telling:
    """Calls every hook with every event. What a hook raises is logged once for each hook."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = tuple(hooks)
        self._broken: set[int] = set()

    def __call__(self, event: Event) -> None:
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


def telling(hooks: Iterable[Hook]) -> Telling | None:
    """Who tells `hooks`; `None` for none. Raises `ConfigurationError` for what is no hook."""
    if not isinstance(cast("object", hooks), Iterable):
        raise ConfigurationError("hooks must be a list of callables that take one event.")
    given = tuple(hooks)
    for hook in given:
        if not callable(hook):
            raise ConfigurationError(f"a hook must be callable, which {type(hook).__name__} is not.")
        if inspect.iscoroutinefunction(hook):
            raise ConfigurationError("a hook is a plain function: a coroutine would never be awaited.")
    return Telling(given) if given else None
