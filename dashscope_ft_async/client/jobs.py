"""The job itself: one, a page of them, all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from dashscope_ft_async._api.wire import (
    cancel_request,
    create_request,
    decode_created,
    decode_done,
    decode_page,
    delete_request,
    job_id_of,
    page_request,
)
from dashscope_ft_async.client.core import Core
from dashscope_ft_async.errors import (
    APIError,
    BadRequestError,
    ClientClosedError,
    EndpointNotFoundError,
    NotFoundError,
)
from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.policy import maybe_done, was_refused

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

    async def create(
        self,
        *,
        model: str,
        training_file_ids: Sequence[str] | None = None,
        training_datasets: Sequence[Mapping[str, Any]] | None = None,
        validation_file_ids: Sequence[str] | None = None,
        validation_datasets: Sequence[Mapping[str, Any]] | None = None,
        hyper_parameters: Mapping[str, Any] | None = None,
        training_type: str | None = None,
        job_name: str | None = None,
        model_name: str | None = None,
    ) -> FineTuneJob:
        """Create a job (``POST /fine-tunes``), and return it as the service tells it.

        It is sent again only when it is certain that nothing came of it: no connection was made, or it
        was throttled. After anything else the job may be there although no good answer came: then the
        error's `maybe_created` is true, and its text says how to find out. A throttled create slows no
        wait. Cancelling it leaves the same doubt.

        Args:
            model: Model to tune; may be a tuned one.
            training_file_ids: Ids (or URLs) of files. Either these or `training_datasets`.
            training_datasets: Such as ``{"data_source_type": "file_id", "file_id": …}``, sent as given.
            validation_file_ids: The same for validation; optional.
            validation_datasets: The same for validation; optional.
            hyper_parameters: Sent as given; whatever JSON can hold.
            training_type: ``sft``, ``efficient_sft``, ``cpt``, ``dpo_full``, ``dpo_lora``, …
            job_name: Free text. One of your own makes a job easy to find again.
            model_name: Display name of the resulting model.

        Raises:
            ConfigurationError: bad input, before any request.
            BadRequestError: the service refuses a parameter.
            RateLimitError: throttled to the end; or too many jobs, which is raised at once.
            APIError, ClientClosedError: anything else; look at `maybe_created`.
        """
        request = create_request(
            {
                "model": model,
                "training_file_ids": training_file_ids,
                "training_datasets": training_datasets,
                "validation_file_ids": validation_file_ids,
                "validation_datasets": validation_datasets,
                "hyper_parameters": hyper_parameters,
                "training_type": training_type,
                "job_name": job_name,
                "model_name": model_name,
            }
        )

        async def once() -> FineTuneJob:
            self._session.check_usable()
            try:
                return await self._asked(request, decode_created)
            except (APIError, ClientClosedError) as error:
                error.maybe_created = maybe_done(error)
                raise

        return await self._call("create", None, once, was_refused)

    async def cancel(self, job: str | FineTuneJob) -> None:
        """Ask the service to cancel the job (``POST /fine-tunes/{job_id}/cancel``).

        That it was accepted does not end the job: it is CANCELING, and may yet end in any of the three
        ways. Wait for it. A second cancel does no harm, so failures are tried again as in `get`; where
        a try that failed was carried out and the next one is refused for it, that is success.

        Raises:
            ConfigurationError: a bad id, before any request.
            BadRequestError: the job's state does not allow it; it has ended, for instance.
            APIError, ClientClosedError: as `get`.
        """
        job_id = job_id_of(job)
        doubt = _Doubt()

        async def once() -> None:
            with doubt:
                await self._asked(cancel_request(job_id), decode_done, job_id)

        try:
            await self._call("cancel", job_id, once)
        except BadRequestError:
            if not doubt.arose or (await self.get(job_id)).status not in _CANCELED:
                raise

    async def delete(self, job: str | FineTuneJob) -> None:
        """Delete the job (``DELETE /fine-tunes/{job_id}``); a job in training cannot be deleted.

        Failures are tried again as in `get`; a job that is not there after a try whose answer was lost
        has been deleted. (A request on a connection that turns out to be dead is sent anew by aiohttp
        without a word; then `NotFoundError` may be about a job that was just deleted.)

        Raises:
            ConfigurationError: a bad id, before any request.
            NotFoundError: there is no such job.
            BadRequestError: the job's state does not allow it.
            APIError, ClientClosedError: as `get`.
        """
        job_id = job_id_of(job)
        doubt = _Doubt()

        async def once() -> None:
            with doubt:
                await self._asked(delete_request(job_id), decode_done, job_id)

        try:
            await self._call("delete", job_id, once)
        except NotFoundError as error:
            if not doubt.arose or isinstance(error, EndpointNotFoundError):
                raise


_CANCELED = (JobStatus.CANCELING, JobStatus.CANCELED)


class _Doubt:
    """Around each of several tries: whether one may have been carried out although it failed."""

    def __init__(self) -> None:
        self.arose = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and maybe_done(error):
            self.arose = True
