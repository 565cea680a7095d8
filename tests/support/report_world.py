"""What the tests of reports share: facts without a service."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from dashscope_ft_async import FineTuneJob, JobStatus
from dashscope_ft_async.cli.report.facts import Facts, JobFacts, Log, LogReader, Sighting, WaitFacts

CREATED = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service names no zone
NOW = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
STAMP = "2026-01-05 10:34:12,136 - INFO - data process succeeded, start to fine-tune"


def job(job_id: str = "ft-1", status: str = "SUCCEEDED", minutes: float = 20, **fields: Any) -> FineTuneJob:
    told: dict[str, Any] = {"model": "qwen3-14b", "create_time": CREATED, "usage": 279_808}
    if JobStatus(status).is_terminal:
        told["end_time"] = CREATED + timedelta(minutes=minutes)
    told |= fields
    return FineTuneJob(job_id=job_id, status=JobStatus(status), raw_status=status, **told)


def log_of(lines: Iterable[str]) -> Log:
    reader = LogReader()
    for line in lines:
        reader.take(line)
    return reader.log()


def curve(values: Iterable[float], name: str = "loss") -> list[str]:
    return [f"{{'{name}': {value}, 'global_step/max_steps': '{n}/9'}}" for n, value in enumerate(values, 1)]


def known(
    job_id: str = "ft-1", status: str = "SUCCEEDED", *, log: Log | None = None, **fields: Any
) -> JobFacts:
    told = job(job_id, status, **fields)
    return JobFacts(job_id=job_id, job=told, log=log or log_of([STAMP, *curve([2.0, 1.5, 1.2])]))


def seen(minutes: float, status: str, since: float | None = None, *, ahead: float = 8) -> Sighting:
    """A status seen so many minutes after the creation, by a clock that is `ahead` hours behind."""

    def at(after: float) -> datetime:
        return (CREATED + timedelta(minutes=after) - timedelta(hours=ahead)).replace(tzinfo=UTC)

    return Sighting(at(minutes), JobStatus(status), None if since is None else at(since))


def report(*jobs: JobFacts, wait: WaitFacts | None = None) -> Facts:
    return Facts(made_at=NOW, jobs=jobs, wait=wait)
