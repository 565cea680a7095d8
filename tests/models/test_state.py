"""The state of a wait as a value, and as JSON."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from dashscope_ft_async import ConfigurationError, WatchState

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
FULL = WatchState(
    job_id="ft-1",
    base_url="https://dashscope-intl.aliyuncs.com/api/v1",
    workspace="llm-1",
    started=NOON,
    deadline=NOON + timedelta(hours=6, microseconds=5),
    last_status="RUNNING",
    failures=3,
    log_offset=120,
)


@pytest.mark.parametrize(
    "state", [FULL, WatchState(job_id="ft-1", base_url="http://localhost/api/v1", started=NOON)]
)
def test_a_state_is_the_same_after_json_and_pickle(state: WatchState) -> None:
    assert WatchState.from_json(state.to_json()) == state
    assert WatchState.from_json(state.to_json().encode()) == state
    assert pickle.loads(pickle.dumps(state)) == state


def test_the_json_is_one_line_of_plain_fields() -> None:
    assert json.loads(FULL.to_json()) == {
        "job_id": "ft-1",
        "base_url": "https://dashscope-intl.aliyuncs.com/api/v1",
        "workspace": "llm-1",
        "started": "2026-01-05T12:00:00+00:00",
        "deadline": "2026-01-05T18:00:00.000005+00:00",
        "last_status": "RUNNING",
        "failures": 3,
        "log_offset": 120,
    }
    assert "\n" not in FULL.to_json()


def test_times_of_any_zone_are_kept_as_utc() -> None:
    there = timezone(timedelta(hours=8))

    assert attrs.evolve(FULL, started=NOON.astimezone(there)).to_json() == FULL.to_json()


def test_fields_of_a_later_version_are_passed_over_and_absent_ones_have_their_defaults() -> None:
    text = '{"job_id": "ft-1", "base_url": "https://h/api/v1", "started": "2026-01-05T12:00:00Z", "new": 1}'

    assert WatchState.from_json(text) == WatchState(
        job_id="ft-1", base_url="https://h/api/v1", started=NOON
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job_id", None), ("job_id", ""), ("job_id", 7), ("base_url", None), ("workspace", 5),
        ("started", None), ("started", "yesterday"), ("started", "2026-01-05T12:00:00"), ("started", 1.5),
        ("deadline", "2026-01-05"), ("deadline", 7), ("last_status", 1), ("failures", -1),
        ("failures", True), ("failures", 1.0), ("log_offset", None),
    ],
)  # fmt: skip
def test_a_bad_field_is_refused_by_its_name(name: str, value: object) -> None:
    raw = json.loads(FULL.to_json()) | {name: value}

    with pytest.raises(ConfigurationError, match=rf"WatchState\.{name} must be"):
        WatchState.from_json(json.dumps(raw))


@pytest.mark.parametrize("name", ["job_id", "base_url", "started"])
def test_a_missing_field_is_refused_by_its_name(name: str) -> None:
    raw = json.loads(FULL.to_json())
    del raw[name]

    with pytest.raises(ConfigurationError, match=rf"WatchState\.{name} must be"):
        WatchState.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "null", "{", b"\xff", "[" * 100_000, None, 5])
def test_what_is_no_state_is_refused(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="to_json"):
        WatchState.from_json(text)


def test_a_time_at_the_edge_of_the_calendar_is_refused() -> None:
    text = '{"job_id": "ft-1", "base_url": "http://127.0.0.1", "started": "0001-01-01T00:00:00+05:00"}'
    with pytest.raises(ConfigurationError, match="started"):
        WatchState.from_json(text)
