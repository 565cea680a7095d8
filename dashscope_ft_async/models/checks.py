"""Pure: arguments that are checked before anything is done with them."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import TypeAlias, TypeGuard, TypeVar

from dashscope_ft_async.models.base import ConfigurationError

_T = TypeVar("_T")
Timeout: TypeAlias = float | timedelta | None
"""Seconds, or a `timedelta`; `None` is for ever."""


def timeout_seconds(timeout: Timeout) -> float | None:
    """A timeout in seconds; `None` is for ever. Raises `ConfigurationError` for anything else."""
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if timeout is not None and (not is_number(timeout) or timeout < 0):
        raise ConfigurationError(
            f"timeout must be seconds from 0, a timedelta, or None for ever, not {timeout!r}."
        )
    return timeout


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number, and no bool."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def checked(value: _T, kind: type[_T], name: str) -> _T:
    """`value`, if it is a `kind`. Raises `ConfigurationError` that calls it `name`."""
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be a {kind.__name__}, not {value!r}.")
    return value
