"""What an answer about jobs means. Total: any bytes give a value or one of our errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from dashscope_ft_async._api.wire.envelope import (
    Json,
    count_of,
    malformed,
    output_of,
    payload_of,
    reason_around,
    request_id_of,
    structured,
)
from dashscope_ft_async._api.wire.messages import Response
from dashscope_ft_async._api.wire.pages import Row, ScannedPage
from dashscope_ft_async._api.wire.structure import JSON_PAGE_FIELDS
from dashscope_ft_async.errors import APIResponseValidationError
from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.models.redact import shown


def decode_job(response: Response, job_id: str) -> FineTuneJob:
    """The job an answer describes. Raises `APIStatusError` or `APIResponseValidationError`."""
    job = job_in(response)
    if job.job_id != job_id:
        raise malformed(response, f"the answer is about job {shown(job.job_id)!r} @ $.output.job_id")
    return job


def job_in(response: Response) -> FineTuneJob:
    """The job an answer describes, whichever it is."""
    payload = payload_of(response)
    output = output_of(response, payload)
    output = {**output, "request_id": request_id_of(response, payload)}
    job = structured(response, output, FineTuneJob)
    if job.status is JobStatus.FAILED:
        return attrs.evolve(job, extra={**reason_around(payload), **job.extra})
    return job


def decode_page(response: Response, page_no: int, page_size: int) -> JobPage:
    """The page an answer describes; one bad row does not cost the others.

    Raises `APIStatusError` or `APIResponseValidationError`.
    """
    payload = payload_of(response)
    output = output_of(response, payload)
    jobs, unreadable = _rows(response, output.get("jobs") or [])
    extra = {name: value for name, value in output.items() if name not in JSON_PAGE_FIELDS}
    return JobPage(
        page_no=count_of(output, "page_no") or page_no,
        page_size=count_of(output, "page_size") or page_size,
        total=count_of(output, "total"),
        jobs=jobs,
        request_id=request_id_of(response, payload),
        extra={**extra, "jobs": unreadable} if unreadable else extra,
    )


def _rows(response: Response, rows: object) -> tuple[tuple[FineTuneJob, ...], list[object]]:
    """The jobs, and the rows that are none. Raises where there are rows, and not one is a job."""
    if not isinstance(rows, list):
        raise malformed(response, f"expected a list, found {type(rows).__name__} @ $.output.jobs")
    jobs: list[FineTuneJob] = []
    unreadable: list[object] = []
    failure: APIResponseValidationError | None = None
    for place, row in enumerate(cast("list[object]", rows)):
        try:
            jobs.append(structured(response, row, FineTuneJob, f"$.output.jobs[{place}]"))
        except APIResponseValidationError as error:
            failure = failure or error.with_traceback(None)
            unreadable.append(row)
    if failure is not None and not jobs:
        raise failure
    return tuple(jobs), unreadable


def scan_page(response: Response, page_size: int) -> ScannedPage:
    """The page an answer describes, its jobs unread; raises as `decode_page` does, but for no one row."""
    payload = payload_of(response)
    output = output_of(response, payload)
    request_id = request_id_of(response, payload)

    def structure(raw: Mapping[str, Any]) -> FineTuneJob:
        return structured(response, {**raw, "request_id": request_id}, FineTuneJob)

    jobs: object = output.get("jobs")
    rows = [
        Row(cast("Json", raw), structure)
        for raw in (cast("list[object]", jobs) if isinstance(jobs, list) else ())
        if isinstance(raw, dict) and isinstance(cast("Json", raw).get("job_id"), str)
    ]
    size = count_of(output, "page_size") or page_size
    return ScannedPage(size, count_of(output, "total"), tuple(rows))
