"""Pages of jobs: read at once, or scanned and read on demand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dashscope_ft_async import JobPage
from dashscope_ft_async._api.wire import Response, decode_page, scan_page
from dashscope_ft_async.errors import APIResponseValidationError

OUTPUT = {"job_id": "ft-1", "status": "RUNNING"}


def answer(output: object) -> Response:
    return Response(200, {}, json.dumps({"request_id": "r", "output": output}).encode())


def page(**output: object) -> JobPage:
    return decode_page(answer(output), 3, 20)


@pytest.mark.parametrize("jobs", [{}, {"jobs": None}, {"jobs": []}], ids=repr)
def test_a_page_without_jobs_is_empty(jobs: dict[str, object]) -> None:
    assert page(**jobs) == JobPage(page_no=3, page_size=20, request_id="r")


NO_COUNTS: list[Any] = [None, "", "x", -1, True, 1.5, [], {}]


@pytest.mark.parametrize("sent", NO_COUNTS, ids=repr)
def test_numbers_of_a_page_that_cannot_be_read_are_those_asked_for(sent: object) -> None:
    read = page(page_no=sent, page_size=sent, total=sent)

    assert (read.page_no, read.page_size, read.total) == (3, 20, None)


def test_numbers_of_a_page_may_be_text() -> None:
    read = page(page_no="2", page_size="10", total="12", new=1)

    assert (read.page_no, read.page_size, read.total, read.extra) == (2, 10, 12, {"new": 1})


def test_an_odd_optional_field_of_a_row_is_kept_in_its_extra() -> None:
    odd: dict[str, Any] = {**OUTPUT, "usage": [], "jobs_name": "n"}
    read = page(jobs=[OUTPUT, odd])

    assert [job.job_name for job in read.jobs] == [None, "n"]
    assert read.jobs[1].extra == {"usage": []}


def test_a_row_that_is_no_job_is_left_out_and_kept_in_extra() -> None:
    bad: list[Any] = [None, "ft-3", {"job_id": "ft-2"}, {**OUTPUT, "status": []}]
    read = page(jobs=[bad[0], OUTPUT, *bad[1:], OUTPUT], total=6, new=1)

    assert [job.job_id for job in read.jobs] == [OUTPUT["job_id"]] * 2
    assert read.extra == {"new": 1, "jobs": bad}


NO_JOBS: list[Any] = [
    (5, "@ $.output.jobs"),
    (True, "@ $.output.jobs"),
    ("abc", "@ $.output.jobs"),
    ({"a": 1}, "@ $.output.jobs"),
    ([None], "found NoneType @ $.output.jobs[0]"),
    ([{"job_id": "ft-2"}, None], "@ $.output.jobs[0].status"),
    ([[]] * 1000, "@ $.output.jobs[0]"),
]


@pytest.mark.parametrize(("jobs", "where"), NO_JOBS, ids=lambda value: repr(value)[:40])
def test_an_undocumented_page_is_malformed_and_the_error_says_where(jobs: object, where: str) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        page(jobs=jobs)

    assert where in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_scanned_page_has_its_numbers_and_the_rows_that_have_an_id() -> None:
    rows: list[object] = [{"job_id": "a"}, None, 5, {"job_id": 5}, {"status": "RUNNING"}, {"job_id": "b"}]
    scanned = scan_page(answer({"jobs": rows, "page_size": "20", "total": 0}), 100)

    assert (scanned.page_size, scanned.total, [row.job_id for row in scanned.rows]) == (20, 0, ["a", "b"])


def test_a_scanned_page_without_numbers_has_the_size_that_was_requested() -> None:
    scanned = scan_page(answer({"jobs": {}, "new": 1}), 100)

    assert (scanned.page_size, scanned.total, scanned.rows) == (100, None, ())


def test_a_row_can_be_read_twice_and_a_row_without_a_status_not_at_all() -> None:
    good, bad = scan_page(
        answer({"jobs": [{**OUTPUT, "jobs_name": "n", "new": 1}, {"job_id": "b"}]}), 10
    ).rows

    assert good.job() == good.job()
    assert (good.job().job_name, good.job().request_id, good.job().extra) == ("n", "r", {"new": 1})
    with pytest.raises(APIResponseValidationError, match=r"@ \$\.output\.status"):
        bad.job()
