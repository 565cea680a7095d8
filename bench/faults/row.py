"""A row of the fault table, and short ways to write one.

A server gives its n-th request the n-th response of the row, and the last one to all later requests.
"""

from __future__ import annotations

from typing import Literal

import attrs

from bench.faults.judging import Expected
from tests.support.adversary import Answer, job_body, whole

ELSEWHERE = "/elsewhere"
"""The path to which a row redirects."""


def job(status: str = "SUCCEEDED", **fields: object) -> bytes:
    """The documented JSON of a job, with the name of its model."""
    return job_body(status, **({"finetuned_output": "qwen-ft-1"} | fields))


RUNNING = whole(job("RUNNING"))
SUCCEEDED = whole(job())

RETURN = Expected(kind="return")
TIME_OUT = Expected(kind="time out")


@attrs.frozen
class Row:
    """One way in which responses go wrong."""

    name: str
    responses: tuple[Answer, ...]
    expected: Expected
    group: str = ""
    connect: Literal["", "refused", "ignored"] = ""
    """What happens to attempts to connect where there is no server."""
    absent: float = 0.0
    """Seconds for which the server refuses connections after its first response."""


def group(name: str, *rows: Row) -> tuple[Row, ...]:
    """The rows as a group of this name."""
    return tuple(attrs.evolve(row, group=name) for row in rows)


def midway(name: str, *faults: Answer, expected: Expected = RETURN) -> Row:
    """The job is RUNNING, the faults happen, the job is SUCCEEDED."""
    return Row(name, (RUNNING, *faults, SUCCEEDED), expected)


def first(name: str, *faults: Answer) -> Row:
    """The faults happen at the first requests, then the job is SUCCEEDED."""
    return Row(name, (*faults, SUCCEEDED), RETURN)


def ends(name: str, response: Answer, status: str | None = "SUCCEEDED") -> Row:
    """The job is RUNNING, then the response says that it has ended. `None`: any status will do."""
    return Row(name, (RUNNING, response), attrs.evolve(RETURN, status=status, errors=("DashScopeError",)))


def forever(name: str, fault: Answer, *, expected: Expected = TIME_OUT) -> Row:
    """The job is RUNNING, then the fault happens at every request."""
    return Row(name, (RUNNING, fault), expected)


def raises(
    name: str, error: str, http_status: int, fault: Answer, *, at_first: bool = False, attempts: int = 1
) -> Row:
    """The fault happens at every request, and is to raise after so many of them."""
    responses = (fault,) if at_first else (RUNNING, fault)
    requests = attempts if at_first else attempts + 1
    errors = tuple(error.split(" or "))
    return Row(
        name, responses, Expected("raise", errors=errors, http_status=http_status, requests=requests)
    )
