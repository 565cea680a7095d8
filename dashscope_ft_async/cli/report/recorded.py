"""Reading the records of earlier waits (``wait --record``): any lines give facts, however they are cut."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, cast

import attrs

from dashscope_ft_async.cli.output import SCHEMA
from dashscope_ft_async.cli.report.facts import ANSWERED, THROTTLED, Asked, Sighting, WaitFacts, likely
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, JobStatus, safe_text

_POLL = "/fine-tunes/{job_id}"


@attrs.frozen(kw_only=True)
class Recorded:
    """What the records tell."""

    wait: WaitFacts
    job_ids: Sequence[str]
    """In the order in which they were met first."""
    sightings: Mapping[str, Sequence[Sighting]]
    snapshots: Mapping[str, tuple[datetime, FineTuneJob]]
    """The last one of each job, and when it was seen."""


@attrs.frozen
class _Line:
    at: datetime
    event: str
    job_id: str | None
    facts: Mapping[str, Any]


@attrs.define
class _Watched:
    """One job, while the lines go by."""

    looks: deque[datetime] = attrs.field(factory=lambda: deque[datetime](maxlen=2))
    sightings: list[Sighting] = attrs.field(factory=list[Sighting])
    snapshot: tuple[datetime, FineTuneJob] | None = None

    def seen(self, line: _Line) -> None:
        """A snapshot was told; the look that brought it is one line before."""
        word = line.facts.get("status")
        known = isinstance(word, str) and word in JobStatus.__members__
        status = JobStatus(cast("str", word)) if known else JobStatus.UNRECOGNIZED
        if word is not None and (not self.sightings or self.sightings[-1].status is not status):
            last = self.sightings[-1].at if self.sightings else None
            since = self.looks[0] if len(self.looks) == 2 else last
            self.sightings.append(Sighting(line.at, status, since))
        self.looks.append(line.at)
        job = _job_of(line)
        if job is not None:
            self.snapshot = (line.at, job)


def read(lines: Iterable[str | bytes]) -> Recorded:
    """What `lines` say, of one record or of several one after the other."""
    told: list[_Line] = []
    unread = 0
    for text in lines:
        line = _line_of(text)
        if line is not None:
            told.append(line)
        elif text.strip():
            unread += 1
    told.sort(key=lambda line: line.at)
    watched: defaultdict[str, _Watched] = defaultdict(_Watched)
    requests: list[Asked] = []
    retries: list[str] = []
    holds: list[tuple[datetime, float]] = []
    for line in told:
        match line.event:
            case "update" | "ended" | "error" if line.job_id is not None:
                watched[line.job_id].seen(line)
            case "request":
                requests.append(_asked(line))
                if line.job_id is not None and _is_look(line):
                    watched[line.job_id].looks.append(line.at)
            case "retrying":
                retries.append(safe_text(str(line.facts.get("reason") or "?"), 90))
            case "throttled":
                holds.append((line.at, _seconds(line)))
            case _:
                pass  # of a later version of this schema
    return Recorded(
        wait=WaitFacts(requests=requests, retries=retries, holds=holds, unread=unread),
        job_ids=[job_id for job_id, each in watched.items() if each.sightings or each.looks],
        sightings={job_id: each.sightings for job_id, each in watched.items()},
        snapshots={job_id: each.snapshot for job_id, each in watched.items() if each.snapshot is not None},
    )


def _line_of(text: str | bytes) -> _Line | None:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    facts = cast("dict[str, Any]", found)
    event, job_id, at = facts.get("event"), facts.get("job_id"), _time_of(facts.get("time"))
    known = facts.get("schema") == SCHEMA and isinstance(event, str) and at is not None
    if not known or not isinstance(job_id, str | None):
        return None
    return _Line(cast("datetime", at), cast("str", event), job_id, facts)


def _time_of(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if time is None or time.tzinfo is None else likely(time.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _is_look(line: _Line) -> bool:
    facts = line.facts
    return (facts.get("method"), facts.get("template"), facts.get("http_status")) == ("GET", _POLL, 200)


def _asked(line: _Line) -> Asked:
    status = line.facts.get("http_status")
    if not isinstance(status, int):
        outcome = safe_text(str(line.facts.get("error") or "no answer"), 60)
    elif status == 429:
        outcome = THROTTLED
    else:
        outcome = ANSWERED if status < 400 else f"HTTP {status}"
    return Asked(line.at, _seconds(line), outcome)


def _seconds(line: _Line) -> float:
    value = line.facts.get("seconds")
    sure = isinstance(value, int | float) and abs(value) < 1e9 and isfinite(value)
    return max(0.0, float(cast("float", value))) if sure else 0.0


def _job_of(line: _Line) -> FineTuneJob | None:
    """Return the snapshot in a line, or `None` if it has none that can be read."""
    found = line.facts.get("job")
    if not isinstance(found, dict) or line.job_id is None:
        return None
    try:
        return FineTuneJob.from_dict({**cast("dict[str, Any]", found), "job_id": line.job_id})
    except DashScopeFTError:
        return None
