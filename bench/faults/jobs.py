"""Rows with responses about a job: unusual statuses, types and text, and other jobs."""

from __future__ import annotations

import json
from typing import Any

from bench.faults.row import RETURN, RUNNING, SUCCEEDED, Row, ends, forever, group, job, midway
from tests.support.adversary import JOB_ID, Answer, job_body, kept, whole

_TIME = "2026-11-24 08:00:00"


def _output(**fields: Any) -> Answer:
    """A response with exactly these fields."""
    return whole(json.dumps({"request_id": "r-1", "output": fields}).encode())


def _job(**fields: Any) -> Answer:
    """A job that has succeeded, with some fields replaced."""
    return _output(**{"job_id": JOB_ID, "status": "SUCCEEDED", "finetuned_output": "qwen-ft-1"} | fields)


def _status(status: str, **fields: Any) -> Answer:
    return whole(job(status, **fields))


_EMOJI = job("FAILED", message="?").replace(b"?", b"bad example \\ud83d")
_GBK = job(message="?").replace(b"?", "完成".encode("gbk"))
_CUT = job(message="?").replace(b"?", "完成".encode()[:-1])


def _message(raw: bytes) -> Answer:
    """A job that has failed, with these bytes in its message."""
    return whole(job("FAILED", message="?").replace(b"?", b"row 3:%sx" % raw))


def _number(raw: bytes) -> Answer:
    """A job with these bytes in place of a number."""
    return whole(job(hyper_parameters={"loss": 0}).replace(b": 0}", b": %s}" % raw))


JOBS = (
    *group(
        "Final statuses",
        ends("FAILED", _status("FAILED"), "FAILED"),
        ends("FAILED with the code of a bad request", _status("FAILED", code="InvalidParameter"), "FAILED"),
        ends("CANCELED", _status("CANCELED"), "CANCELED"),
        ends("CANCELED with code 1, as documented", _status("CANCELED", code="1"), "CANCELED"),
        ends("SUCCEEDED without the name of the model", whole(job_body())),
        midway("from RUNNING back to QUEUING first", _status("QUEUING")),
        midway("SUSPENDED first", _status("SUSPENDED")),
        midway("UNKNOWN first", _status("UNKNOWN")),
        midway("CANCELING first, then SUCCEEDED", _status("CANCELING")),
    ),
    *group(
        "Unusual statuses",
        ends("SUCCEED", _status("SUCCEED")),
        ends("SUCCESSED", _status("SUCCESSED")),
        ends("SUCCESS", _status("SUCCESS")),
        ends("succeeded", _status("succeeded")),
        ends("SUCCEEDED with blanks around it", _status(" SUCCEEDED\n")),
        ends("CANCELLED", _status("CANCELLED"), "CANCELED"),
        midway("an unknown status", _status("PONDERING")),
        ends("an unknown status with an end time", _status("EXPIRED", end_time=_TIME), None),
        midway("no status", _output(job_id=JOB_ID)),
        midway("status null", _job(status=None)),
        midway("status empty", _job(status="")),
        midway("status a number", _job(status=2)),
        midway("status a list", _job(status=["SUCCEEDED"])),
        ends("task_status instead of status", _output(job_id=JOB_ID, task_status="SUCCEEDED")),
        ends(
            "data instead of output",
            whole(json.dumps({"data": {"job_id": JOB_ID, "status": "SUCCEEDED"}}).encode()),
        ),
    ),
    *group(
        "Wrong types and other jobs",
        ends("null for lists", _job(training_file_ids=None, validation_file_ids=None)),
        ends("text for a list", _job(training_file_ids="file-1")),
        ends("a list for the hyper-parameters", _job(hyper_parameters=[1])),
        ends("null for the hyper-parameters", _job(hyper_parameters=None)),
        ends("text for usage", _job(usage="12345")),
        ends("an object for usage", _job(usage={"tokens": [1]})),
        ends("a number for the user", _job(user_identity=1654290265984853)),
        ends("a number for the model", _job(model=7)),
        ends("numbers for the times", _job(create_time=1732435200, end_time=1732435200000)),
        ends("a number for the code", _job(code=1)),
        ends("unknown fields", _job(surprise={"deep": [1, None]})),
        midway("no job id", _output(status="SUCCEEDED")),
        midway("a number for the job id", _job(job_id=1)),
        midway("the end of another job", _job(job_id="ft-2")),
        midway("the failure of another job", _job(job_id="ft-2", status="FAILED")),
        forever("the end of another job, forever", _job(job_id="ft-2")),
        Row(
            "the end of another job, at the first request",
            (_job(job_id="ft-2"), RUNNING, SUCCEEDED),
            RETURN,
        ),
    ),
    *group(
        "Unusual text, in all later responses",
        ends("a message cut inside an emoji", whole(_EMOJI), "FAILED"),
        ends("a message cut inside a character", whole(_CUT)),
        ends("a message in GBK", whole(_GBK)),
        ends("a tab inside a message", _message(b"\t"), "FAILED"),
        ends("a line break inside a message", _message(b"\n"), "FAILED"),
        ends("a control character inside a message", _message(b"\x01"), "FAILED"),
        ends("NaN for a number", _number(b"NaN")),
        ends("1e999 for a number", _number(b"1e999")),
        ends("a number of 400 digits", _number(b"9" * 400)),
        ends("a byte order mark", whole(b"\xef\xbb\xbf" + job())),
        ends("declared gzip, not compressed", whole(job(), content_encoding="gzip")),
        ends("declared encoding utf-8", whole(job(), content_encoding="utf-8")),
        ends("blanks around the JSON", whole(b"\r\n  " + job() + b"\n\n")),
        ends("JSON declared as HTML", whole(job(), kind="text/html")),
        ends(
            "JSON without a type",
            kept(b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n%s" % (len(job()), job())),
        ),
    ),
)
