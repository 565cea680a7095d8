"""The job itself: one, a page of them, all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from dashscope_ft_async._wire import decode_page, job_id_of, page_request
from dashscope_ft_async.client.core import Core
from dashscope_ft_async.models import FineTuneJob, JobPage

_STALE_PAGES = 10
"""Pages in a row without a new job: new jobs may shift some, but not so many."""


class Jobs(Core):
    """Jobs, one answer at a time."""

    async def get(self, job: str | FineTuneJob) -> FineTuneJob:
        """The job as it is now (``GET /fine-tunes/{job_id}``).

        Transient failures are tried again, at most `RetryPolicy.attempts` tries in all; a Retry-After of
        more than 60 seconds is not sat out. Cancelling leaves no request in flight.

        Raises:
            ConfigurationError: a bad id, before any request.
            APIError: what the last try met: `NotFoundError`, `AuthenticationError`, `RateLimitError`,
                `APIConnectionError`, `APIResponseValidationError`, …
            ClientClosedError: the client is closed.
        """
        job_id = job_id_of(job)
        return await self._call("get", job_id, lambda: self._observed(job_id))

    async def list(self, page_no: int = 1, page_size: int = 10, *, model: str | None = None) -> JobPage:
        """One page of the account's jobs (``GET /fine-tunes``), each a whole snapshot.

        A row that cannot be read as a job is left out, logged once, and kept in ``extra["jobs"]``.

        Args:
            page_no: 1 is the first.
            page_size: Jobs per page, 1 to 100.
            model: Only jobs that tune this model.

        Raises:
            ConfigurationError: a number out of range, before any request.
            APIError, ClientClosedError: as `get`.
        """
        request = page_request(page_no, page_size, model)

        async def once() -> JobPage:
            page = decode_page(await self._session.send(request), page_no, page_size)
            self._journal.listed(page)
            return page

        return await self._call("list", None, once)

    def iter_jobs(
        self, *, model: str | None = None, page_size: int = 100
    ) -> AsyncGenerator[FineTuneJob, None]:
        """All jobs of the account, page by page, each once.

        The service pages by number, so a job that is deleted meanwhile can hide another; raises as
        `list` does.
        """
        page_request(1, page_size, model)
        return self._iter_jobs(model, page_size)

    async def _iter_jobs(self, model: str | None, page_size: int) -> AsyncGenerator[FineTuneJob, None]:
        seen: set[str] = set()
        page_no = stale = 0
        while True:
            page_no += 1
            page = await self.list(page_no, page_size, model=model)
            stale += 1
            for job in page.jobs:
                if job.job_id not in seen:
                    stale = 0
                    seen.add(job.job_id)
                    yield job
            last = stale if page.total is None else page_no * page.page_size >= page.total
            if last or not page.jobs or stale >= _STALE_PAGES:
                return
