"""What the simulated service says and when: pure, so that the server around it is a thin shell."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import attrs

from dashscope_ft_async.models import JobStatus

Json: TypeAlias = dict[str, Any]
Timeline: TypeAlias = Sequence[tuple[float, str]]

# Stamps of a simulated job start here, so that a test sees the same ones each time it runs.
EPOCH = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the service names no zone

LOSS_EVERY = 30.0
ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


@attrs.frozen
class Fault:
    """One way in which an answer goes wrong. Made by its class methods."""

    kind: Literal["status", "html", "reset", "cut", "stall", "body"]
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    seconds: float | None = None

    @classmethod
    def error(
        cls,
        status: int,
        code: str | None = None,
        message: str = "",
        *,
        retry_after: float | str | None = None,
    ) -> Fault:
        """The service's own JSON error, such as ``Fault.error(429, "Throttling", retry_after=5)``.

        `retry_after` is seconds, or the text of the header as it is to be sent.
        """
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after}"}
        body = b"" if code is None else _dumps(error_body(code, message))
        return cls("status", status, body, headers)

    @classmethod
    def html(cls, status: int = 502) -> Fault:
        """A proxy's HTML page."""
        return cls("html", status, b"<html><body><h1>Bad Gateway</h1></body></html>")

    @classmethod
    def json(cls, body: Mapping[str, Any], status: int = 200) -> Fault:
        """Any JSON object."""
        return cls("status", status, _dumps(dict(body)))

    @classmethod
    def raw(cls, body: bytes, status: int = 200) -> Fault:
        """Any bytes, said to be JSON."""
        return cls("body", status, body)

    @classmethod
    def reset(cls) -> Fault:
        """The connection is reset instead of an answer."""
        return cls("reset")

    @classmethod
    def cut(cls) -> Fault:
        """The connection ends in the middle of the body."""
        return cls("cut")

    @classmethod
    def stall(cls, seconds: float | None = None) -> Fault:
        """Nothing comes for `seconds`, or for as long as the simulator runs; then the usual answer."""
        return cls("stall", seconds=seconds)


def _dumps(value: Json) -> bytes:
    return json.dumps(value).encode()


def error_body(code: str, message: str) -> Json:
    """The documented shape of an error."""
    return {"code": code, "message": message, "request_id": "00000000-0000-4000-8000-00000000eeee"}


@attrs.frozen
class SeenRequest:
    """A request the simulator has answered."""

    at: float
    """Seconds on the loop's clock since the simulator was started."""
    method: str
    path: str
    status: int
    """HTTP status of the answer; 0 where none was given."""


@attrs.define
class SimulatedJob:
    """One job: what happens to it, and when."""

    job_id: str
    added: float
    timeline: list[tuple[float, str]]
    latency: float = 0.0
    faults: deque[Fault] = attrs.field(factory=deque[Fault])
    fields: Json = attrs.field(factory=dict[str, Any])
    log: Sequence[tuple[float, str]] | None = None
    """Lines and when they are written; `None`: what the timeline makes."""
    loss_every: float = LOSS_EVERY
    """Seconds of training between two losses of that log."""
    exports: dict[str, tuple[float, str]] = attrs.field(factory=dict[str, tuple[float, str]])
    """Name of a checkpoint, to when its export began and the name that the model was to have."""

    def status_at(self, now: float) -> tuple[float, str]:
        """Since when (seconds after it was added) and in which status the job is."""
        age = now - self.added
        return [step for step in self.timeline if step[0] <= age][-1]

    def move(self, status: str, now: float) -> None:
        """Put the job in `status` from `now` on, whatever its timeline said."""
        age = now - self.added
        self.timeline = [*(step for step in self.timeline if step[0] <= age), (age, status)]

    def output_at(self, now: float) -> Json:
        """The ``output`` object of an answer given at `now`."""
        since, status = self.status_at(now)
        output: Json = {
            "job_id": self.job_id,
            "job_name": self.job_id,
            "status": status,
            "model": "qwen3-14b",
            "base_model": "qwen3-14b",
            "training_file_ids": ["11111111-1111-4111-8111-111111111111"],
            "validation_file_ids": [],
            "hyper_parameters": {"n_epochs": 3, "batch_size": 32, "learning_rate": "1.6e-5"},
            "training_type": "sft",
            "create_time": stamp(self.added),
            "workspace_id": "llm-simulated",
            "user_identity": "1000000000000001",
            "modifier": "1000000000000001",
            "creator": "1000000000000001",
            "group": "llm",
        }
        if status in ENDED:
            output["end_time"] = stamp(self.added + since)
        if status == JobStatus.SUCCEEDED:
            output |= {"finetuned_output": f"qwen3-14b-{self.job_id}", "usage": 279_808}
        if status == JobStatus.CANCELED:
            output["usage"] = 0
        return output | self.fields


def stamp(seconds: float, between: str = " ") -> str:
    """The time, `seconds` after the simulator was started, as the service writes it."""
    return (EPOCH + timedelta(seconds=seconds)).strftime(f"%Y-%m-%d{between}%H:%M:%S")


def envelope(output: Any) -> Json:
    """A good answer."""
    return {"request_id": "00000000-0000-4000-8000-000000000000", "output": output}


def checked_timeline(timeline: Timeline) -> list[tuple[float, str]]:
    """`timeline`, in order. Raises `ValueError` unless it says what the job is at its start."""
    steps = sorted(((float(at), status) for at, status in timeline), key=lambda step: step[0])
    if not steps or steps[0][0] > 0:
        raise ValueError("a timeline must say the status at 0 seconds, as in [(0, 'PENDING'), …].")
    return steps


def page_of(
    jobs: Iterable[SimulatedJob], now: float, page_no: int, page_size: int, model: str | None
) -> Json:
    """The ``output`` object of a list answer: the newest job first, as the documented samples show."""
    outputs = [job.output_at(now) for job in jobs]
    chosen = [output for output in reversed(outputs) if model in (None, output["model"])]
    first = (page_no - 1) * page_size
    return {
        "page_no": page_no,
        "page_size": page_size,
        "total": len(chosen),
        "jobs": chosen[first : first + page_size],
    }


class RateLimit:
    """At most `rate` requests in any second, as far as a bucket of that size can tell."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate)
        self._at = float("-inf")

    def admits(self, now: float) -> bool:
        """Whether a request at `now` is within the limit; if so it counts."""
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
