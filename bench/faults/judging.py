"""What is expected of a wait, what it did, and the differences in words. No I/O."""

from __future__ import annotations

from typing import Literal

import attrs

TIMEOUTS = ("WaitTimeoutError", "TimeoutError")
"""Errors of a wait whose time is up. The official SDK has no class for it, only a message."""


@attrs.frozen
class Expected:
    """What a careful user expects of a wait."""

    kind: Literal["return", "raise", "time out"]
    status: str | None = attrs.field(default="SUCCEEDED", kw_only=True)
    """The status of the job that is returned; `None`: any."""
    errors: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Names of errors that are right: of a raise, or instead of returning a job that did not succeed."""
    http_status: int | None = attrs.field(default=None, kw_only=True)
    """The HTTP status that makes aiohttp's general error right too."""
    requests: int | None = attrs.field(default=None, kw_only=True)
    """Requests that may be sent, at most."""
    not_before: float = attrs.field(default=0.0, kw_only=True)
    """Seconds after the second request before which no third one may be sent."""
    not_later: float | None = attrs.field(default=None, kw_only=True)
    """Seconds after the second request within which the third one is expected."""
    megabytes: float | None = attrs.field(default=None, kw_only=True)
    """Memory that may be used, at most."""

    def __str__(self) -> str:
        if self.kind == "raise":
            return f"raise {self.errors[0]}"
        if self.kind == "time out":
            return "raise at the deadline" + (", without another request" if self.requests else "")
        text = "return the job" + ("" if self.status == "SUCCEEDED" else f", {self.status or 'ended'}")
        if self.not_before:
            text += f"; next request after {self.not_before:g} s"
        if self.megabytes:
            text += f"; use at most {self.megabytes:g} MB"
        return text


@attrs.frozen(kw_only=True)
class Observed:
    """What one wait did."""

    seconds: float
    deadline: float
    tolerance: float
    """Seconds by which the deadline may be missed: those of one request, and a little for the machine."""
    hung: bool = False
    """Whether it had to be cancelled, long after its deadline."""
    status: str | None = None
    """The status of the job that it returned; `None` if it raised."""
    job_id: str | None = None
    error: str | None = None
    """The name of the class of the error that it raised."""
    text: str = ""
    http_status: int | None = None
    """The HTTP status that the error carries."""
    times: tuple[float, ...] = ()
    """When each request arrived."""
    redirected: int = 0
    """Requests sent to the address of a redirect."""
    megabytes: float = 0.0
    leaks: tuple[str, ...] = ()
    """What was left or shown: the API key, tasks, connections."""


def judge(expected: Expected, observed: Observed, job_id: str) -> tuple[str, ...]:
    """Return the differences, the worst first; empty if there is none."""
    found = [_outcome(expected, observed, job_id)]
    if observed.redirected:
        found.append("follows the redirect")
    if expected.requests is not None and observed.status is None:
        surplus = len(observed.times) - expected.requests
        found.append(f"requests: {surplus} too many" if surplus > 0 else "")
    found.append(_pause(expected, observed))
    if expected.megabytes is not None and observed.megabytes > expected.megabytes:
        found.append(f"uses more than {expected.megabytes:g} MB")
    return tuple(dict.fromkeys(text for text in [*found, *observed.leaks] if text))


def _outcome(expected: Expected, observed: Observed, job_id: str) -> str:
    if observed.hung:
        return "hangs"
    late = observed.seconds - observed.deadline
    what = _named(observed)
    if late > observed.tolerance:
        return f"ends {late:.0f} s after the deadline, {what}"
    if observed.error is None:
        if observed.job_id != job_id:
            return f"returns job {observed.job_id}"
        good = expected.kind == "return" and expected.status in (None, observed.status)
        return "" if good else what
    timed_out = observed.error in TIMEOUTS or (
        observed.error == "DashScopeError" and observed.text.startswith("<DashScopeError> timed out after")
    )
    at_the_deadline = timed_out and late > -0.05
    if expected.kind == "time out":
        return "" if at_the_deadline else f"ends before the deadline, {what}"
    if at_the_deadline:
        return "polls until the deadline"
    if expected.kind == "return":
        return "" if expected.status != "SUCCEEDED" and observed.error in expected.errors else what
    same_status = observed.http_status is not None and observed.http_status == expected.http_status
    good = observed.error in expected.errors or (observed.error == "ClientResponseError" and same_status)
    return "" if good else what


def _named(observed: Observed) -> str:
    if observed.error is None:
        return f"returns the job, {observed.status}"
    status = f" ({observed.http_status})" if observed.error == "ClientResponseError" else ""
    return f"raises {observed.error}{status}"


def _pause(expected: Expected, observed: Observed) -> str:
    if len(observed.times) < 3:
        return ""
    pause = observed.times[2] - observed.times[1]
    if pause < expected.not_before - 0.005:
        return f"sends the next request after {pause:.1f} s"
    if expected.not_later is not None and pause > expected.not_later:
        return f"sends the next request only after {pause:.0f} s"
    return ""
