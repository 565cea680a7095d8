"""Where a wait stands, as text that outlives the process."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import attrs

from dashscope_ft_async.models.base import ConfigurationError


def _to_utc(value: datetime) -> datetime:
    # What is no time, or names no zone, is the validator's to refuse.
    if not isinstance(cast("object", value), datetime) or value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar
        return value


def _must(
    accepts: Callable[[object], bool], what: str
) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if not accepts(value):
            raise ConfigurationError(f"WatchState.{field.name} must be {what}.")

    return validate


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_utc(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is UTC


_TEXT = _must(_is_text, "text")
_TEXT_OR_NONE = _must(lambda value: value is None or _is_text(value), "text or None")
_COUNT = _must(_is_count, "a whole number from 0")
_TIME = _must(_is_utc, "a datetime with a time zone")
_TIME_OR_NONE = _must(lambda value: value is None or _is_utc(value), "a datetime with a time zone, or None")


@attrs.frozen(kw_only=True)
class WatchState:
    """Where a wait stands: enough to go on with it in another process, and no API key.

    From `Waiting.state` while a wait runs, and from `WaitError.state` when it was given up. Any method
    that takes a job takes a state too, and goes on where it stood: same deadline, same pace, same place
    in the back-off.

    Raises:
        ConfigurationError: a value that cannot be.
    """

    job_id: str = attrs.field(validator=_TEXT)
    """The job waited for."""
    base_url: str = attrs.field(validator=_TEXT)
    """Where it is asked for; a client of another URL refuses the state."""
    workspace: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    """In which workspace; a client of another one refuses the state."""
    started: datetime = attrs.field(converter=_to_utc, validator=_TIME)
    """When the wait began; the pace depends on its age. UTC, as `deadline`."""
    deadline: datetime | None = attrs.field(
        default=None, converter=attrs.converters.optional(_to_utc), validator=_TIME_OR_NONE
    )
    """When the wait gives up; `None` is never."""
    last_status: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    """The status word of the last snapshot, as the service sent it."""
    failures: int = attrs.field(default=0, validator=_COUNT)
    """Failed polls since the last good one: the place in the back-off."""
    log_offset: int = attrs.field(default=0, validator=_COUNT)
    """Lines of the job's log that have been dealt with. A wait carries it along and does not use it."""

    def to_json(self) -> str:
        """The state as one line of JSON."""
        return json.dumps(attrs.asdict(self, value_serializer=_plain), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> WatchState:
        """The state that `to_json` wrote; fields of later versions are passed over.

        Raises:
            ConfigurationError: it is no such text.
        """
        try:
            found: object = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError("a WatchState is read from the JSON object that to_json wrote.")
        raw = cast("dict[str, object]", found)
        names = {field.name for field in attrs.fields(cls)}
        values: dict[str, Any] = {name: value for name, value in raw.items() if name in names}
        for name in ("started", "deadline"):
            values[name] = _time(values.get(name))
        for name in ("job_id", "base_url"):
            values.setdefault(name, None)
        return cls(**values)


def _plain(_: object, __: object, value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _time(value: object) -> object:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value
