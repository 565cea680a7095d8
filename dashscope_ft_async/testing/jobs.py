"""A simulated job: its status, its fields and its log as functions of time. No clock and no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import exp
from random import Random
from typing import Any, TypeAlias

import attrs

from dashscope_ft_async.models import JobStatus
from dashscope_ft_async.testing.answers import Answer, Fault

Timeline: TypeAlias = Sequence[tuple[float, str]]
"""Pairs of seconds after the creation of the job, and its status from then on."""
LogLines: TypeAlias = Sequence[tuple[float, str]]
"""Pairs of seconds after the creation of the job, and the line that is logged then."""

DEFAULT_TIMELINE: Timeline = ((0, "PENDING"), (2, "RUNNING"), (10, "SUCCEEDED"))
LOSS_INTERVAL = 30.0
TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)
_STEPS_WITHOUT_END = 1000
"""Training steps of a job whose timeline does not say when the training ends."""
_FINAL_LINES: dict[str, tuple[str, ...]] = {
    JobStatus.SUCCEEDED: ("finetune-job succeeded", "training usage {usage}", "##FT_COMPLETE##"),
    JobStatus.FAILED: ("finetune-job failed", "##FT_COMPLETE##"),
    JobStatus.CANCELED: ("finetune-job canceled",),
}


def checked_timeline(timeline: Timeline) -> list[tuple[float, str]]:
    """Return the timeline in order. Raise `ValueError` unless it has a status at 0 seconds."""
    steps = sorted(((float(at), status) for at, status in timeline), key=lambda step: step[0])
    if not steps or steps[0][0] > 0:
        raise ValueError("a timeline needs a status at 0 seconds, as in [(0, 'PENDING'), …].")
    return steps


@attrs.define
class SimulatedJob:
    """One job and what happens to it. `now` is in seconds since the simulator was started."""

    job_id: str
    added: float
    """When the job was created, as `now`."""
    timeline: list[tuple[float, str]] = attrs.field(converter=checked_timeline)
    created: datetime = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service's times have no zone
    """When the job was created, on the service's clock."""
    latency: float = 0.0
    faults: deque[Fault] = attrs.field(factory=deque[Fault])
    fields: dict[str, Any] = attrs.field(factory=dict[str, Any])
    """Fields of ``output`` that are added to the usual ones or replace them."""
    log: LogLines | None = None
    """`None`: a log is made from the timeline."""
    loss_interval: float = LOSS_INTERVAL
    """Seconds of training between two losses of that log."""
    exports: dict[str, tuple[float, str]] = attrs.field(factory=dict[str, tuple[float, str]])
    """For each exported checkpoint: when the export began, and the model name that was asked for."""
    _steps: int = attrs.field(init=False)
    """Training steps of the whole run. Fixed at the creation, so that a logged line never changes."""

    def __attrs_post_init__(self) -> None:
        ends = [at for at, _ in self.timeline[1:]]
        spans = [
            end - at for (at, status), end in zip(self.timeline, ends, strict=False) if _trains(status)
        ]
        self._steps = int(sum(spans) / self.loss_interval) if spans else _STEPS_WITHOUT_END

    def status_at(self, now: float) -> tuple[float, str]:
        """Return the status, and the seconds from the creation of the job until it had that status."""
        return [step for step in self.timeline if step[0] <= now - self.added][-1]

    def set_status(self, status: str, now: float) -> None:
        """Give the job this status from `now` on, instead of the rest of its timeline."""
        age = now - self.added
        self.timeline = [*(step for step in self.timeline if step[0] <= age), (age, status)]

    def output_at(self, now: float) -> dict[str, Any]:
        """Return the ``output`` object of an answer."""
        since, status = self.status_at(now)
        model = self.fields.get("model", "qwen3-14b")
        output: dict[str, Any] = {
            "job_id": self.job_id,
            "job_name": self.job_id,
            "status": status,
            "model": model,
            "base_model": model,
            "training_file_ids": ["11111111-1111-4111-8111-111111111111"],
            "validation_file_ids": [],
            "hyper_parameters": {"n_epochs": 3, "batch_size": 32, "learning_rate": "1.6e-5"},
            "training_type": "sft",
            "create_time": self.time_text(0.0),
            "workspace_id": "llm-simulated",
            "user_identity": "1000000000000001",
            "modifier": "1000000000000001",
            "creator": "1000000000000001",
            "group": "llm",
        }
        if status in TERMINAL:
            output["end_time"] = self.time_text(since)
        if status == JobStatus.SUCCEEDED:
            output |= {"finetuned_output": f"{model}-{self.job_id}", "usage": 279_808}
        if status == JobStatus.CANCELED:
            output["usage"] = 0
        return output | self.fields

    def log_at(self, now: float) -> list[str]:
        """Return the lines that have been logged."""
        lines = self._generated_log(now) if self.log is None else self.log
        return [line for at, line in lines if at <= now - self.added]

    def time_text(self, age: float, separator: str = " ") -> str:
        """Return the time `age` seconds after the creation, as the service writes it."""
        return (self.created + timedelta(seconds=age)).strftime(f"%Y-%m-%d{separator}%H:%M:%S")

    def _generated_log(self, now: float) -> Iterator[tuple[float, str]]:
        def message(at: float, text: str) -> tuple[float, str]:
            millisecond = (self.created + timedelta(seconds=at)).microsecond // 1000
            return at, f"{self.time_text(at)},{millisecond:03d} - INFO - {text}"

        ends = [at for at, _ in self.timeline[1:]]
        losses = self._losses(self.output_at(now))
        for (start, status), end in zip(self.timeline, [*ends, now - self.added], strict=True):
            if _trains(status):
                yield message(start, "data process succeeded, start to fine-tune")
                for step in range(1, int((end - start) / self.loss_interval) + 1):
                    line = next(losses, None)
                    if line is not None:
                        yield start + step * self.loss_interval, line
            for text in _FINAL_LINES.get(status, ()):
                yield message(start, text.format(usage=self.output_at(now).get("usage")))

    def _losses(self, output: Mapping[str, Any]) -> Iterator[str]:
        """Yield one line per step: a curve with noise that depends on the job id only."""
        random = Random(self.job_id)
        start, end, speed = random.uniform(1.6, 2.6), random.uniform(0.4, 0.9), random.uniform(3, 6)
        epochs = _parameter(output, "n_epochs", 3.0)
        rate = _parameter(output, "learning_rate", 1.6e-5)
        for step in range(1, self._steps + 1):
            done = step / self._steps
            loss = (end + (start - end) * exp(-speed * done)) * random.gauss(1, 0.04)
            yield (
                f"{{'loss': {loss:.4f}, 'learning_rate': {rate * (1 - done):.4g}, "
                f"'epoch': {epochs * done:.2f}, 'global_step/max_steps': '{step}/{self._steps}'}}"
            )


def _trains(status: str) -> bool:
    return status == JobStatus.RUNNING


def _parameter(output: Mapping[str, Any], name: str, default: float) -> float:
    try:
        return float(output["hyper_parameters"][name])
    except (KeyError, TypeError, ValueError):
        return default


def page_of(
    jobs: Iterable[SimulatedJob], now: float, page_no: int, page_size: int, model: str | None
) -> dict[str, Any]:
    """Return the ``output`` object of a list page. The newest job comes first, as documented."""
    outputs = [job.output_at(now) for job in jobs]
    chosen = [output for output in reversed(outputs) if model in (None, output["model"])]
    first = (page_no - 1) * page_size
    return {
        "page_no": page_no,
        "page_size": page_size,
        "total": len(chosen),
        "jobs": chosen[first : first + page_size],
    }


def log_answer(job: SimulatedJob, query: Mapping[str, str], now: float, first_offset: int) -> Answer:
    """Return a part of the log. `first_offset` is the offset of the first line."""
    try:
        offset, number = int(query.get("offset", "0")), int(query.get("line", "100"))
    except ValueError:
        offset = number = -1
    if offset < 0 or not 1 <= number <= 1000:
        return Answer.error(400, "InvalidParameter", "offset or line is out of range.")
    lines, start = job.log_at(now), max(0, offset - first_offset)
    return Answer.output({"total": len(lines), "logs": lines[start : start + number]})
