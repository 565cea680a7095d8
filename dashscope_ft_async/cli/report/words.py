"""How a report writes figures and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashscope_ft_async.cli.report.facts import JobFacts
from dashscope_ft_async.cli.report.timeline import Clock

_SHORT = 9.5
_ROUND = timedelta(minutes=15)


def moment(at: datetime | None, *, utc: bool = False) -> str:
    """``2026-01-05 10:30:12``; with `utc`, of a time with a zone."""
    if at is None:
        return ""
    return f"{at.astimezone(UTC) if utc else at:%Y-%m-%d %H:%M:%S}{' UTC' if utc else ''}"


def lasting(time: timedelta | None) -> str:
    """``1 d 2 h``, ``3 h 5 min``, ``17 min 30 s`` or ``0.4 s``: two figures are enough."""
    if time is None:
        return ""
    if time.total_seconds() < _SHORT:
        return f"{time.total_seconds():.2g} s"
    seconds = round(time.total_seconds())
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    shown = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number]
    return " ".join(shown) or "0 s"


def count(number: int | None) -> str:
    """``279,808``."""
    return "" if number is None else f"{number:,}"


def figure(number: float | None) -> str:
    """Four digits that mean something."""
    return "" if number is None else f"{number:.4g}"


def some(number: int, thing: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def in_short(job: JobFacts, *, status: bool = False) -> str:
    """``SUCCEEDED · 20 min · 279,808 tokens``, or that without the status."""
    tokens = "" if job.tokens is None else some(job.tokens, "token")
    said = (job.status if status else "", lasting(job.duration), tokens)
    return " · ".join(part for part in said if part)


def difference(clock: Clock) -> str:
    """``8 h ahead of UTC``."""
    ahead = clock.ahead
    whole = round(ahead / _ROUND) * _ROUND
    if clock.least <= whole <= clock.most:
        ahead = whole  # zones are whole quarters of an hour
    if not ahead:
        return "that of UTC"
    return f"{lasting(abs(ahead))} {'ahead of' if ahead > timedelta(0) else 'behind'} UTC"
