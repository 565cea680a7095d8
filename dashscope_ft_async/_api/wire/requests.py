"""The requests to build. Bad input is refused here, before anything is sent."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import quote, urlencode

from dashscope_ft_async._api.wire.messages import Request
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.redact import looks_like_a_key

_LEADS_ELSEWHERE = re.compile(r"[/\\?#%\s]")


def job_id_of(job: str | FineTuneJob | WatchState) -> str:
    """The id to ask for. Raises `ConfigurationError` for one that would reach another endpoint."""
    job_id = job.job_id if isinstance(job, FineTuneJob | WatchState) else job
    if not isinstance(cast("object", job_id), str):
        raise ConfigurationError(f"a job id is text, not {type(job_id).__name__}.")
    if not job_id.strip("."):
        raise ConfigurationError(
            f"{job_id!r} is no job id: it would ask for something else.", job_id=job_id
        )
    if looks_like_a_key(job_id):
        raise ConfigurationError("an API key is no job id; it was not sent.")
    if not job_id.isprintable() or _LEADS_ELSEWHERE.search(job_id):
        raise ConfigurationError(
            f"{job_id!r} is no job id: blanks, control characters and any of / \\ ? # % are not allowed.",
            job_id=job_id,
        )
    return job_id


def job_request(job_id: str) -> Request:
    """``GET /fine-tunes/{job_id}``."""
    return Request("GET", f"/fine-tunes/{quote(job_id, safe='')}")


def page_request(page_no: int, page_size: int, model: str | None) -> Request:
    """``GET /fine-tunes``. Raises `ConfigurationError` for numbers the service would refuse."""
    query = page_query(page_no, page_size)
    if model is not None:
        if not isinstance(cast("object", model), str) or not model or not model.isprintable():
            raise ConfigurationError(f"model must be the name of a model, not {model!r}.")
        query["model"] = model
    return Request("GET", f"/fine-tunes?{urlencode(query)}")


def page_query(page_no: int, page_size: int) -> dict[str, str | int]:
    """Which page. Raises `ConfigurationError` for numbers the service would refuse."""
    for name, number, most in (("page_no", page_no, 10**9), ("page_size", page_size, 100)):
        if type(number) is not int or not 1 <= number <= most:
            raise ConfigurationError(f"{name} must be a whole number from 1 to {most}, not {number!r}.")
    return {"page_no": page_no, "page_size": page_size}
