"""The base classes of all models and of all errors.

The two error classes are here because models raise them; `dashscope_ft_async.errors` exports them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn, cast

import attrs

from dashscope_ft_async.models.text import redact, safe_word

_MAYBE_CREATED = (
    "The job may have been created. Before you create it again, look for it in the list of jobs "
    "(iter_jobs, or dashscope-ft list), by its model, job_name and create_time."
)


class DashScopeFTError(Exception):
    """Base of all errors that this library raises."""

    job_id: str | None = None
    """The job that the error is about, if it is about one."""
    results: Mapping[str, Any] = {}
    """After `wait_many`: the `FineTuneJob` of each job that had ended before this error, by job id."""
    maybe_created: bool = False
    """After `create`: True if the job may exist although no usable answer arrived. Look for it, newest
    jobs first, with ``async for job in client.iter_jobs(model=…)``, by `job_name` and `create_time`."""
    _advice: str = ""

    def __init__(self, message: str = "", *, job_id: str | None = None) -> None:
        # Messages quote what the user gave or the service sent, and either may hold a key.
        super().__init__(redact(message))
        if job_id is not None:
            self.job_id = job_id

    @property
    def advice(self) -> str:
        """What to do about the error; `str()` ends with it."""
        return self._advice

    def _facts(self) -> Mapping[str, object]:
        """The facts that `str()` lists, in order. `None` is left out."""
        return {"job": safe_word(self.job_id) if self.job_id else None}

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items() if value is not None)
        text = str(self.args[0]) if self.args else ""
        warning = _MAYBE_CREATED if self.maybe_created else ""
        parts = (text, f"({facts})" if facts else "", warning, self.advice)
        return " ".join(part for part in parts if part)


class ConfigurationError(DashScopeFTError, ValueError):
    """Invalid input or misuse, found before any request was sent: a missing key, an invalid job id, URL or
    policy, or a client used from another event loop or process."""


class Model:
    """Base of all models, which are immutable attrs classes."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, as JSON has them: times as ISO 8601 text, tuples as lists."""
        fields = attrs.fields(cast("type[attrs.AttrsInstance]", type(self)))
        return {field.name: _as_json(getattr(self, field.name)) for field in fields}

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _as_json(value: object) -> object:
    match value:
        case Model():
            return value.to_dict()
        case datetime():
            return value.isoformat()
        case Enum():
            return value.value
        case tuple():
            return [_as_json(item) for item in cast("tuple[object, ...]", value)]
        case Mapping():
            return dict(cast("Mapping[str, object]", value))
        case _:
            return value


class _EmptyMapping(dict[str, Any]):
    """An empty dictionary that cannot be changed, because all models share it."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the mapping of a model cannot be changed")

    __setitem__ = __ior__ = setdefault = update = _refuse  # pyright: ignore # what else changes, removes

    def __reduce__(self) -> str:
        return "EMPTY_MAPPING"  # copies and pickles of it are the same object


EMPTY_MAPPING: Mapping[str, Any] = _EmptyMapping()
"""The default of all fields that are mappings: thousands of jobs have nothing in them."""
