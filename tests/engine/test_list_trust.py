"""What a client may conclude from list pages: the documented table, comparison of rows, completeness."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async._engine.list_trust import (
    Evidence,
    ListState,
    ListTrust,
    Meaning,
    Trust,
    difference,
    longest_time_without_get,
    missing_knowledge,
    next_trust,
)
from tests.support.paths import ROOT
from tests.support.scheduler_world import job

PAGE = ROOT / "docs/explanation/coalescing.md"
END = datetime.fromisoformat("2026-01-05 10:52:40")


def rows() -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").partition("table of transitions:")[2].partition("\n\nA ")[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in table[2:]]


@pytest.mark.parametrize(("state", "counts", "before", "evidence", "then"), rows())
def test_the_documented_transitions(state: str, counts: str, before: str, evidence: str, then: str) -> None:
    agreements, ends = map(int, counts.split(","))
    trust = Trust(ListState(state), agreements, ends, int(before))

    after = next_trust(trust, Evidence(evidence))

    assert after.state is ListState(then)
    if evidence == Evidence.DISAGREES and state != ListState.GIVEN_UP:
        assert (after.agreements, after.ends) == (0, 0)


def test_the_table_has_every_state_and_all_evidence() -> None:
    assert {state for state, *_ in rows()} == set(ListState)
    assert {row[3] for row in rows()} == set(Evidence)


@pytest.mark.parametrize(
    ("state", "age", "longest"),
    [
        (ListState.UNPROVEN, 36_000, 300),
        (ListState.CONSISTENT, 60, 300),
        (ListState.CONSISTENT, 21_600, 2_160),
        (ListState.PROVEN, 21_600, 2_160),
        (ListState.PROVEN, 1e6, 3_600),
    ],
)
def test_a_job_gets_a_get_of_its_own_after_a_share_of_its_age(
    state: ListState, age: float, longest: float
) -> None:
    assert longest_time_without_get(Trust(state), age) == longest


def ended(status: JobStatus = JobStatus.SUCCEEDED, **fields: Any) -> FineTuneJob:
    return job(
        str(fields.pop("job_id", "ft-1")),
        status,
        **({"end_time": END, "usage": 7, "request_id": "r-1"} | fields),
    )


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (ended(), None),
        (ended(request_id="r-2"), None),
        (ended(usage=None), "usage"),
        (ended(usage=8), "usage"),
        (ended(end_time=None), "end_time"),
        (ended(finetuned_output="another"), "finetuned_output"),
        (ended(message="why"), "message"),
        (ended(hyper_parameters={"n": 1}), "hyper_parameters"),
    ],
)
def test_an_end_agrees_if_every_field_but_the_request_id_is_equal(
    row: FineTuneJob, found: str | None
) -> None:
    assert difference(row, ended()) == found


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (job("ft-1", usage=8), None),
        (job("ft-1", usage=None), "usage"),
        (job("ft-1", JobStatus.QUEUING, usage=7), "status"),
        (job("ft-1", usage=7, model="qwen"), None),
        (job("ft-1", JobStatus.CANCELING, usage=7), None),
    ],
)
def test_a_later_row_of_a_running_job_must_not_know_less(row: FineTuneJob, found: str | None) -> None:
    assert missing_knowledge(row, job("ft-1", usage=7)) == found


def proven(**options: Any) -> ListTrust:
    trust = ListTrust(confirm_all=False)
    for status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        for _ in range(5):
            trust.record_end(ended(status, **options), ended(status, **options))
    assert trust.trust.state is ListState.PROVEN
    return trust


@pytest.mark.parametrize(
    ("row", "complete"),
    [
        (ended(), True),
        (ended(JobStatus.FAILED), True),
        (ended(JobStatus.FAILED, end_time=None), False),
        (ended(usage=None), False),
        (ended(finetuned_output=None), False),
        (ended(JobStatus.CANCELED), False),  # no job with this status was confirmed yet
    ],
)
def test_a_row_is_complete_if_it_has_what_confirmed_jobs_of_its_status_had(
    row: FineTuneJob, complete: bool
) -> None:
    assert proven().is_complete(row) is complete


def test_what_some_confirmed_jobs_lacked_is_not_required_of_a_row() -> None:
    trust = proven()
    without = ended(JobStatus.FAILED, usage=None)
    trust.record_end(without, without)

    assert trust.is_complete(without)


def test_one_end_in_twenty_of_a_proven_list_is_confirmed() -> None:
    trust = proven()
    found: list[Meaning] = []
    for _ in range(60):
        found += trust.meanings([ended()])
        trust.samples.clear()

    assert [n for n, meaning in enumerate(found, 1) if meaning is not Meaning.END] == [20, 40, 60]


def test_ends_that_come_together_are_held_until_their_samples_agree() -> None:
    trust = proven()
    together = [ended(job_id=f"ft-{n}") for n in range(45)]

    found = trust.meanings(together)
    later = trust.meanings([ended()])

    assert found == [Meaning.UNCONFIRMED_END] * 2 + [Meaning.HELD_END] * 43
    assert trust.samples == {"ft-0", "ft-1"}
    assert later == [Meaning.HELD_END]


def test_to_confirm_all_is_to_believe_none() -> None:
    trust = ListTrust(confirm_all=True)
    for _ in range(9):
        trust.record_end(ended(), ended())

    assert trust.meanings([ended()] * 30) == [Meaning.UNCONFIRMED_END] * 30


def test_a_name_that_comes_late_is_no_disagreement() -> None:
    trust = ListTrust(confirm_all=False)

    trust.record_end(ended(finetuned_output=None), ended())

    assert trust.trust == Trust()


def test_a_disagreement_names_both_sides_and_no_key() -> None:
    trust = proven()
    secret = "sk-0123456789abcdef"

    trust.record_end(ended(message=secret), ended())

    assert trust.trust.state is ListState.UNPROVEN
    assert trust.reason is not None
    assert re.search(r"job ft-1: a page shows message '.*', its GET None", trust.reason)
    assert secret not in trust.reason
