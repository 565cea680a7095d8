"""When a job was what: pure.

Two clocks take part. The service writes its times without a zone; a record has ours, in UTC. They are put
on one line only where ends that were watched tell how far one is ahead of the other. Otherwise the
timeline is the service's alone, and where a running job is on it now is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import attrs

from dashscope_ft_async.cli.report.facts import JobFacts, Sighting
from dashscope_ft_async.models import JobStatus

_SURE = timedelta(minutes=5)
"""A difference known less closely than this is not used."""
_A_SECOND = timedelta(seconds=1)  # the service's times have whole ones


@attrs.frozen
class Clock:
    """How far the service's clock is ahead of UTC."""

    least: timedelta
    most: timedelta

    @property
    def ahead(self) -> timedelta:
        """The middle of what is possible."""
        return self.least + (self.most - self.least) / 2

    def on_it(self, at: datetime) -> datetime:
        """`at`, which has a zone, as the service would write it."""
        return at.astimezone(UTC).replace(tzinfo=None) + self.ahead


def clock_of(jobs: Iterable[JobFacts]) -> Clock | None:
    """How far the service is ahead, by the ends that were seen between two looks; `None` if not surely."""
    least: list[timedelta] = []
    most: list[timedelta] = []
    for facts in jobs:
        seen = next((sighting for sighting in facts.sightings if sighting.status.is_terminal), None)
        if facts.end is not None and seen is not None and seen.since is not None:
            least.append(facts.end - seen.at.astimezone(UTC).replace(tzinfo=None))
            most.append(facts.end + _A_SECOND - seen.since.astimezone(UTC).replace(tzinfo=None))
    if not least:
        return None
    # Ends told a little late make the narrowest windows miss each other: the truth is near both.
    between = sorted((max(least), min(most)))
    return Clock(*between) if between[1] - between[0] <= _SURE else None


class Phase(StrEnum):
    """What a job was for a time."""

    QUEUED = "Queued"
    UNDIVIDED = "Queued or running"
    """The service does not say when training began, and neither does the log."""
    RUNNING = "Running"
    CANCELING = "Canceling"
    OTHER = "Other"


@attrs.frozen
class Span:
    """A time in one phase, on the service's clock."""

    phase: Phase
    start: datetime
    end: datetime | None
    """`None`: it goes on, and what time the service has now is not known."""


_BEFORE = (Phase.QUEUED, Phase.UNDIVIDED)
_PHASE_OF = {
    JobStatus.PENDING: Phase.QUEUED,
    JobStatus.QUEUING: Phase.QUEUED,
    JobStatus.RUNNING: Phase.RUNNING,
    JobStatus.CANCELING: Phase.CANCELING,
}


def spans_of(facts: JobFacts, clock: Clock | None, now: datetime) -> Sequence[Span]:
    """The phases of a job in order; `now` has a zone. Empty where no time of it is known."""
    seen = [] if clock is None else _seen(facts.sightings, clock)
    start = facts.created or (seen[0][0] if seen else None)
    if start is None or facts.job is None:
        return ()
    end = facts.end if facts.ended else None if clock is None else clock.on_it(facts.recorded_at or now)
    if facts.ended and end is None:
        end = next((at for at, phase in seen if phase is None), start)
    changes = _changes(facts, start, seen)
    inside = [(at, phase) for at, phase in changes if end is None or at < end]
    if not inside:
        return ()
    ends = [*(at for at, _ in inside[1:]), end]
    spans = [Span(phase, at, until) for (at, phase), until in zip(inside, ends, strict=True)]
    return [span for span in spans if span.end != span.start]


def _seen(sightings: Iterable[Sighting], clock: Clock) -> list[tuple[datetime, Phase | None]]:
    """When which phase was seen first; `None` stands for the end."""
    seen: list[tuple[datetime, Phase | None]] = []
    for each in sightings:
        if not each.status.is_terminal:
            seen.append((clock.on_it(each.at), _PHASE_OF.get(each.status, Phase.OTHER)))
            continue
        if seen and seen[-1][1] is Phase.QUEUED:
            # It trained between two looks, or not at all.
            seen.append((clock.on_it(each.since or each.at), Phase.UNDIVIDED))
        seen.append((clock.on_it(each.at), None))
    return seen


def _changes(
    facts: JobFacts, start: datetime, seen: Sequence[tuple[datetime, Phase | None]]
) -> list[tuple[datetime, Phase]]:
    """Which phase began when, from `start` on."""
    changes = [(max(at, start), phase) for at, phase in seen if phase is not None]
    if facts.began is not None:
        # The log is more exact than looks from outside, and waiting comes before training.
        behind = [change for change in changes if change[0] > facts.began and change[1] not in _BEFORE]
        changes = [(start, Phase.QUEUED), (facts.began, Phase.RUNNING), *behind]
    elif not changes or (changes[0][0] > start and changes[0][1] is not Phase.QUEUED):
        now = Phase.UNDIVIDED if facts.job is None else _PHASE_OF.get(facts.job.status)
        waiting = not changes and now is Phase.QUEUED
        changes.insert(0, (start, Phase.QUEUED if waiting else Phase.UNDIVIDED))
    else:
        changes[0] = (start, changes[0][1])
    return [
        change
        for before, change in zip([None, *changes], changes, strict=False)
        if _differs(before, change)
    ]


def _differs(before: tuple[datetime, Phase] | None, change: tuple[datetime, Phase]) -> bool:
    return before is None or before[1] is not change[1]


def end_of(facts: JobFacts, clock: Clock | None) -> datetime | None:
    """When the job ended, on the service's clock."""
    if not facts.ended or facts.end is not None or clock is None:
        return facts.end
    return next((clock.on_it(each.at) for each in facts.sightings if each.status.is_terminal), None)
