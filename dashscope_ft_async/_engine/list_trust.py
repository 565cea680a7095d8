"""Pure: what a client may conclude from list pages, learned by comparing their rows with GETs.

A row and a GET of the same job agree if all fields are equal but `request_id`. `next_trust` is the decision
table of docs/explanation/coalescing.md, which the tests execute from there:

- UNPROVEN: every end that a page shows is confirmed by a GET, and every job gets a GET at least every five
  minutes.
- CONSISTENT: several samples in a row agreed, of jobs in any status. Jobs get GETs of their own less often.
- PROVEN: several ends in a row agreed. A complete terminal row is the answer; a few are still confirmed.
- GIVEN_UP: the list disagreed again after a first disagreement. No page is requested by this client.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import attrs

from dashscope_ft_async.models import FineTuneJob, JobStatus, safe_text
from dashscope_ft_async.models.limits import (
    AGREEMENTS_FOR_PROOF,
    DISAGREEMENTS_ALLOWED,
    OWN_GET_LONGEST,
    OWN_GET_SHARE,
    OWN_GET_UNPROVEN,
    SAMPLE_EVERY,
)

_COMPARED = tuple(field.name for field in attrs.fields(FineTuneJob) if field.name != "request_id")
_MOVING = frozenset({"raw_status", "status", "usage", "output_cnt", "modifier", "extra"})
"""Fields of a running job that may differ between two looks."""
_PROGRESS = {
    JobStatus.PENDING: 0,
    JobStatus.QUEUING: 1,
    JobStatus.RUNNING: 2,
    JobStatus.CANCELING: 3,
}


class ListState(StrEnum):
    """How far the list is trusted."""

    UNPROVEN = "unproven"
    CONSISTENT = "consistent"
    PROVEN = "proven"
    GIVEN_UP = "given up"


class Meaning(StrEnum):
    """What a row means for the waits of a job."""

    PROGRESS = "the job has not ended"
    END = "the job has ended: the row is the answer"
    HELD_END = "the job has ended, if a sample that is being confirmed agrees"
    UNCONFIRMED_END = "the job has ended, if a GET confirms it"


class Evidence(StrEnum):
    """What a comparison of a row with a GET showed."""

    SAMPLE_AGREES = "a running job agrees"
    END_AGREES = "an end agrees"
    DISAGREES = "a disagreement"


@attrs.frozen
class Trust:
    """How far the list is trusted, and the evidence for it since the last disagreement."""

    state: ListState = ListState.UNPROVEN
    agreements: int = 0
    """Samples and ends that agreed in a row."""
    ends: int = 0
    """Ends among them."""
    disagreements: int = 0
    """In the life of the client."""


def next_trust(trust: Trust, evidence: Evidence) -> Trust:
    """The trust after one more piece of evidence."""
    if trust.state is ListState.GIVEN_UP:
        return trust
    if evidence is Evidence.DISAGREES:
        disagreements = trust.disagreements + 1
        given_up = disagreements > DISAGREEMENTS_ALLOWED
        return Trust(ListState.GIVEN_UP if given_up else ListState.UNPROVEN, 0, 0, disagreements)
    agreements = trust.agreements + 1
    ends = trust.ends + (evidence is Evidence.END_AGREES)
    state = ListState.UNPROVEN
    if ends >= AGREEMENTS_FOR_PROOF:
        state = ListState.PROVEN
    elif agreements >= AGREEMENTS_FOR_PROOF:
        state = ListState.CONSISTENT
    return Trust(state, agreements, ends, trust.disagreements)


def longest_time_without_get(trust: Trust, age: float) -> float:
    """Seconds after which a job that pages show gets a GET of its own; `age` is that of its wait."""
    if trust.state is ListState.UNPROVEN:
        return OWN_GET_UNPROVEN
    return min(OWN_GET_LONGEST, max(OWN_GET_UNPROVEN, OWN_GET_SHARE * age))


def is_backward(row: FineTuneJob, known: FineTuneJob) -> bool:
    """Whether a row shows an earlier part of a job's life than is known."""
    if row.is_terminal:
        return False
    return known.is_terminal or _PROGRESS.get(row.status, 9) < _PROGRESS.get(known.status, -1)


def difference(row: FineTuneJob, fetched: FineTuneJob) -> str | None:
    """The first field in which a row differs from the GET of a job that has ended; `None` if they agree."""
    return next((name for name in _COMPARED if getattr(row, name) != getattr(fetched, name)), None)


def missing_knowledge(row: FineTuneJob, fetched: FineTuneJob) -> str | None:
    """The first field of a running job that a later row does not know although an earlier GET did; `None`
    if the row knows as much."""
    if is_backward(row, fetched):
        return "status"
    for name in _COMPARED:
        known, shown = getattr(fetched, name), getattr(row, name)
        if known not in (None, (), {}) and (shown != known if name not in _MOVING else shown is None):
            return name
    return None


class ListTrust:
    """The trust of one client in its list, and what makes a terminal row complete."""

    def __init__(self, *, confirm_all: bool) -> None:
        self._confirm_all = confirm_all
        self._fields: dict[JobStatus, frozenset[str]] = {}
        self._ends_believed = 0
        self.samples: set[str] = set()
        """Ids of the jobs whose ends are being confirmed as samples."""
        self.trust = Trust()
        self.reason: str | None = None
        """The last disagreement, with both sides named."""

    def record_end(self, row: FineTuneJob, fetched: FineTuneJob) -> None:
        """Record a confirmation: the row that showed an end, and the GET of the same job."""
        if not fetched.is_terminal:
            self.record_disagreement(row.job_id, "status", row.raw_status, fetched.raw_status)
            return
        present = frozenset(name for name in _COMPARED if getattr(fetched, name) not in (None, (), {}))
        self._fields[fetched.status] = self._fields.get(fetched.status, present) & present
        if row.succeeded and row.finetuned_output is None:
            return  # the service may add the name a moment after the end: the list is not to blame
        name = difference(row, fetched)
        if name is None:
            self.trust = next_trust(self.trust, Evidence.END_AGREES)
        else:
            self.record_disagreement(row.job_id, name, getattr(row, name), getattr(fetched, name))

    def record_sample(self, row: FineTuneJob, fetched: FineTuneJob) -> None:
        """Record a row of a running job that was requested after the GET of the same job."""
        name = missing_knowledge(row, fetched)
        if name is not None:
            self.record_disagreement(row.job_id, name, getattr(row, name), getattr(fetched, name))
        elif row.raw_status == fetched.raw_status:
            self.trust = next_trust(self.trust, Evidence.SAMPLE_AGREES)

    def record_disagreement(self, job_id: str, name: str, listed: object, fetched: object) -> None:
        """Record that a page contradicted a GET."""
        self.trust = next_trust(self.trust, Evidence.DISAGREES)
        listed, fetched = safe_text(repr(listed)), safe_text(repr(fetched))
        self.reason = f"job {job_id}: a page shows {name} {listed}, its GET {fetched}"

    def meanings(self, ends: Sequence[FineTuneJob]) -> list[Meaning]:
        """What rows that show ends, and arrived together, mean.

        Complete rows of a proven list are answers, until a sample is due: then the sample is confirmed by a
        GET, and the others are held until it agrees. So a list that turns bad is found out before more than
        `SAMPLE_EVERY` - 1 of its rows were believed, however many arrive at once.
        """
        complete = [not self._confirm_all and self.is_complete(job) for job in ends]
        due = (self._ends_believed + sum(complete)) // SAMPLE_EVERY - self._ends_believed // SAMPLE_EVERY
        self._ends_believed += sum(complete)
        held = due > 0 or bool(self.samples)
        found: list[Meaning] = []
        for job, is_complete in zip(ends, complete, strict=True):
            if not is_complete:
                found.append(Meaning.UNCONFIRMED_END)
            elif due > 0:
                due -= 1
                self.samples.add(job.job_id)
                found.append(Meaning.UNCONFIRMED_END)
            else:
                found.append(Meaning.HELD_END if held else Meaning.END)
        return found

    def is_complete(self, row: FineTuneJob) -> bool:
        """Whether the list is proven, and a terminal row has the fields that confirmed jobs of its status
        had."""
        if self.trust.state is not ListState.PROVEN or row.status not in self._fields:
            return False
        if row.succeeded and row.finetuned_output is None:
            return False
        return all(getattr(row, name) not in (None, (), {}) for name in self._fields[row.status])
