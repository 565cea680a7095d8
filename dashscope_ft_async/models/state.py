"""The state of a wait, as text that can be stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import attrs

from dashscope_ft_async.models.base import ConfigurationError, Model


def _to_utc(value: datetime) -> datetime:
    # The validator refuses values that are no times or name no time zone.
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


def _is_utc(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is UTC


_TEXT = _must(_is_text, "text")
_TEXT_OR_NONE = _must(lambda value: value is None or _is_text(value), "text or None")
_COUNT = _must(lambda value: type(value) is int and value >= 0, "a whole number from 0")
_TIME = _must(_is_utc, "a datetime with a time zone")
_TIME_OR_NONE = _must(lambda value: value is None or _is_utc(value), "a datetime with a time zone, or None")


@attrs.frozen(kw_only=True)
class WatchState(Model):
    """The state of a wait: what another process needs to continue it. It has no API key.

    `Waiting.state` returns it during a wait, and `WaitError.state` after a wait was given up. Methods that
    wait for a job also take a state; they keep the deadline, the polling interval and the position in
    the back-off.

    Raises:
        ConfigurationError: a field has a value that is not possible.
    """

    job_id: str = attrs.field(validator=_TEXT)
    """The job that is waited for."""
    base_url: str = attrs.field(validator=_TEXT)
    """Base URL of the service; a client with another one refuses the state."""
    workspace: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    """Workspace of the client; a client with another one refuses the state."""
    started: datetime = attrs.field(converter=_to_utc, validator=_TIME)
    """When the wait began, in UTC. The polling interval depends on it."""
    deadline: datetime | None = attrs.field(
        default=None, converter=attrs.converters.optional(_to_utc), validator=_TIME_OR_NONE
    )
    """When the wait times out, in UTC; `None` is never."""
    last_status: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    """The status of the last snapshot, as the service sent it."""
    failures: int = attrs.field(default=0, validator=_COUNT)
    """Failed polls since the last good answer, which is the position in the back-off."""
    log_offset: int = attrs.field(default=0, validator=_COUNT)
    """Lines of the job's log that the caller has processed. Waits keep the number and do not use it."""

    @classmethod
    def from_json(cls, text: str | bytes) -> WatchState:
        """Return the state that `to_json` wrote. Fields that this version does not know are ignored.

        Raises:
            ConfigurationError: `text` was not written by `to_json`.
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


def _time(value: object) -> object:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value
