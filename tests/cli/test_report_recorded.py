"""Reading records: those of a real wait, cut ones, and any bytes at all."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from dashscope_ft_async import FineTuneJob, JobStatus, NotFoundError
from dashscope_ft_async.cli.output import event_json, row_json
from dashscope_ft_async.cli.output import to_text as text_of
from dashscope_ft_async.cli.record import Record, event_line
from dashscope_ft_async.cli.report.recorded import Recorded, read
from dashscope_ft_async.cli.tracker import JobTracker as Board
from dashscope_ft_async.hooks import RequestFinished, Retrying, Throttled
from tests.support.report_world import job

FAR = ("0001-01-02T00:00:00+00:00", "1969-12-31T23:59:59+00:00", "9999-12-31T23:59:59+00:00")
START = datetime(2026, 1, 5, 2, 30, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def look(seconds: float, job_id: str | None = "ft-1", **facts: Any) -> str:
    told = {"method": "GET", "template": "/fine-tunes/{job_id}", "seconds": 0.1, "http_status": 200}
    return text_of(event_json("request", job_id, after(seconds), **(told | facts)))


def told(seconds: float, snapshot: FineTuneJob) -> str:
    board = Board([snapshot.job_id])
    row = board.record_end(snapshot, 0) if snapshot.is_terminal else board.record_snapshot(snapshot, 0)
    return text_of(row_json(row, after(seconds)))


def test_what_a_wait_writes_is_read_again() -> None:
    failed = job(
        "ft-1", "FAILED", code="InvalidParameter", message="line 17", job_name="bot", extra={"new": [1]}
    )
    recorded = read([look(0), told(0, job("ft-1", "RUNNING")), look(30), look(60), told(60, failed)])
    assert recorded.job_ids == ["ft-1"]
    assert recorded.snapshots["ft-1"] == (after(60), failed)
    assert [(each.status, each.at, each.since) for each in recorded.sightings["ft-1"]] == [
        (JobStatus.RUNNING, after(0), None),
        (JobStatus.FAILED, after(60), after(30)),
    ]
    assert recorded.wait.outcomes == {"answered": 3}


def test_an_end_read_off_a_page_came_after_the_last_look_at_the_job() -> None:
    page = look(60, None, template="/fine-tunes")
    recorded = read([look(0), told(0, job("ft-1", "RUNNING")), look(30), page, told(60, job())])
    assert recorded.sightings["ft-1"][-1].since == after(0)


def test_a_status_seen_before_is_a_look_too() -> None:
    recorded = read([told(0, job("ft-1", "QUEUING")), told(60, job())])
    assert recorded.sightings["ft-1"][-1].since == after(0)


def test_faults_are_told_apart() -> None:
    def asked(status: int | None, error: str | None = None) -> str:
        event = RequestFinished(
            call=None, method="GET", template="/fine-tunes", job_id=None, host="h", port=1, seconds=0.1,
            status=status, error=error,
        )  # fmt: skip
        return text_of(event_line(event, START) or {})

    error = NotFoundError("no such job", status=404, code="NotFound")
    retry = Retrying(call=None, wait=1, job_id=None, attempt=1, seconds=1.0, error=error)
    hold = Throttled(seconds=2.5, rate=4.0, pages=False)
    lines = [asked(200), asked(429), asked(503), asked(None, "APITimeoutError")]
    wait = read([*lines, *(text_of(event_line(event, START) or {}) for event in (retry, hold))]).wait
    assert wait.outcomes == {"answered": 1, "throttled": 1, "HTTP 503": 1, "APITimeoutError": 1}
    assert [asked.group for asked in wait.requests] == [
        "answered",
        "throttled",
        "refused or failed",
        "no answer",
    ]
    assert wait.reasons == {"NotFound: no such job": 1}
    assert wait.holds == [(START, 2.5)]


def test_several_records_are_one_story_whatever_their_order() -> None:
    first, second = [told(0, job("ft-1", "RUNNING"))], [told(60, job())]
    assert read([*first, *second]) == read([*second, *first])


def test_what_cannot_be_read_is_counted_and_costs_nothing_else() -> None:
    whole = told(0, job())
    newer = json.dumps({**json.loads(whole), "schema": 2})
    recorded = read([whole[: len(whole) // 2], "", "[]", newer, b"\xff", "[" * 100_000, whole])
    assert recorded.job_ids == ["ft-1"]
    assert recorded.wait.unread == 5


def test_events_of_later_versions_are_passed_over() -> None:
    recorded = read([text_of(event_json("wind", "ft-9", START, speed=3))])
    assert (recorded.job_ids, recorded.wait.unread) == ([], 0)


def test_a_record_that_is_written_is_the_record_that_is_read() -> None:
    file = io.StringIO()
    record = Record(file, Console(stderr=True))
    board = Board(["ft-1"])
    record.update(board.record_end(job(), 0))
    assert read(file.getvalue().splitlines()).snapshots["ft-1"][1] == job()


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = (
    "time",
    "job_id",
    "status",
    "job",
    "seconds",
    "http_status",
    "template",
    "method",
    "error",
    "reason",
)


@given(st.lists(st.binary()))
def test_any_bytes_give_facts(lines: list[bytes]) -> None:
    assert isinstance(read(lines), Recorded)


@given(
    st.sampled_from(["update", "ended", "error", "request", "retrying", "throttled"]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ODD)),
)
@example("update", {"job": {"job_id": "ft-1", "status": "RUNNING", "extra": {"\ud800": 10**400}}})
@example("update", {"status": [], "job": {"raw_status": {}}})
@example("throttled", {"seconds": 10**400})
@example("request", {"time": "0001-01-01T00:00:00+23:59"})
def test_odd_facts_in_a_line_never_stop_the_reading(event: str, facts: dict[str, Any]) -> None:
    line = {"schema": 1, "event": event, "time": START.isoformat(), "job_id": "ft-1", **facts}
    recorded = read([json.dumps(line)])
    assert all(seconds >= 0 for _, seconds in recorded.wait.holds)
    assert all(snapshot.job_id == job_id for job_id, (_, snapshot) in recorded.snapshots.items())


@pytest.mark.parametrize("time", [None, 5, "", "2026-01-05T02:30:00", "tomorrow", *FAR])
def test_a_line_without_a_likely_time_in_a_zone_is_not_believed(time: object) -> None:
    line = json.dumps({"schema": 1, "event": "update", "time": time, "job_id": "ft-1", "status": "RUNNING"})
    assert read([line]).wait.unread == 1
