"""What can be done to a simulated job, and what comes of it: pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias, cast

from dashscope_ft_async.models import JobStatus
from dashscope_ft_async.testing.scenario import ENDED, Fault, Json, SimulatedJob, envelope, stamp

Act: TypeAlias = Callable[[SimulatedJob, Mapping[str, str], float], Fault]
"""A job, the names in the path and the query, and the time, to the answer."""

_STOPPING = 1.0
"""Seconds from a cancel to CANCELED."""
_EXPORTING = 0.5
"""Seconds that an export takes."""
_KEPT = 15 * 86_400.0
_CREATION_FIELDS = (
    "model",
    "training_file_ids",
    "training_datasets",
    "validation_file_ids",
    "validation_datasets",
    "hyper_parameters",
    "training_type",
    "job_name",
    "model_name",
)


def fields_of_new_job(body: bytes) -> Json | Fault:
    """The fields that a job has from its creation, or the refusal."""
    try:
        found: object = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Fault.error(400, "InvalidParameter", "The request body is not a JSON object.")
    asked = cast("Json", found)
    if not asked.get("model"):
        return Fault.error(400, "InvalidParameter", "Missing model")
    if not asked.get("training_file_ids") and not asked.get("training_datasets"):
        return Fault.error(400, "InvalidParameter", "Missing training files")
    fields = {name: asked[name] for name in _CREATION_FIELDS if name in asked}
    # As the service does it: files of a job with data sets are told there, and the ids stay empty.
    absent: Json = {"base_model": asked["model"], "training_file_ids": [], "hyper_parameters": {}}
    return absent | fields


def cancel(job: SimulatedJob, _: Mapping[str, str], now: float) -> Fault:
    """Stop the job, soon."""
    status = job.status_at(now)[1]
    if status in ENDED:
        text = "The fine-tune job can not be canceled because it is succeeded or failed"
        return Fault.error(400, "UnsupportedOperation", text)
    if status != JobStatus.CANCELING:
        job.move(JobStatus.CANCELING, now)
        job.timeline.append((now - job.added + _STOPPING, JobStatus.CANCELED))
    return _output({"status": "success"})


def may_be_deleted(job: SimulatedJob, _: Mapping[str, str], now: float) -> Fault:
    """The answer to a delete; success is for the caller to carry out."""
    if job.status_at(now)[1] in (JobStatus.RUNNING, JobStatus.CANCELING):
        text = "The fine-tune job can not be deleted because it is in training"
        return Fault.error(400, "UnsupportedOperation", text)
    return _output({"status": "success"})


def checkpoints(job: SimulatedJob, _: Mapping[str, str], now: float) -> Fault:
    """The newest first, as documented."""
    return _output([_checkpoint(job, name, at, now) for name, at in reversed(_saved(job, now))])


def export(job: SimulatedJob, asked: Mapping[str, str], now: float) -> Fault:
    """Begin to make a model of a checkpoint. A second export of the same one changes nothing."""
    name, model_name = asked["checkpoint"], asked.get("model_name")
    if not model_name:
        return Fault.error(400, "InvalidParameter", "Missing model_name")
    if name not in dict(_saved(job, now)):
        return Fault.error(404, "NotFound", "Not found!")
    job.exports.setdefault(name, (now, model_name))
    return _output(True)


def validation_results(job: SimulatedJob, _: Mapping[str, str], now: float) -> Fault:
    """The checkpoints that were validated: all of them."""
    return _output([{"checkpoint": name} for name, _ in reversed(_saved(job, now))])


def validation_details(job: SimulatedJob, asked: Mapping[str, str], now: float) -> Fault:
    """One sample for each checkpoint."""
    name = asked["checkpoint"]
    if name not in dict(_saved(job, now)):
        return Fault.error(404, "NotFound", "Not found!")
    try:
        page_no, page_size = int(asked.get("page_no", "1")), int(asked.get("page_size", "10"))
    except ValueError:
        return Fault.error(400, "InvalidParameter", "page_no or page_size is no number.")
    sample = {
        "video_path": f"https://example.com/{name}.mp4",
        "prompt": "a cat",
        "first_frame_path": "https://example.com/first.jpg",
    }
    samples = [sample] if page_no == 1 else []
    return _output({"page_no": page_no, "page_size": page_size, "total": 1, "list": samples})


ACTS: Mapping[tuple[str, str], Act] = {
    ("POST", "cancel"): cancel,
    ("GET", "checkpoints"): checkpoints,
    ("GET", "export/{checkpoint}"): export,
    ("GET", "validation-results"): validation_results,
    ("GET", "validation-details/{checkpoint}"): validation_details,
}
"""Method and path below the job, to what happens."""


def _saved(job: SimulatedJob, now: float) -> list[tuple[str, float]]:
    """Names of the checkpoints and when they were saved: one in the middle of a run, one at its end."""
    saved: list[tuple[str, float]] = []
    for (start, status), (end, after) in pairwise(job.timeline):
        if status == JobStatus.RUNNING:
            saved.append(("checkpoint-50", job.added + (start + end) / 2))
            if after == JobStatus.SUCCEEDED:
                saved.append(("checkpoint-100", job.added + end))
    return [(name, at) for name, at in saved if at <= now]


def _checkpoint(job: SimulatedJob, name: str, at: float, now: float) -> Json:
    output = job.output_at(now)
    status, model_name = "PENDING", None
    if name == "checkpoint-100":
        status, model_name = "SUCCEEDED", output.get("finetuned_output")
    elif name in job.exports:
        began, wanted = job.exports[name]
        status = "SUCCEEDED" if now - began >= _EXPORTING else "PROCESSING"
        model_name = f"{output['model']}-{wanted}"
    told: Json = {
        "checkpoint_id": f"{job.job_id}:{name}",
        "full_name": f"{job.job_id}:{name}",
        "job_id": job.job_id,
        "checkpoint": name,
        "step": int(name.rpartition("-")[2]),
        "status": status,
        "create_time": stamp(at, "T"),
        "expire_time": stamp(at + _KEPT, "T"),
    }
    if status == "SUCCEEDED":
        told |= {"model_name": model_name, "model_display_name": job.exports.get(name, (0, job.job_id))[1]}
    return told


def _output(output: Any) -> Fault:
    return Fault.json(envelope(output))
