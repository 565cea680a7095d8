"""Decode answers about jobs.

All decoders raise `APIStatusError` for an error, and `APIResponseValidationError` for an answer that is not
as documented.
"""

from __future__ import annotations

from typing import Any, cast

import attrs

from dashscope_ft_async._api.wire.envelope import (
    Json,
    check_depth,
    malformed,
    output_of,
    output_or_none,
    payload_of,
    reason_in_envelope,
    request_id_of,
    text_of,
)
from dashscope_ft_async._api.wire.messages import Response
from dashscope_ft_async._api.wire.structure import count_of, structure
from dashscope_ft_async.errors import APIResponseValidationError
from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus, safe_text

# Other names of fields in official pages, SDKs or recorded answers; used if the field itself is absent.
_ALIASES = {"jobs_name": "job_name", "task_status": "status", "gmt_create": "create_time"}
_PAGE_FIELDS = frozenset({"page_no", "page_size", "total", "jobs", "request_id"})
# Raw names of the fields that `FineTuneJob.is_change_from` compares.
_MARK_FIELDS = (
    "status", "task_status", "end_time", "usage", "output_cnt", "finetuned_output", "code", "message",
)  # fmt: skip
_ACCEPTED = frozenset({"success", "canceling", "cancelling", "canceled", "cancelled"})


def decode_job(response: Response, job_id: str) -> FineTuneJob:
    """Return the job in an answer, which must be about `job_id`."""
    payload = payload_of(response)
    output = output_of(response, payload)
    if output.get("job_id") == job_id:
        output["job_id"] = job_id  # the caller's string, so that the snapshot needs no copy of it
    job = _job(response, payload, output)
    if job.job_id != job_id:
        raise malformed(response, f"the answer is about job {safe_text(job.job_id)!r} @ $.output.job_id")
    return job


def decode_created(response: Response) -> FineTuneJob:
    """Return the job that was created; old versions of the service return only its id and status.

    An `APIResponseValidationError` has the id of the new job, if the answer has it.
    """
    payload = payload_of(response)
    output = output_of(response, payload)
    try:
        return _job(response, payload, output)
    except APIResponseValidationError as error:
        error.job_id = text_of(output.get("job_id"))
        raise


def _job(response: Response, payload: Json, output: Json) -> FineTuneJob:
    job = _read_job(response, output, request_id=request_id_of(response, payload))
    if job.status is JobStatus.FAILED and (reason := reason_in_envelope(payload)):
        return attrs.evolve(job, extra={**reason, **job.extra})
    return job


def _read_job(response: Response, raw: Any, place: str = "$.output", **computed: object) -> FineTuneJob:
    fields = raw
    if isinstance(raw, dict):
        if not _ALIASES.keys().isdisjoint(fields):
            fields = {**fields}
            for alias, name in _ALIASES.items():
                if alias in fields and _is_blank(fields.get(name)):
                    fields[name] = fields.pop(alias)
        if fields.get("job_name") == fields.get("job_id"):
            fields["job_name"] = fields.get("job_id")  # one string in memory
        computed["raw_status"] = fields.get("status")
    return structure(response, FineTuneJob, fields, place, **computed)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def decode_action(response: Response) -> None:
    """Return if a cancel or delete request was accepted.

    The service answers with the status ``success`` of the action, with the job, or without an output.
    """
    if response.status == 204:
        return
    payload = payload_of(response)
    if output_or_none(response, payload, dict) is None and payload.get("output") is None:
        return
    output = output_of(response, payload)
    status = text_of(output.get("status"))
    if "job_id" not in output and status is not None and status.strip().lower() not in _ACCEPTED:
        raise malformed(response, f"expected 'success', found {safe_text(status)!r} @ $.output.status")


def decode_page(response: Response, page_no: int, page_size: int) -> JobPage:
    """Return the page of jobs in an answer.

    Rows that cannot be read as jobs are kept in `extra`; raises if there are rows, and none can be read.
    """
    payload = payload_of(response)
    output = output_of(response, payload)
    check_depth(response, output)
    jobs, unreadable = _read_rows(response, output.get("jobs") or [])
    extra = {name: value for name, value in output.items() if name not in _PAGE_FIELDS}
    return JobPage(
        page_no=count_of(output, "page_no") or page_no,
        page_size=count_of(output, "page_size") or page_size,
        total=count_of(output, "total"),
        jobs=jobs,
        request_id=request_id_of(response, payload),
        extra={**extra, "jobs": unreadable} if unreadable else extra,
    )


def _read_rows(response: Response, rows: object) -> tuple[tuple[FineTuneJob, ...], list[object]]:
    if not isinstance(rows, list):
        raise malformed(response, f"expected a list, found {type(rows).__name__} @ $.output.jobs")
    jobs: list[FineTuneJob] = []
    unreadable: list[object] = []
    failure: APIResponseValidationError | None = None
    for place, row in enumerate(cast("list[object]", rows)):
        try:
            jobs.append(_read_job(response, row, f"$.output.jobs[{place}]"))
        except APIResponseValidationError as error:
            failure = failure or error.with_traceback(None)
            unreadable.append(row)
    if failure is not None and not jobs:
        raise failure
    return tuple(jobs), unreadable


class Row:
    """One job of a page, which is read only on demand: most rows show nothing new."""

    __slots__ = ("_answer", "_raw", "job_id")

    def __init__(self, raw: Json, answer: tuple[Response, str | None]) -> None:
        self._raw = raw
        self._answer = answer
        self.job_id: str = raw["job_id"]

    def mark(self) -> tuple[object, ...]:
        """Return a value that is equal for rows between which the job has not changed."""
        return tuple(map(self._raw.get, _MARK_FIELDS))

    def job(self) -> FineTuneJob:
        """Return the snapshot. Raises `APIResponseValidationError` if the row cannot be read as a job."""
        response, request_id = self._answer
        return _read_job(response, self._raw, request_id=request_id)


@attrs.frozen
class ScannedPage:
    """A page of rows."""

    page_size: int
    """Jobs per page; as the service sent it, else as requested."""
    total: int | None
    rows: tuple[Row, ...]


def scan_page(response: Response, page_size: int) -> ScannedPage:
    """Return the rows of a page that have a job id, without reading the jobs."""
    payload = payload_of(response)
    output = output_of(response, payload)
    answer = (response, request_id_of(response, payload))
    jobs: object = output.get("jobs")
    rows = [
        Row(raw, answer)
        for raw in (cast("list[Json]", jobs) if isinstance(jobs, list) else ())
        if type(raw) is dict and type(raw.get("job_id")) is str
    ]
    return ScannedPage(count_of(output, "page_size") or page_size, count_of(output, "total"), tuple(rows))
