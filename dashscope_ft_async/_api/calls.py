"""Every endpoint as data: what to send, how to read the answer, and what may be done after a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Generic, Protocol, TypeVar

import attrs

from dashscope_ft_async._api import wire
from dashscope_ft_async.models import (
    Checkpoint,
    FineTuneJob,
    JobPage,
    LogPage,
    ValidationPage,
    ValidationResult,
)
from dashscope_ft_async.policy import may_repeat, may_retry

_T = TypeVar("_T")


class MayRetry(Protocol):
    """Whether a request is sent again after `error`; `answered` as in `policy.is_transient`."""

    def __call__(self, error: BaseException, *, answered: bool) -> bool: ...


@attrs.frozen
class Call(Generic[_T]):
    """One endpoint with its arguments."""

    name: str
    """The method of the client, which events name."""
    request: wire.Request
    decode: Callable[[wire.Response], _T]
    """Turns the answer into a value; raises our errors."""
    job_id: str | None = None
    """The job it is about."""
    may_retry: MayRetry = may_retry
    lists: bool = False
    """Whether it is a list page of the waits. Then the gate of the list learns its outcome, so that a
    throttled list does not slow down polls."""
    throttles_waits: bool = True
    """Whether a 429 slows down the waits of the client."""
    once: bool = False
    """Whether a second copy of the request would do harm. It goes out on a fresh connection, so that
    nothing below resends it, and a failure to send it is known as such."""


@lru_cache(maxsize=1000)  # to build it costs as much as a tenth of the request
def get_job(job_id: str) -> Call[FineTuneJob]:
    """``GET /fine-tunes/{job_id}``."""
    return Call("get", wire.job_request(job_id), partial(wire.decode_job, job_id=job_id), job_id)


def list_page(page_no: int, page_size: int) -> Call[wire.ScannedPage]:
    """``GET /fine-tunes`` for the waits: rows that are structured only when they have changed."""
    request = wire.page_request(page_no, page_size, None)
    return Call("list", request, partial(wire.scan_page, page_size=page_size), lists=True)


def list_jobs(page_no: int, page_size: int, model: str | None) -> Call[JobPage]:
    """``GET /fine-tunes``."""
    decode = partial(wire.decode_page, page_no=page_no, page_size=page_size)
    return Call("list", wire.page_request(page_no, page_size, model), decode)


def create_job(arguments: Mapping[str, object]) -> Call[FineTuneJob]:
    """``POST /fine-tunes``. A throttled create slows down no wait."""
    request = wire.create_request(arguments)
    return Call(
        "create", request, wire.decode_created, may_retry=may_repeat, throttles_waits=False, once=True
    )


def cancel_job(job_id: str) -> Call[None]:
    """``POST /fine-tunes/{job_id}/cancel``."""
    return Call("cancel", wire.cancel_request(job_id), wire.decode_action, job_id, throttles_waits=False)


def delete_job(job_id: str) -> Call[None]:
    """``DELETE /fine-tunes/{job_id}``."""
    return Call("delete", wire.delete_request(job_id), wire.decode_action, job_id, throttles_waits=False)


def log_page(job_id: str, offset: int, lines: int) -> Call[LogPage]:
    """``GET /fine-tunes/{job_id}/logs``."""
    return Call("logs", wire.logs_request(job_id, offset, lines), wire.decode_logs, job_id)


def list_checkpoints(job_id: str) -> Call[tuple[Checkpoint, ...]]:
    """``GET /fine-tunes/{job_id}/checkpoints``."""
    return Call("checkpoints", wire.checkpoints_request(job_id), wire.decode_checkpoints, job_id)


def export_checkpoint(job_id: str, checkpoint: str, model_name: str) -> Call[bool]:
    """``GET /fine-tunes/{job_id}/export/{checkpoint}``, a GET that has an effect."""
    request = wire.export_request(job_id, checkpoint, model_name)
    return Call("export_checkpoint", request, wire.decode_exported, job_id, may_retry=may_repeat, once=True)


def validation_results(job_id: str) -> Call[tuple[ValidationResult, ...]]:
    """``GET /fine-tunes/{job_id}/validation-results``."""
    request = wire.validation_results_request(job_id)
    return Call("validation_results", request, wire.decode_validation_results, job_id)


def validation_details(job_id: str, checkpoint: str, page_no: int, page_size: int) -> Call[ValidationPage]:
    """``GET /fine-tunes/{job_id}/validation-details/{checkpoint}``."""
    request = wire.validation_details_request(job_id, checkpoint, page_no, page_size)
    decode = partial(wire.decode_validation_page, page_no=page_no, page_size=page_size)
    return Call("validation_details", request, decode, job_id)
