"""The log a simulated job writes as time passes: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from dashscope_ft_async.models import JobStatus
from dashscope_ft_async.testing.scenario import EPOCH, Fault, SimulatedJob, envelope

Script: TypeAlias = Sequence[tuple[float, str]]
"""Lines, and the seconds after the job was added at which they are written."""

_ENDS: dict[str, tuple[str, ...]] = {
    JobStatus.SUCCEEDED: ("finetune-job succeeded", "training usage 279808", "##FT_COMPLETE##"),
    JobStatus.FAILED: ("finetune-job failed", "##FT_COMPLETE##"),
    JobStatus.CANCELED: ("finetune-job canceled",),
}


def log_at(job: SimulatedJob, now: float) -> list[str]:
    """The lines that are in the log at `now`: the job's own script, else what its timeline makes."""
    script = _written(job, now) if job.log is None else job.log
    return [line for at, line in script if at <= now - job.added]


def _written(job: SimulatedJob, now: float) -> Iterator[tuple[float, str]]:
    def stamped(at: float, text: str) -> tuple[float, str]:
        moment = EPOCH + timedelta(seconds=job.added + at)
        return at, f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d} - INFO - {text}"

    ends = [at for at, _ in job.timeline[1:]]
    for (start, status), end in zip(job.timeline, [*ends, now - job.added], strict=True):
        if status == JobStatus.RUNNING:
            yield stamped(start, "data process succeeded, start to fine-tune")
            steps = max(0, int((end - start) / job.loss_every))
            for step in range(1, steps + 1):
                yield (
                    start + step * job.loss_every,
                    f"{{'loss': {2 / (1 + step):.4f}, 'learning_rate': 1.6e-05}}",
                )
        for text in _ENDS.get(status, ()):
            yield stamped(start, text)


def answer_of_log(job: SimulatedJob, asked: Mapping[str, str], now: float, first: int) -> Fault:
    """The answer to a question for a part of the log; `first` is the offset of the first line."""
    try:
        offset, number = int(asked.get("offset", "0")), int(asked.get("line", "100"))
    except ValueError:
        offset = number = -1
    if offset < 0 or not 1 <= number <= 1000:
        return Fault.error(400, "InvalidParameter", "offset or line is out of range.")
    lines, start = log_at(job, now), max(0, offset - first)
    return Fault.json(envelope({"total": len(lines), "logs": lines[start : start + number]}))
