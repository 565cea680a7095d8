"""What the live view shows, for any jobs and in any room. How it looks on a terminal: test_cli_terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dashscope_ft_async import FineTuneJob, JobStatus, NotFoundError, TrainingMetric, WaitTimeoutError
from dashscope_ft_async.cli.live.cells import CellFormatter
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.live.losses import Losses
from dashscope_ft_async.cli.live.screen import render_screen
from dashscope_ft_async.cli.live.state import LiveState, ordinal
from dashscope_ft_async.cli.tracker import JobTracker
from dashscope_ft_async.hooks import Throttled

CREATED = datetime(2026, 1, 5, 9, 0)  # noqa: DTZ001 - the service names no zone


def job_of(job_id: str, status: JobStatus = JobStatus.RUNNING, **fields: Any) -> FineTuneJob:
    given_fields: dict[str, Any] = {"job_id": job_id, "status": status, "raw_status": status.value}
    return FineTuneJob(**(given_fields | fields))


def losses_of(*values: float, **fields: Any) -> Losses:
    losses = Losses()
    for value in values:
        losses.add(TrainingMetric(line="", loss=value, **fields))
    return losses


def never(_: str) -> float | None:
    return None


def shown(
    tracker: JobTracker,
    width: int = 80,
    height: int = 23,
    *,
    losses: dict[str, Losses] | None = None,
    next_poll: Callable[[str], float | None] = never,
    health: Health | None = None,
    now: float = 0.0,
    encoding: str = "utf-8",
) -> list[str]:
    facts = LiveState(tracker, health or Health(lambda: now), losses or {}, next_poll, now)
    return [line.plain for line in render_screen(facts, width, height, CellFormatter(encoding))]


def line_of(lines: list[str], job_id: str) -> list[str]:
    (line,) = (line for line in lines if line.startswith(job_id))
    return line.split()


# --- one line for each job --------------------------------------------------------------------------


def test_a_job_in_training_shows_time_checkpoints_loss_and_the_next_look() -> None:
    tracker = JobTracker(["ft-a", "ft-b"], now=0.0)
    tracker.record_snapshot(job_of("ft-a", output_cnt=2, max_output_cnt=10), 60.0)
    tracker.record_snapshot(job_of("ft-a", output_cnt=3, max_output_cnt=10), 3000.0)
    lines = shown(
        tracker,
        losses={"ft-a": losses_of(2.0, 1.0, 0.8123)},
        next_poll={"ft-a": 11.2, "ft-b": 0.0}.get,
        now=3785.0,
    )
    assert line_of(lines, "JOB") == ["JOB", "STATUS", "TIME", "CHECKPOINTS", "LOSS", "POLL"]
    assert line_of(lines, "ft-a") == ["ft-a", "RUNNING", "1:02:05", "3/10", "0.8123", "█▂▁", "12", "s"]
    assert line_of(lines, "ft-b") == ["ft-b", "not", "seen", "yet", "1:03:05", "now"]
    assert lines[0] == "2 jobs  1 RUNNING  1 not seen yet"
    assert lines[-1] == "connection no answer yet · 0 requests"


def test_what_came_of_a_job_stands_where_its_progress_stood() -> None:
    tracker = JobTracker(["ft-a", "ft-b", "ft-c", "ft-d"])
    ended = CREATED + timedelta(days=2, hours=3, minutes=4)
    made = job_of(
        "ft-a", JobStatus.SUCCEEDED, finetuned_output="qwen3-ft-a", create_time=CREATED, end_time=ended
    )
    tracker.record_end(made, 1.0)
    tracker.record_end(job_of("ft-b", JobStatus.FAILED, code="BadData", message="line 17"), 1.0)
    tracker.record_snapshot(job_of("ft-c"), 1.0)
    tracker.record_error("ft-c", WaitTimeoutError("too late", job_id="ft-c"))
    tracker.record_snapshot(job_of("ft-d", JobStatus.UNRECOGNIZED, raw_status="PAUSED\n"), 1.0)
    lines = shown(tracker, losses={"ft-a": losses_of(1.0, 0.5)})
    assert line_of(lines, "ft-a") == ["ft-a", "SUCCEEDED", "2", "d", "03:04", "qwen3-ft-a"]
    assert line_of(lines, "ft-b") == ["ft-b", "FAILED", "BadData:", "line", "17"]
    assert line_of(lines, "ft-c") == ["ft-c", "RUNNING", "WaitTimeoutError:", "too", "late"]
    assert line_of(lines, "ft-d")[:2] == ["ft-d", "PAUSED"]
    assert lines[0] == "4 jobs  1 FAILED  1 given up  1 PAUSED  1 SUCCEEDED"


def test_a_long_reason_is_cut_where_the_screen_ends() -> None:
    tracker = JobTracker(["ft-202410291653-1c7f", "ft-b"])
    tracker.record_error("ft-202410291653-1c7f", NotFoundError("no such job " * 9, status=404))
    (line,) = (line for line in shown(tracker) if line.startswith("ft-2024"))
    assert cell_len(line) == 80
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (20, ["JOB"]),
        (40, ["JOB", "STATUS", "TIME"]),
        (60, ["JOB", "STATUS", "TIME", "LOSS", "POLL"]),
        (80, ["JOB", "STATUS", "TIME", "CHECKPOINTS", "LOSS", "POLL"]),
        (100, ["JOB", "MODEL", "STATUS", "TIME", "CHECKPOINTS", "LOSS", "POLL"]),
        (120, ["JOB", "NAME", "MODEL", "STATUS", "TIME", "TOKENS", "CHECKPOINTS", "LOSS", "POLL"]),
    ],
)
def test_columns_give_way_by_their_importance(width: int, columns: list[str]) -> None:
    tracker = JobTracker(["ft-202410291653-1c7f", "ft-b"])
    tracker.record_snapshot(
        job_of(
            "ft-202410291653-1c7f",
            job_name="客服问答",
            model="qwen3-14b",
            usage=279_808,
            output_cnt=1,
            max_output_cnt=4,
        ),
        0.0,
    )
    tracker.record_snapshot(job_of("ft-b"), 0.0)
    lines = shown(tracker, width, next_poll=lambda _: 5.0)
    assert line_of(lines, "JOB") == columns


def test_tokens_and_checkpoints_are_told_as_far_as_the_service_tells_them() -> None:
    tracker = JobTracker(f"ft-{number}" for number in range(5))
    tracker.record_snapshot(job_of("ft-0", usage=0, output_cnt=2), 0.0)
    tracker.record_snapshot(job_of("ft-1", usage=279_808, max_output_cnt=4), 0.0)
    tracker.record_snapshot(job_of("ft-2", usage=12_345_678, output_cnt=1, max_output_cnt=4), 0.0)
    tracker.record_snapshot(job_of("ft-3", usage=10**40), 0.0)
    lines = shown(tracker, 120)
    told = {f"ft-{number}": line_of(lines, f"ft-{number}")[3:5] for number in range(4)}
    assert told == {
        "ft-0": ["0", "2"],
        "ft-1": ["279,808", "?/4"],
        "ft-2": ["12.3M", "1/4"],
        "ft-3": ["1000000.…"],
    }


def test_while_the_account_is_throttled_looks_that_are_due_are_held() -> None:
    tracker, health = JobTracker(["ft-a", "ft-b"]), Health(lambda: 0.0)
    health(Throttled(seconds=9.0, rate=1.0, pages=False))
    lines = shown(tracker, health=health, next_poll={"ft-a": 0.0, "ft-b": 3.0}.get)
    assert line_of(lines, "ft-a")[-1] == "paused"
    assert line_of(lines, "ft-b")[-2:] == ["3", "s"]
    assert lines[-1] == "connection throttled, 9 s left · 0 requests"


# --- the place in line ------------------------------------------------------------------------------


def queue(tracker: JobTracker) -> None:
    created = {"ft-a": CREATED + timedelta(hours=2), "ft-b": CREATED, "ft-c": CREATED.replace(tzinfo=UTC)}
    for job_id, at in created.items():
        tracker.record_snapshot(
            job_of(job_id, JobStatus.QUEUING, create_time=at + timedelta(minutes=1)), 0.0
        )
    tracker.record_snapshot(job_of("ft-d", JobStatus.PENDING), 0.0)
    tracker.record_snapshot(job_of("ft-e", create_time=CREATED), 0.0)


def test_of_a_whole_account_the_place_in_line_is_told_by_the_order_of_creation() -> None:
    tracker = JobTracker(["ft-a", "ft-b", "ft-c", "ft-d", "ft-e"], is_whole_account=True)
    queue(tracker)
    lines = shown(tracker)
    told = {job_id: line_of(lines, job_id)[3:] for job_id in tracker.rows}
    assert told == {
        "ft-a": ["3rd", "of", "4", "in", "queue"],
        "ft-b": ["1st", "of", "4", "in", "queue"],
        "ft-c": ["2nd", "of", "4", "in", "queue"],
        "ft-d": ["4th", "of", "4", "in", "queue"],
        "ft-e": [],
    }
    assert line_of(shown(tracker, 38), "ft-a")[3:] == ["3rd", "of", "4"]


def test_of_some_jobs_of_an_account_no_place_is_known() -> None:
    tracker = JobTracker(["ft-a", "ft-b", "ft-c", "ft-d", "ft-e"])
    queue(tracker)
    assert "in queue" not in "".join(shown(tracker))


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (121, "121st")],
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


# --- which jobs -------------------------------------------------------------------------------------


def crowd(failed: int) -> JobTracker:
    tracker = JobTracker([f"ft-{number:03}" for number in range(100)])
    for number in range(20):
        tracker.record_end(job_of(f"ft-{number:03}", JobStatus.SUCCEEDED), 0.0)
    for number in range(20, 60):
        at = CREATED - timedelta(minutes=number)
        tracker.record_snapshot(job_of(f"ft-{number:03}", JobStatus.QUEUING, create_time=at), 0.0)
    for number in range(60, 63):
        tracker.record_snapshot(job_of(f"ft-{number:03}"), 0.0)
    for number in range(63, 63 + failed):
        tracker.record_end(job_of(f"ft-{number:03}", JobStatus.FAILED), 0.0)
    return tracker


def numbers(tracker: JobTracker, room: int) -> list[int]:
    return [int(row.job_id[3:]) for row in tracker.select_rows(room)]


def test_all_jobs_stay_in_their_order_where_they_fit() -> None:
    assert numbers(crowd(5), 100) == list(range(100))


def test_where_they_do_not_fit_failures_come_first_then_training_then_the_queue() -> None:
    assert numbers(crowd(2), 9) == [64, 63, 60, 61, 62, 59, 58, 57, 56]


def test_many_failures_leave_half_of_the_room_to_what_is_under_way() -> None:
    assert numbers(crowd(30), 8) == [92, 91, 90, 89, 60, 61, 62, 59]


def test_good_ends_come_last_the_newest_first() -> None:
    assert numbers(crowd(0), 99)[-19:-16] == [19, 18, 17]


def test_room_that_nobody_else_needs_is_for_all_failures() -> None:
    tracker = JobTracker([f"ft-{number}" for number in range(10)])
    for job_id in list(tracker.rows)[:9]:
        tracker.record_error(job_id, NotFoundError("gone", status=404))
    assert numbers(tracker, 6) == [8, 7, 6, 5, 4, 9]


def test_hundreds_of_jobs_are_summed_up() -> None:
    lines = shown(crowd(10), 80, 23)
    assert len(lines) == 23
    assert lines[0] == "100 jobs  10 FAILED  3 RUNNING  40 QUEUING  20 SUCCEEDED  27 not seen yet  (20 …"
    assert shown(crowd(10), 90)[0].endswith("(20 shown)")


# --- one job ----------------------------------------------------------------------------------------


def test_one_job_has_a_line_for_each_fact_and_a_curve() -> None:
    tracker = JobTracker(["ft-a"], is_whole_account=True)
    tracker.record_snapshot(
        job_of("ft-a", job_name="客服", model="qwen3-14b", usage=5, output_cnt=1, max_output_cnt=4), 0.0
    )
    losses = {"ft-a": losses_of(2.0, 1.5, 1.0, step=30, max_steps=90, epoch=1.0)}
    lines = shown(tracker, losses=losses, next_poll=lambda _: 3.0, now=65.0)
    assert lines[:8] == [
        "job          ft-a",
        "name         客服",
        "model        qwen3-14b",
        "status       RUNNING for 0:01:05",
        "tokens       5",
        "checkpoints  1 of 4",
        "loss         1.0000 · step 30 of 90 · epoch 1.00",
        "next poll    in 3 s",
    ]
    assert lines[9] == "     2.0000  █  "
    assert lines[-3] == "     1.0000  ██▁"
    assert lines[-1].startswith("connection")
    assert len(lines) <= 23


def test_one_job_that_waits_or_has_ended() -> None:
    tracker = JobTracker(["ft-a"], is_whole_account=True)
    tracker.record_snapshot(job_of("ft-a", JobStatus.QUEUING), 0.0)
    assert "queue        1st of 1" in shown(tracker)
    tracker.record_end(job_of("ft-a", JobStatus.FAILED, code="BadData", message="line 17"), 9.0)
    lines = shown(tracker)
    assert "status       FAILED" in lines
    assert "result       BadData: line 17" in lines


def test_one_job_in_little_room_is_a_line() -> None:
    tracker = JobTracker(["ft-a"])
    tracker.record_snapshot(job_of("ft-a"), 0.0)
    assert line_of(shown(tracker, 80, 9), "ft-a")[:2] == ["ft-a", "RUNNING"]
    assert line_of(shown(tracker, 40, 23), "ft-a")[:2] == ["ft-a", "RUNNING"]


# --- any room, any text -----------------------------------------------------------------------------

TEXTS = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.sampled_from(
        ["客服问答" * 9, "\x1b[2J\x07[red]", "e\u0301" * 50, "👩‍👩‍👧 \u202e", "\ud800", "  ", "ﷺ" * 30]
    ),
)
JOBS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "status": st.sampled_from(JobStatus),
        "raw_status": st.text(min_size=1, max_size=30),
        "job_name": TEXTS,
        "model": TEXTS,
        "finetuned_output": TEXTS,
        "code": TEXTS,
        "message": TEXTS,
        "usage": st.none() | st.integers(0, 10**30),
        "output_cnt": st.none() | st.integers(0, 10**12),
        "max_output_cnt": st.none() | st.integers(0, 10**12),
        "create_time": st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        "end_time": st.none() | st.datetimes(),
    }
)
SIZES = st.sampled_from([(80, 23), (120, 39), (40, 9), (400, 100), (1, 1), (2, 3), (13, 4)]) | st.tuples(
    st.integers(1, 130), st.integers(1, 50)
)


@st.composite
def trackers(draw: st.DrawFn) -> tuple[JobTracker, dict[str, Losses]]:
    tracker, losses = JobTracker(is_whole_account=draw(st.booleans())), dict[str, Losses]()
    for number, fields in enumerate(draw(st.lists(st.none() | JOBS, max_size=30))):
        job_id = f"{draw(TEXTS) or 'ft'}-{number}"
        tracker.add([job_id], 0.0)
        if fields is None:
            continue
        job = FineTuneJob(job_id=job_id, **fields)
        (tracker.record_end if job.is_terminal else tracker.record_snapshot)(job, 1.0)
        if draw(st.booleans()):
            losses[job_id] = losses_of(*draw(st.lists(st.floats(-1e308, 1e308), max_size=5)))
        if draw(st.integers(0, 5)) == 0:
            tracker.record_error(job_id, NotFoundError(draw(TEXTS) or "", status=404))
    return tracker, losses


@given(trackers(), SIZES, st.sampled_from(["utf-8", "ascii", "cp1252", "gbk"]), st.floats(0, 1e7))
def test_nothing_reaches_over_the_edge_of_the_screen(
    drawn: tuple[JobTracker, dict[str, Losses]], size: tuple[int, int], encoding: str, next_poll: float
) -> None:
    tracker, losses = drawn
    lines = shown(tracker, *size, losses=losses, next_poll=lambda _: next_poll, now=1e6, encoding=encoding)
    width, height = size
    assert 0 < len(lines) <= height
    for line in lines:
        assert cell_len(line) <= width
        assert line.isprintable()
        line.encode(encoding)


def test_without_blocks_in_the_encoding_a_curve_is_ascii() -> None:
    tracker = JobTracker(["ft-客服", "ft-b"])
    tracker.record_snapshot(job_of("ft-b"), 0.0)
    lines = shown(tracker, losses={"ft-b": losses_of(3, 2, 1)}, encoding="cp1252")
    assert line_of(lines, "ft-b")[3:5] == ["1.0000", "#=_"]
    assert line_of(lines, "ft-??")[0] == "ft-??"
    tracker = JobTracker(["ft-b"])
    tracker.record_snapshot(job_of("ft-b"), 0.0)
    assert "             #=_" in shown(tracker, losses={"ft-b": losses_of(3, 2, 1)}, encoding="ascii")
