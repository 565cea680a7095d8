"""What a report says of times: two clocks, and nothing that is not sure."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest

from dashscope_ft_async.cli.report.facts import JobFacts, Log, Sighting, WaitFacts, by_time, labels_of
from dashscope_ft_async.cli.report.timeline import Clock, Phase, clock_of, end_of, spans_of
from dashscope_ft_async.cli.report.words import difference, lasting
from tests.support.report_world import CREATED, NOW, STAMP, known, log_of, seen

NO_LOG = Log()


def phases(facts: JobFacts, clock: Clock | None = None) -> list[tuple[Phase, float, float | None]]:
    """Phases with their starts and ends in minutes after the creation."""

    def minutes(at: datetime) -> float:
        return round((at - CREATED) / timedelta(minutes=1), 1)

    return [
        (span.phase, minutes(span.start), None if span.end is None else minutes(span.end))
        for span in spans_of(facts, clock, NOW)
    ]


def test_the_first_stamp_of_the_log_parts_waiting_from_training() -> None:
    assert phases(known()) == [(Phase.QUEUED, 0, 4), (Phase.RUNNING, 4, 20)]
    assert known().queued == timedelta(minutes=4)
    assert known().trained == timedelta(minutes=16)


def test_without_a_log_the_two_are_not_told_apart() -> None:
    assert phases(known(log=NO_LOG)) == [(Phase.UNDIVIDED, 0, 20)]


@pytest.mark.parametrize(
    "stamp", ["2026-01-05 10:20:00,000", "2026-01-05 10:59:00,000", "2026-13-45 99:00:00,000"]
)
def test_a_stamp_that_does_not_fit_the_job_is_not_believed(stamp: str) -> None:
    facts = known(log=log_of([f"{stamp} - INFO - start"]))
    assert facts.began is None
    assert phases(facts) == [(Phase.UNDIVIDED, 0, 20)]


def test_a_running_job_goes_on_to_nobody_knows_when() -> None:
    assert phases(known(status="RUNNING")) == [(Phase.QUEUED, 0, 4), (Phase.RUNNING, 4, None)]
    assert phases(known(status="QUEUING", log=NO_LOG)) == [(Phase.QUEUED, 0, None)]
    assert phases(known(status="RUNNING", log=NO_LOG)) == [(Phase.UNDIVIDED, 0, None)]


def test_an_end_that_was_seen_between_two_looks_tells_how_the_clocks_differ() -> None:
    watched = attrs.evolve(known(), sightings=[seen(1, "RUNNING"), seen(20.3, "SUCCEEDED", since=19.9)])
    clock = clock_of([watched])
    assert clock is not None
    assert clock.least <= timedelta(hours=8) <= clock.most
    assert clock.most - clock.least < timedelta(seconds=30)
    assert difference(clock) == "8 h ahead of UTC"


@pytest.mark.parametrize(
    "sightings",
    [
        [],
        [seen(20.3, "SUCCEEDED")],  # seen once, at the end: it may have ended long before
        [seen(30, "SUCCEEDED", since=2)],  # not looked at for too long
    ],
)
def test_where_no_end_was_watched_the_clocks_are_not_compared(sightings: list[Sighting]) -> None:
    assert clock_of([attrs.evolve(known(), sightings=sightings)]) is None


def test_ends_that_contradict_each_other_are_not_believed() -> None:
    one = attrs.evolve(known(), sightings=[seen(20.1, "SUCCEEDED", since=19.9)])
    other = attrs.evolve(known("ft-2"), sightings=[seen(20.1, "SUCCEEDED", since=19.9, ahead=1)])
    assert clock_of([one]) is not None
    assert clock_of([one, other]) is None


EIGHT = Clock(timedelta(hours=8), timedelta(hours=8))


def test_by_a_known_difference_a_running_job_lasts_to_now() -> None:
    facts = known(status="RUNNING")  # NOW is 11:00 on the service's clock
    assert phases(facts, EIGHT) == [(Phase.QUEUED, 0, 4), (Phase.RUNNING, 4, 29.8)]


def test_by_a_known_difference_what_was_seen_is_on_the_timeline() -> None:
    facts = attrs.evolve(
        known(status="CANCELED", log=NO_LOG),
        sightings=[
            seen(1, "QUEUING"),
            seen(6, "RUNNING"),
            seen(18, "CANCELING"),
            seen(20.2, "CANCELED", since=20),
        ],
    )
    assert phases(facts, EIGHT) == [(Phase.QUEUED, 0, 6), (Phase.RUNNING, 6, 18), (Phase.CANCELING, 18, 20)]
    with_log = attrs.evolve(facts, log=log_of([STAMP]))
    assert phases(with_log, EIGHT) == [
        (Phase.QUEUED, 0, 4),
        (Phase.RUNNING, 4, 18),
        (Phase.CANCELING, 18, 20),
    ]


def test_what_happened_between_two_looks_is_not_told_as_waiting() -> None:
    facts = attrs.evolve(
        known(log=NO_LOG), sightings=[seen(1, "QUEUING"), seen(20.2, "SUCCEEDED", since=9)]
    )
    assert phases(facts, EIGHT) == [(Phase.QUEUED, 0, 9), (Phase.UNDIVIDED, 9, 20)]


def test_the_log_tells_what_happened_between_two_looks() -> None:
    facts = attrs.evolve(known(), sightings=[seen(1, "QUEUING"), seen(20.2, "SUCCEEDED", since=9)])
    assert phases(facts, EIGHT) == [(Phase.QUEUED, 0, 4), (Phase.RUNNING, 4, 20)]


def test_a_job_first_seen_running_may_have_waited_before() -> None:
    facts = attrs.evolve(known(status="RUNNING", log=NO_LOG), sightings=[seen(10, "RUNNING")])
    assert phases(facts, EIGHT) == [(Phase.UNDIVIDED, 0, 10), (Phase.RUNNING, 10, 29.8)]


def test_a_job_without_times_is_on_the_timeline_only_where_it_was_watched() -> None:
    facts = attrs.evolve(
        known(log=NO_LOG, create_time=None, end_time=None),
        sightings=[seen(1, "RUNNING"), seen(5, "SUCCEEDED", since=4.9)],
    )
    assert phases(facts) == []
    assert phases(facts, EIGHT) == [(Phase.RUNNING, 1, 5)]
    assert end_of(facts, EIGHT) == CREATED + timedelta(minutes=5)
    assert end_of(facts, None) is None


def test_a_job_that_could_not_be_read_has_no_times() -> None:
    assert phases(JobFacts(job_id="ft-1", error="NotFound"), EIGHT) == []


def test_jobs_stand_in_the_order_of_their_creation_and_equal_names_get_their_ids() -> None:
    late = known("ft-2", job_name="bot", create_time=CREATED + timedelta(minutes=1))
    lost = JobFacts(job_id="ft-0", error="NotFound")
    early = known("ft-3", job_name="bot")
    assert [facts.job_id for facts in by_time([lost, late, early])] == ["ft-3", "ft-2", "ft-0"]
    assert labels_of([late, lost, early]) == {"ft-2": "bot · ft-2", "ft-0": "ft-0", "ft-3": "bot · ft-3"}


def test_seconds_of_holding_back_are_counted_once() -> None:
    at = NOW
    wait = WaitFacts(
        holds=[(at, 10.0), (at + timedelta(seconds=5), 10.0), (at + timedelta(seconds=60), 1.0)]
    )
    assert wait.held == 16.0


def test_a_difference_is_told_in_words() -> None:
    def words(hours: float) -> str:
        ahead = timedelta(hours=hours)
        return difference(Clock(ahead - timedelta(seconds=20), ahead + timedelta(seconds=20)))

    assert words(0) == "that of UTC"
    assert words(-4) == "4 h behind UTC"
    assert words(5.751) == "5 h 45 min ahead of UTC"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.43, "0.43 s"),
        (12, "12 s"),
        (1050, "17 min 30 s"),
        (11_100, "3 h 5 min"),
        (86_400, "1 d"),
    ],
)
def test_lengths_of_time_have_two_figures(seconds: float, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text
