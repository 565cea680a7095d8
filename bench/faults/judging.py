"""What a careful user wants of a wait, what was seen, and the difference. Pure."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

Kind: TypeAlias = Literal["carry on", "stop", "deadline"]

TIMED_OUT = ("WaitTimeoutError", "TimeoutError")
"""Classes that say that a wait's time was up. The official SDK has none for it, only words."""


@attrs.frozen(kw_only=True)
class Want:
    """What a careful user wants of one row."""

    kind: Kind
    word: str | None = "SUCCEEDED"
    """How the job ends; `None` where any end will do."""
    told_as: tuple[str, ...] = ()
    """Classes of error that are right: of a stop; or in place of a job that ended badly."""
    status: int | None = None
    """The number that is right on an error whose class only says "HTTP"."""
    requests: int | None = None
    """Requests that may be made, at most."""
    not_before: float = 0.0
    """Seconds that the service asked to stay away after its refusal, the last answer but one."""
    not_later: float | None = None
    """Seconds after the refusal by which a next request is expected."""
    megabytes: float | None = None
    """Memory that may be taken, at most."""

    def __str__(self) -> str:
        if self.kind == "stop":
            return f"stop at once: {self.told_as[0]}"
        if self.kind == "deadline":
            return "end at the deadline" + (", not asking again" if self.requests else "")
        text = "carry on" if self.word == "SUCCEEDED" else f"return it, {self.word or 'ended'}"
        if self.not_before:
            text += f", asking again after {self.not_before:g} s"
        if self.megabytes:
            text += f", within {self.megabytes:g} MB"
        return text


@attrs.frozen(kw_only=True)
class Seen:
    """What one wait on one row did."""

    seconds: float
    deadline: float
    grace: float
    """Seconds by which a deadline may be missed: one request, and a little for the machine."""
    cut: bool = False
    """Whether it was still going long after its deadline, and was cancelled by us."""
    word: str | None = None
    """The status of the job it returned; `None` where it raised."""
    job_id: str | None = None
    error: str | None = None
    """The class of what it raised."""
    text: str = ""
    status: int | None = None
    """The HTTP status that the error carries."""
    times: tuple[float, ...] = ()
    """When each request came."""
    elsewhere: int = 0
    """Requests made at a place it was redirected to."""
    megabytes: float = 0.0
    leaks: tuple[str, ...] = ()
    """What was left behind: the key, tasks, connections."""


def judge(want: Want, seen: Seen, job_id: str) -> tuple[str, ...]:
    """What was not as wanted, the worst first; nothing if all was."""
    wrong = [_ending(want, seen, job_id)]
    if seen.elsewhere:
        wrong.append("follows the redirect")
    if want.requests is not None and len(seen.times) > want.requests and seen.word is None:
        wrong.append(f"asks {len(seen.times) - want.requests} times too often")
    wrong.append(_pause(want, seen))
    if want.megabytes is not None and seen.megabytes > want.megabytes:
        wrong.append(f"takes more than {want.megabytes:g} MB")
    return tuple(dict.fromkeys(text for text in [*wrong, *seen.leaks] if text))


def _ending(want: Want, seen: Seen, job_id: str) -> str:
    if seen.cut:
        return "hangs"
    late = seen.seconds - seen.deadline
    if late > seen.grace:
        return f"ends {late:.0f} s after the deadline, {_told(seen)}"
    if seen.error is None:
        return _returned(want, seen, job_id)
    timed_out = seen.error in TIMED_OUT or (
        seen.error == "DashScopeError" and seen.text.startswith("<DashScopeError> timed out after")
    )
    at_the_deadline = timed_out and late > -0.05
    if want.kind == "deadline":
        return "" if at_the_deadline else f"gives up early, {_told(seen)}"
    if at_the_deadline:
        return "goes on to the deadline"
    if want.kind == "carry on" and want.word != "SUCCEEDED" and seen.error in want.told_as:
        return ""
    if want.kind == "stop" and _is_told_right(want, seen):
        return ""
    return f"stops, {_told(seen)}"


def _returned(want: Want, seen: Seen, job_id: str) -> str:
    if seen.job_id != job_id:
        return f"returns job {seen.job_id}"
    if want.kind != "carry on" or want.word not in (None, seen.word):
        return f"returns it, {seen.word}"
    return ""


def _is_told_right(want: Want, seen: Seen) -> bool:
    if seen.error in want.told_as:
        return True
    return seen.error == "ClientResponseError" and want.status is not None and seen.status == want.status


def _told(seen: Seen) -> str:
    if seen.error is None:
        return f"returning it, {seen.word}"
    return f"{seen.error} ({seen.status})" if seen.error == "ClientResponseError" else seen.error


def _pause(want: Want, seen: Seen) -> str:
    refused = 1
    if len(seen.times) <= refused + 1:
        return ""
    pause = seen.times[refused + 1] - seen.times[refused]
    if pause < want.not_before - 0.005:
        return f"asks again after {pause:.1f} s"
    if want.not_later is not None and pause > want.not_later:
        return f"asks again only after {pause:.0f} s"
    return ""
