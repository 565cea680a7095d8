from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

def sync_to_async(function: Callable[_P, _T]) -> Callable[_P, Awaitable[_T]]: ...
