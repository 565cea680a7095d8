"""Read JSON objects as models, with cattrs.

A model never fails because of a field that it can do without: fields that it does not name, and values that
cannot be read without guessing, are kept in its `extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar, cast, get_type_hints

import attrs
import orjson

from dashscope_ft_async._api.wire.envelope import Json, check_depth, malformed
from dashscope_ft_async._api.wire.messages import Response
from dashscope_ft_async.models import CheckpointStatus, JobStatus
from dashscope_ft_async.models.base import EMPTY_MAPPING

_T = TypeVar("_T")

_COMPUTED = frozenset({"raw_status", "extra"})


def structure(
    response: Response, kind: type[_T], raw: object, place: str = "$.output", **computed: object
) -> _T:
    """Return the JSON object `raw`, found at `place`, as a model; `computed` are fields that are not read.

    Raises `APIResponseValidationError` if `raw` is no object, is nested too deep, or lacks a field that the
    model cannot do without.
    """
    if not isinstance(raw, dict):
        raise malformed(response, f"expected an object, found {type(raw).__name__} @ {place}")
    fields = {**cast("Json", raw)}
    reader = _READERS.get(kind) or _reader(kind)
    extra = EMPTY_MAPPING
    if not reader.names.issuperset(fields):
        extra = {name: fields.pop(name) for name in [*fields] if name not in reader.names}
        check_depth(response, extra)
    computed["extra"] = extra
    fields.update(computed)
    try:
        return cast("_T", reader.read(fields, kind))
    except (KeyError, TypeError, ValueError):
        return cast("_T", _read_tolerantly(response, reader, fields, kind, place))


def _read_tolerantly(
    response: Response, reader: _Reader, fields: Json, kind: type[object], place: str
) -> object:
    """Read the fields that can be read, and move the others to `extra`."""
    from cattrs import ClassValidationError, transform_error

    try:
        return reader.read_and_explain(fields, kind)
    except ClassValidationError as error:
        odd = {note.name for _, note in error.group_exceptions()[0]}
        if odd & reader.required:
            raise malformed(response, "; ".join(transform_error(error, path=place)[:3])) from None
    fields["extra"] = {**fields["extra"], **{name: fields.pop(name) for name in odd}}
    check_depth(response, fields["extra"])
    return reader.read(fields, kind)


@attrs.frozen
class _Reader:
    """How to read one model."""

    names: frozenset[str]
    """Names in a JSON object that the model has fields for."""
    required: frozenset[str]
    read: Callable[[Json, Any], object]
    """Raises the error of the first unreadable field, which does not say which one it is."""
    read_and_explain: Callable[[Json, Any], object]
    """Slower; raises `ClassValidationError`, which names all unreadable fields."""


_READERS: dict[type[object], _Reader] = {}


def _reader(kind: type[object]) -> _Reader:
    # Imported when first needed: importing cattrs takes longer than importing the rest of this package.
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, override

    fields, types = attrs.fields_dict(cast("Any", kind)), get_type_hints(kind)
    hooks: Any = {
        name: override(struct_hook=_HOOKS_BY_NAME.get(name) or _HOOKS_BY_TYPE[types[name]])
        for name in fields
    }
    read, explain = (
        make_dict_structure_fn(cast("Any", kind), Converter(), _cattrs_detailed_validation=slow, **hooks)
        for slow in (False, True)
    )
    required = {name for name, field in fields.items() if field.default is attrs.NOTHING}
    reader = _Reader(frozenset(fields) - _COMPUTED, frozenset(required), read, explain)
    _READERS[kind] = reader
    return reader


# --- one hook for each type, in place of cattrs' own, which convert silently: int(3.9) is 3 ------------

_LONGEST_SHARED = 64  # characters; the cache below then holds about 1 MB at most


@lru_cache(maxsize=4096)
def _shared(text: str) -> str:
    """Return the equal text seen before, if there is one: thousands of jobs name few models and users."""
    return text


@lru_cache(maxsize=1024)
def _shared_tuple(texts: tuple[str, ...]) -> tuple[str, ...]:
    return texts


def _as_is(value: Any, _: object) -> Any:
    return _shared(value) if type(value) is str and len(value) <= _LONGEST_SHARED else value


def _required_text(value: Any, _: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise TypeError(value)


def _unique_text(value: Any, _: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(value)


def _optional_text(value: Any, kind: object) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_SHARED:
        return _shared(value)
    return _unique_text(value, kind)


def _optional_int(value: Any, _: object = None) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 20 and "_" not in value and value.isascii():
        return int(value)
    raise TypeError(value)


def _optional_float(value: Any, _: object) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError(value)


def _optional_time(value: Any, _: object) -> datetime | None:
    if value is None or value == "":
        return None
    # Only a date, a blank or T, and a time: fromisoformat would read a number of seconds as a date.
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 15 and text[4] == text[7] == "-" and text[10] in "T ":
            return datetime.fromisoformat(text)
    raise TypeError(value)


# Any and __class__ below, since this is a hot path and `cast` is a call.


def _texts(value: Any, kind: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if value.__class__ is not list:
        raise TypeError(value)
    texts = tuple([_required_text(item, kind) for item in value])
    # Most jobs have one file, and jobs of one series have the same.
    return _shared_tuple(texts) if len(texts) == 1 and len(texts[0]) <= _LONGEST_SHARED else texts


def _mapping(value: Any, _: object) -> Mapping[str, Any]:
    if value is None:
        return EMPTY_MAPPING
    if value.__class__ is not dict:
        raise TypeError(value)
    for name, item in value.items():
        if item.__class__ is str and len(item) <= _LONGEST_SHARED:
            value[name] = _shared(item)
        elif item.__class__ in (dict, list):
            orjson.dumps(item)  # raises TypeError if it is nested too deep
    return cast("Json", value) if value else EMPTY_MAPPING


def _mappings(value: Any, kind: object) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if value.__class__ is not list or None in value:
        raise TypeError(value)
    return tuple([_mapping(item, kind) for item in value])


_STATUSES = {status.value: status for status in JobStatus if status is not JobStatus.UNRECOGNIZED} | {
    "SUCCEED": JobStatus.SUCCEEDED,
    "SUCCESSED": JobStatus.SUCCEEDED,
    "SUCCESS": JobStatus.SUCCEEDED,
    "CANCELLED": JobStatus.CANCELED,
    "CANCELLING": JobStatus.CANCELING,
    "QUEUED": JobStatus.QUEUING,
}


def _job_status(value: Any, kind: object) -> JobStatus:
    word = _required_text(value, kind)
    return _STATUSES.get(word.strip().upper(), JobStatus.UNRECOGNIZED)


_Hook: TypeAlias = Callable[[Any, Any], Any]
_HOOKS_BY_TYPE: Mapping[object, _Hook] = {
    str: _required_text,
    JobStatus: _job_status,
    CheckpointStatus: _as_is,
    str | None: _optional_text,
    int | None: _optional_int,
    float | None: _optional_float,
    datetime | None: _optional_time,
    tuple[str, ...]: _texts,
    tuple[Mapping[str, Any], ...]: _mappings,
    Mapping[str, Any]: _mapping,
}
# The values of unique text differ from object to object, so there is nothing to share.
_HOOKS_BY_NAME: Mapping[str, _Hook] = dict.fromkeys(_COMPUTED, _as_is) | dict.fromkeys(
    ("job_name", "finetuned_output", "message", "request_id", "checkpoint_id", "full_name"), _unique_text
)


def count_of(output: Json, name: str) -> int | None:
    """Return the number under `name` if it is 0 or more, else `None`."""
    try:
        count = _optional_int(output.get(name))
    except (TypeError, ValueError):
        return None
    return count if count is None or count >= 0 else None
