"""Answers about a job that say it in other words or other types, or speak of another job."""

from __future__ import annotations

import json
from typing import Any

from bench.faults._row import DONE, RUNNING, Row, for_ever, survived
from bench.faults.judging import Want
from tests.support.adversary import JOB_ID, Answer, job_body, kept, whole

_END = "2026-11-24 08:00:00"


def _returned(word: str | None) -> Want:
    """The job, or the official SDK's general error, which says the same in words."""
    return Want(kind="carry on", word=word, told_as=("DashScopeError",))


def _output(**fields: Any) -> Answer:
    return whole(json.dumps({"request_id": "r-1", "output": fields}).encode())


def _odd(**fields: Any) -> Answer:
    return _output(**{"job_id": JOB_ID, "status": "SUCCEEDED"} | fields)


def _ends(group: str, name: str, answer: Answer, word: str | None = "SUCCEEDED") -> Row:
    return Row(group, name, (RUNNING, answer), _returned(word))


_ENDS = "How the job ends"

_END_ROWS = (
    _ends(_ENDS, "FAILED", whole(job_body("FAILED")), "FAILED"),
    _ends(
        _ENDS,
        "FAILED, with the code of a bad request",
        whole(job_body("FAILED", code="InvalidParameter", message="no valid example")),
        "FAILED",
    ),
    _ends(_ENDS, "CANCELED", whole(job_body("CANCELED")), "CANCELED"),
    _ends(_ENDS, "CANCELED, with code 1, as documented", whole(job_body("CANCELED", code="1")), "CANCELED"),
    survived(_ENDS, "back from RUNNING to QUEUING first", whole(job_body("QUEUING"))),
    survived(_ENDS, "SUSPENDED first", whole(job_body("SUSPENDED"))),
    survived(_ENDS, "UNKNOWN first", whole(job_body("UNKNOWN"))),
    survived(_ENDS, "CANCELING first, and yet a success", whole(job_body("CANCELING"))),
    survived(
        _ENDS,
        "the model is named while it runs",
        whole(job_body("RUNNING", finetuned_output="qwen-ft-1")),
    ),
)

_WORDS = "Other words"

_WORD_ROWS = (
    _ends(_WORDS, "SUCCEED", whole(job_body("SUCCEED"))),
    _ends(_WORDS, "SUCCESSED", whole(job_body("SUCCESSED"))),
    _ends(_WORDS, "SUCCESS", whole(job_body("SUCCESS"))),
    _ends(_WORDS, "succeeded", whole(job_body("succeeded"))),
    _ends(_WORDS, "SUCCEEDED between blanks", whole(job_body(" SUCCEEDED\n"))),
    _ends(_WORDS, "CANCELLED", whole(job_body("CANCELLED")), "CANCELED"),
    survived(_WORDS, "an unknown word", whole(job_body("PONDERING"))),
    _ends(_WORDS, "an unknown word, and an end time", whole(job_body("EXPIRED", end_time=_END)), None),
    survived(_WORDS, "no status", _output(job_id=JOB_ID)),
    survived(_WORDS, "status null", _odd(status=None)),
    survived(_WORDS, "status empty", _odd(status="")),
    survived(_WORDS, "status a number", _odd(status=2)),
    survived(_WORDS, "status a list", _odd(status=["SUCCEEDED"])),
    _ends(_WORDS, "task_status for status", _output(job_id=JOB_ID, task_status="SUCCEEDED")),
    _ends(
        _WORDS,
        "data for output",
        whole(json.dumps({"data": {"job_id": JOB_ID, "status": "SUCCEEDED"}}).encode()),
    ),
)

_TYPES = "Wrong types, other jobs"

_TYPE_ROWS = (
    _ends(_TYPES, "null for lists", _odd(training_file_ids=None, validation_file_ids=None)),
    _ends(_TYPES, "a text for a list", _odd(training_file_ids="file-1")),
    _ends(_TYPES, "a list for the parameters", _odd(hyper_parameters=[1])),
    _ends(_TYPES, "null for the parameters", _odd(hyper_parameters=None)),
    _ends(_TYPES, "text for usage", _odd(usage="12345")),
    _ends(_TYPES, "an odd object for usage", _odd(usage={"tokens": [1]})),
    _ends(_TYPES, "a number for the user", _odd(user_identity=1654290265984853)),
    _ends(_TYPES, "a number for the model", _odd(model=7)),
    _ends(_TYPES, "an epoch for the times", _odd(create_time=1732435200, end_time=1732435200000)),
    _ends(_TYPES, "a number for the code", _odd(code=1)),
    _ends(_TYPES, "fields nobody knows", _odd(surprise={"deep": [1, None]})),
    survived(_TYPES, "no job id", _output(status="SUCCEEDED")),
    survived(_TYPES, "a number for the job id", _odd(job_id=1)),
    survived(_TYPES, "another job's end", _odd(job_id="ft-2")),
    survived(_TYPES, "another job's failure", _odd(job_id="ft-2", status="FAILED")),
    for_ever(_TYPES, "another job's end, for ever", _odd(job_id="ft-2")),
    Row(
        _TYPES,
        "another job's end, at the first request",
        (_odd(job_id="ft-2"), RUNNING, DONE),
        Want(kind="carry on"),
    ),
)

_TEXT = "Odd text, in every answer from then on"

_EMOJI = job_body("FAILED", message="?").replace(b"?", b"bad example \\ud83d")
_GBK = job_body(message="?").replace(b"?", "完成".encode("gbk"))
_CUT = job_body(message="?").replace(b"?", "完成".encode()[:-1])
_NAN = job_body(hyper_parameters={"loss": 0}).replace(b": 0}", b": NaN}")

_TEXT_ROWS = (
    _ends(_TEXT, "a message cut inside an emoji", whole(_EMOJI), "FAILED"),
    _ends(_TEXT, "a message cut inside a character", whole(_CUT)),
    _ends(_TEXT, "a message in another encoding (GBK)", whole(_GBK)),
    _ends(_TEXT, "a loss that is NaN", whole(_NAN)),
    _ends(_TEXT, "a byte order mark first", whole(b"\xef\xbb\xbf" + job_body())),
    _ends(_TEXT, "called gzip, and not compressed", whole(job_body(), content_encoding="gzip")),
    _ends(_TEXT, "called compressed by utf-8", whole(job_body(), content_encoding="utf-8")),
    _ends(_TEXT, "blanks around it", whole(b"\r\n  " + job_body() + b"\n\n")),
    _ends(_TEXT, "JSON that is called HTML", whole(job_body(), kind="text/html")),
    _ends(
        _TEXT,
        "JSON that is called nothing",
        kept(b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n%s" % (len(job_body()), job_body())),
    ),
)

WORDS = (*_END_ROWS, *_WORD_ROWS, *_TYPE_ROWS, *_TEXT_ROWS)
