"""What a report is about: pure values, and what follows from them.

Every text in them comes from elsewhere; here it has become one printable line without anything that looks
like a key.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from dashscope_ft_async.models import FineTuneJob, JobStatus, TrainingMetric, safe_text

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} - [A-Z]+ - ", re.ASCII)
_LAST_LINES = 6
_YEARS = range(1970, 2200)
UNSEEN = "not seen"


@attrs.frozen
class Loss:
    """One figure of a log."""

    line: int
    """Number of the line, from 1."""
    step: int | None
    value: float
    validation: bool
    """Whether it is the loss on the validation data."""


@attrs.frozen(kw_only=True)
class Log:
    """What the log of a job says."""

    lines: int = 0
    began: datetime | None = None
    """The first stamp in it: when training began. Naive, on the service's clock."""
    losses: Sequence[Loss] = ()
    last_lines: Sequence[str] = ()
    error: str | None = None
    """Why it could not be read to its end."""


class LogReader:
    """Takes the lines of a log as they come, and keeps what a report tells of them."""

    def __init__(self) -> None:
        self._lines = 0
        self._began: datetime | None = None
        self._losses: list[Loss] = []
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def take(self, line: str) -> None:
        """The next line."""
        self._lines += 1
        self._last.append(safe_text(line.rstrip()))
        if self._began is None:
            self._began = _stamp_of(line)
        metric = TrainingMetric.from_line(line)
        if metric is not None:
            for value, validation in ((metric.loss, False), (metric.eval_loss, True)):
                if value is not None:
                    self._losses.append(Loss(self._lines, metric.step, value, validation))

    def log(self, error: str | None = None) -> Log:
        """What the lines said so far."""
        return Log(
            lines=self._lines,
            began=self._began,
            losses=tuple(self._losses),
            last_lines=tuple(self._last),
            error=None if error is None else safe_text(error),
        )


def _stamp_of(line: str) -> datetime | None:
    stamp = _STAMP.match(line)
    try:
        return None if stamp is None else likely(datetime.fromisoformat(stamp[1]))
    except ValueError:
        return None


def likely(time: datetime | None) -> datetime | None:
    """`time`, or `None` where it is no job's: at the ends of the calendar nothing can be added to it."""
    return None if time is None or time.year not in _YEARS else time


@attrs.frozen
class Sighting:
    """When a job was seen in another status than before, on our clock."""

    at: datetime
    status: JobStatus
    since: datetime | None
    """The last look before: the change came between the two. `None` where there was none."""


@attrs.frozen(kw_only=True)
class JobFacts:
    """One job, as far as it is known."""

    job_id: str
    """As given: to ask with, not to show."""
    job: FineTuneJob | None = None
    recorded_at: datetime | None = None
    """When `job` was seen, where it is only from a record: the service could not be asked."""
    error: str | None = None
    """Why the service could not be asked."""
    log: Log = Log()
    sightings: Sequence[Sighting] = ()

    @property
    def id(self) -> str:
        """The id to show."""
        return safe_text(self.job_id)

    @property
    def label(self) -> str:
        """What people call it: its name, else its id."""
        return safe_text((self.job.job_name if self.job is not None else None) or self.job_id, 60)

    @property
    def status(self) -> str:
        """The status to show."""
        if self.job is None:
            return UNSEEN
        known = self.job.status is not JobStatus.UNRECOGNIZED
        return self.job.status.value if known else safe_text(self.job.raw_status, 40)

    @property
    def model(self) -> str:
        """The model that is tuned."""
        return safe_text((self.job.model if self.job is not None else None) or "")

    @property
    def output(self) -> str:
        """The model that came of it; a name is reserved long before there is one."""
        there = self.job is not None and self.job.succeeded
        return safe_text((self.job.finetuned_output if self.job is not None and there else None) or "")

    @property
    def reason(self) -> str:
        """Why it failed, as far as the job says it."""
        failure = None if self.job is None else self.job.failure
        said = () if failure is None else (failure.code, failure.message)
        return safe_text(": ".join(part for part in said if part), 500)

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.job is not None and self.job.is_terminal

    @property
    def created(self) -> datetime | None:
        """As the service writes it."""
        return None if self.job is None else _as_written(self.job.create_time)

    @property
    def end(self) -> datetime | None:
        """As the service writes it; `None` where it is not after the creation."""
        end = _as_written(self.job.end_time) if self.job is not None and self.ended else None
        return None if end is None or (self.created is not None and end < self.created) else end

    @property
    def began(self) -> datetime | None:
        """When training began, by the log; `None` where that does not fit the job's other times."""
        began, created, end = self.log.began, self.created, self.end
        if began is None or (created is not None and began < created):
            return None
        return None if end is not None and began > end else began

    @property
    def duration(self) -> timedelta | None:
        """From creation to end."""
        known = self.created is not None and self.end is not None
        return self.job.duration if self.job is not None and known else None

    @property
    def queued(self) -> timedelta | None:
        """From creation to the beginning of training."""
        return _between(self.created, self.began)

    @property
    def trained(self) -> timedelta | None:
        """From the beginning of training to the end."""
        return _between(self.began, self.end)

    @property
    def tokens(self) -> int | None:
        """What the service calls usage."""
        return None if self.job is None else self.job.usage

    @property
    def checkpoints(self) -> str:
        """How many there are, and of how many at most."""
        if self.job is None or self.job.output_cnt is None:
            return ""
        most = self.job.max_output_cnt
        return str(self.job.output_cnt) if most is None else f"{self.job.output_cnt} of {most}"

    def last_loss(self, *, validation: bool = False) -> float | None:
        """The newest figure in the log."""
        found = (loss.value for loss in reversed(self.log.losses) if loss.validation is validation)
        return next(found, None)


@attrs.frozen
class Asked:
    """A request of a recorded wait, and what came of it."""

    at: datetime
    """When it was over, UTC."""
    seconds: float
    outcome: str
    """``answered``, ``throttled``, ``HTTP 503``, or the name of the error that came instead."""

    @property
    def group(self) -> str:
        """``answered``, ``throttled``, ``refused or failed`` or ``no answer``."""
        if self.outcome in (ANSWERED, THROTTLED):
            return self.outcome
        return FAILED if self.outcome.startswith("HTTP ") else NO_ANSWER


ANSWERED, THROTTLED, FAILED, NO_ANSWER = GROUPS = (
    "answered",
    "throttled",
    "refused or failed",
    "no answer",
)


@attrs.frozen(kw_only=True)
class WaitFacts:
    """What records tell of waits: polls and faults."""

    requests: Sequence[Asked] = ()
    retries: Sequence[str] = ()
    """For each attempt that was followed by another one, what had gone wrong."""
    holds: Sequence[tuple[datetime, float]] = ()
    """When no request went out because of the account's rate, and for how many seconds."""
    unread: int = 0
    """Lines that could not be read."""

    @property
    def outcomes(self) -> Counter[str]:
        """How many requests ended in which way."""
        return Counter(asked.outcome for asked in self.requests)

    @property
    def reasons(self) -> Counter[str]:
        """How often which fault was met by another attempt."""
        return Counter(self.retries)

    @property
    def held(self) -> float:
        """Seconds in which requests were held back, counted once."""
        total, until = 0.0, None
        for at, seconds in sorted(self.holds):
            end = at + timedelta(seconds=seconds)
            begin = at if until is None else max(at, until)
            total += max(0.0, (end - begin).total_seconds())
            until = end if until is None else max(until, end)
        return total


@attrs.frozen(kw_only=True)
class Facts:
    """All that a report tells."""

    made_at: datetime
    """UTC."""
    jobs: Sequence[JobFacts]
    wait: WaitFacts | None = None

    @property
    def tally(self) -> Counter[str]:
        """How many jobs are in which status."""
        return Counter(facts.status for facts in self.jobs)


def by_time(jobs: Iterable[JobFacts]) -> list[JobFacts]:
    """The oldest first; those whose time is not known behind them, in the order given."""
    return sorted(jobs, key=lambda facts: (facts.created is None, facts.created or datetime.max))  # noqa: DTZ901


def labels_of(jobs: Sequence[JobFacts]) -> dict[str, str]:
    """A label for each id; where names are not unique, the ids stand with them."""
    count = Counter(facts.label for facts in jobs)
    return {
        facts.job_id: facts.label if count[facts.label] == 1 else f"{facts.label} · {facts.id}"
        for facts in jobs
    }


def _as_written(time: datetime | None) -> datetime | None:
    # The service names no zone; where it should name one, the clock on the wall is what it shows.
    return likely(None if time is None else time.replace(tzinfo=None))


def _between(earlier: datetime | None, later: datetime | None) -> timedelta | None:
    if earlier is None or later is None or later < earlier:
        return None
    return later - earlier
