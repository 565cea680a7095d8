"""JSON to models, by cattrs. The world is open: what is unknown or unreadable goes to `extra`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs

from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus

if TYPE_CHECKING:
    from cattrs import Converter

Json: TypeAlias = dict[str, Any]

_JOB_FIELDS = frozenset(field.name for field in attrs.fields(FineTuneJob)) - {"extra", "raw_status"}
JSON_PAGE_FIELDS = frozenset(field.name for field in attrs.fields(JobPage)) - {"extra"}
# Other names that official pages, SDKs or recorded answers use for a field, read when it is absent.
_ALIASES = {"jobs_name": "job_name", "task_status": "status", "gmt_create": "create_time"}

_STATUS_WORDS = {status.value: status for status in JobStatus if status is not JobStatus.UNRECOGNIZED} | {
    "SUCCEED": JobStatus.SUCCEEDED,
    "SUCCESSED": JobStatus.SUCCEEDED,
    "SUCCESS": JobStatus.SUCCEEDED,
    "CANCELLED": JobStatus.CANCELED,
    "CANCELLING": JobStatus.CANCELING,
    "QUEUED": JobStatus.QUEUING,
}


def _to_status(value: object, _: object) -> JobStatus:
    return _STATUS_WORDS.get(_to_text(value, str).strip().upper(), JobStatus.UNRECOGNIZED)


@lru_cache(maxsize=4096)
def _one_copy(text: str) -> str:
    """`text` itself, or the equal one seen before: thousands of snapshots name few models and people."""
    return text


def _to_text(value: object, _: object) -> str:
    if isinstance(value, str) and value.strip():
        return _one_copy(value)
    raise TypeError(value)


def _to_optional_text(value: object, _: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _one_copy(value) if value else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(value)


_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)


def optional_int(value: object, _: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError(value)


_TIME = re.compile(r"\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*", re.ASCII)


def _to_optional_time(value: object, _: object) -> datetime | None:
    if value is None or value == "":
        return None
    # Without the shape, fromisoformat reads an epoch number as a date.
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(value.strip())
    raise TypeError(value)


def _to_texts(value: object, _: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(_to_text(item, str) for item in cast("list[object]", value))
    raise TypeError(value)


def _to_mapping(value: object, _: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("Json", value)
    raise TypeError(value)


@cache
def converter() -> Converter:
    """The rules. Made when first needed: cattrs takes longer to import than all our own files."""
    from cattrs import ClassValidationError, Converter
    from cattrs.gen import make_dict_structure_fn

    # cattrs' own rules coerce silently (int(3.9) is 3, tuple("abc") has three items), so each type a
    # model uses has a rule here.
    converter = Converter()
    converter.register_structure_hook(JobStatus, _to_status)
    converter.register_structure_hook(str, _to_text)
    for kind, rule in _OPTIONAL_RULES:
        converter.register_structure_hook_func(_is(kind), rule)
    fields: Callable[[Any, Any], FineTuneJob] = make_dict_structure_fn(FineTuneJob, converter)

    def to_job(value: object, _: object) -> FineTuneJob:
        known, extra = _sorted_fields(cast("Json", value))
        try:
            return fields(known, FineTuneJob)
        except ClassValidationError as errors:
            # A field the job can live without never costs the job: keep its original aside and go on.
            odd = {note.name for _, note in errors.group_exceptions()[0] if note.name not in _REQUIRED}
            if not odd:
                raise
            extra.update((name, known.pop(name)) for name in odd)
            return fields(known, FineTuneJob)

    converter.register_structure_hook(FineTuneJob, to_job)
    return converter


_REQUIRED = frozenset({"job_id", "status"})
_OPTIONAL_RULES: tuple[tuple[object, Callable[[object, object], object]], ...] = (
    (str | None, _to_optional_text),
    (int | None, optional_int),
    (datetime | None, _to_optional_time),
    (tuple[str, ...], _to_texts),
    (Mapping[str, Any], _to_mapping),
)


def _is(kind: object) -> Callable[[object], bool]:
    return lambda candidate: candidate == kind


def _sorted_fields(raw: Json) -> tuple[Json, Json]:
    known: Json = {}
    extra: Json = {}
    for name, value in raw.items():
        (known if name in _JOB_FIELDS else extra)[name] = value
    for alias, name in _ALIASES.items():
        if alias in extra and _is_blank(known.get(name)):
            known[name] = extra.pop(alias)
    status = known.get("status")
    known["raw_status"] = status if isinstance(status, str) and not _is_blank(status) else "?"
    known["extra"] = extra
    return known, extra


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
