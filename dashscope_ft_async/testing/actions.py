"""What requests do to a simulated job, and how they are answered. No clock and no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias, cast

from dashscope_ft_async.models import JobStatus
from dashscope_ft_async.testing.answers import Answer
from dashscope_ft_async.testing.jobs import TERMINAL, SimulatedJob

Action: TypeAlias = Callable[[SimulatedJob, Mapping[str, str], float], Answer]
"""Takes the job, the parameters of path and query, and the time."""

_CANCEL_SECONDS = 1.0
"""From a cancel request until the job is CANCELED."""
_EXPORT_SECONDS = 0.5
_CHECKPOINT_LIFETIME = 15 * 86_400.0
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


def fields_of_new_job(body: bytes) -> dict[str, Any] | Answer:
    """Return the fields that the request gives to the job, or the refusal."""
    try:
        decoded: object = json.loads(body)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        return Answer.error(400, "InvalidParameter", "The request body is not a JSON object.")
    request = cast("dict[str, Any]", decoded)
    if not request.get("model"):
        return Answer.error(400, "InvalidParameter", "Missing model")
    if not request.get("training_file_ids") and not request.get("training_datasets"):
        return Answer.error(400, "InvalidParameter", "Missing training files")
    fields = {name: request[name] for name in _CREATION_FIELDS if name in request}
    # As in the service, a job that was created with data sets has no file ids.
    absent: dict[str, Any] = {"training_file_ids": [], "hyper_parameters": {}}
    return absent | fields


def cancel(job: SimulatedJob, _: Mapping[str, str], now: float) -> Answer:
    """Put the job in CANCELING, and a second later in CANCELED."""
    status = job.status_at(now)[1]
    if status in TERMINAL:
        text = "The fine-tune job can not be canceled because it is succeeded or failed"
        return Answer.error(400, "UnsupportedOperation", text)
    if status != JobStatus.CANCELING:
        job.set_status(JobStatus.CANCELING, now)
        job.timeline.append((now - job.added + _CANCEL_SECONDS, JobStatus.CANCELED))
    return Answer.output({"status": "success"})


def delete(job: SimulatedJob, _: Mapping[str, str], now: float) -> Answer:
    """Return the answer to a deletion. The caller deletes the job if the status is 200."""
    if job.status_at(now)[1] in (JobStatus.RUNNING, JobStatus.CANCELING):
        text = "The fine-tune job can not be deleted because it is in training"
        return Answer.error(400, "UnsupportedOperation", text)
    return Answer.output({"status": "success"})


def checkpoints(job: SimulatedJob, _: Mapping[str, str], now: float) -> Answer:
    """Return the checkpoints. The newest comes first, as documented."""
    return Answer.output([_checkpoint(job, name, age, now) for name, age in reversed(_saved(job, now))])


def export(job: SimulatedJob, query: Mapping[str, str], now: float) -> Answer:
    """Start to export a checkpoint. A second export of the same checkpoint changes nothing."""
    name, model_name = query["checkpoint"], query.get("model_name")
    if not model_name:
        return Answer.error(400, "InvalidParameter", "Missing model_name")
    if name not in dict(_saved(job, now)):
        return Answer.error(404, "NotFound", "Not found!")
    job.exports.setdefault(name, (now, model_name))
    return Answer.output(True)


def validation_results(job: SimulatedJob, _: Mapping[str, str], now: float) -> Answer:
    """Return the checkpoints that were validated: all of them."""
    return Answer.output([{"checkpoint": name} for name, _ in reversed(_saved(job, now))])


def validation_details(job: SimulatedJob, query: Mapping[str, str], now: float) -> Answer:
    """Return one sample for each checkpoint."""
    name = query["checkpoint"]
    if name not in dict(_saved(job, now)):
        return Answer.error(404, "NotFound", "Not found!")
    try:
        page_no, page_size = int(query.get("page_no", "1")), int(query.get("page_size", "10"))
    except ValueError:
        return Answer.error(400, "InvalidParameter", "page_no or page_size is not a number.")
    sample = {
        "video_path": f"https://example.com/{name}.mp4",
        "prompt": "a cat",
        "first_frame_path": "https://example.com/first.jpg",
    }
    samples = [sample] if page_no == 1 else []
    return Answer.output({"page_no": page_no, "page_size": page_size, "total": 1, "list": samples})


ACTIONS: Mapping[tuple[str, str], Action] = {
    ("POST", "/cancel"): cancel,
    ("GET", "/checkpoints"): checkpoints,
    ("GET", "/export/{checkpoint}"): export,
    ("GET", "/validation-results"): validation_results,
    ("GET", "/validation-details/{checkpoint}"): validation_details,
}
"""The action for each method and path below the path of the job."""


def _saved(job: SimulatedJob, now: float) -> list[tuple[str, float]]:
    """Names of the checkpoints, and the age of the job when each was saved: halfway and at the end."""
    saved: list[tuple[str, float]] = []
    for (start, status), (end, next_status) in pairwise(job.timeline):
        if status == JobStatus.RUNNING:
            saved.append(("checkpoint-50", (start + end) / 2))
            if next_status == JobStatus.SUCCEEDED:
                saved.append(("checkpoint-100", end))
    return [(name, age) for name, age in saved if age <= now - job.added]


def _checkpoint(job: SimulatedJob, name: str, age: float, now: float) -> dict[str, Any]:
    output = job.output_at(now)
    status, model_name = "PENDING", None
    if name == "checkpoint-100":
        status, model_name = "SUCCEEDED", output.get("finetuned_output")
    elif name in job.exports:
        began, wanted = job.exports[name]
        status = "SUCCEEDED" if now - began >= _EXPORT_SECONDS else "PROCESSING"
        model_name = f"{output['model']}-{wanted}"
    checkpoint: dict[str, Any] = {
        "checkpoint_id": f"{job.job_id}:{name}",
        "full_name": f"{job.job_id}:{name}",
        "job_id": job.job_id,
        "checkpoint": name,
        "step": int(name.rpartition("-")[2]),
        "status": status,
        "create_time": job.time_text(age, "T"),
        "expire_time": job.time_text(age + _CHECKPOINT_LIFETIME, "T"),
    }
    if status == "SUCCEEDED":
        display_name = job.exports.get(name, (0, job.job_id))[1]
        checkpoint |= {"model_name": model_name, "model_display_name": display_name}
    return checkpoint
