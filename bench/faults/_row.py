"""What a row is, and short ways to write one."""

from __future__ import annotations

from typing import Literal

import attrs

from bench.faults.judging import Want
from tests.support.adversary import Answer, good, job_body, whole

ELSEWHERE = "/elsewhere"
"""The path to which a row redirects."""

RUNNING = whole(job_body("RUNNING"))
DONE = good


@attrs.frozen
class Row:
    """One way for an answer to go wrong."""

    group: str
    name: str
    answers: tuple[Answer, ...]
    want: Want
    nobody: Literal["", "refuses", "swallows"] = ""
    """What becomes of attempts to connect, where there is no server at all."""
    absent: float = 0.0
    """Seconds for which nobody listens, after the first answer."""


CARRY_ON = Want(kind="carry on")
DEADLINE = Want(kind="deadline")


def survived(group: str, name: str, *faults: Answer, want: Want = CARRY_ON) -> Row:
    """RUNNING, these faults, SUCCEEDED."""
    return Row(group, name, (RUNNING, *faults, DONE), want)


def at_first(group: str, name: str, *faults: Answer, want: Want = CARRY_ON) -> Row:
    """These faults, SUCCEEDED: the client has not seen the service well yet."""
    return Row(group, name, (*faults, DONE), want)


def stopped(group: str, name: str, told_as: str, status: int, *faults: Answer, seen: bool = True) -> Row:
    """The last of these for ever: to be told by a class of error, or by the number on a general one."""
    answers = (RUNNING, *faults) if seen else faults
    want = Want(kind="stop", told_as=(told_as,), status=status, requests=len(answers))
    return Row(group, name, answers, want)


def for_ever(group: str, name: str, *faults: Answer, want: Want = DEADLINE) -> Row:
    """RUNNING, then the last of these for ever."""
    return Row(group, name, (RUNNING, *faults), want)
