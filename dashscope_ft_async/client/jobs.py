"""Single jobs and pages of jobs: get, list, create, cancel, delete."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import attrs

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.wire import job_id_of
from dashscope_ft_async.client.base import ClientBase
from dashscope_ft_async.errors import (
    APIError,
    BadRequestError,
    ClientClosedError,
    EndpointNotFoundError,
    NotFoundError,
)
from dashscope_ft_async.hooks import RowsSkipped, UnknownStatus
from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.policy import may_have_effect, may_retry

_STALE_PAGES = 10
"""Pages in a row without a new job, after which iteration ends: jobs that are created meanwhile may shift
some pages, but not so many."""


class Jobs(ClientBase):
    """Methods about jobs that make one request."""

    async def get(self, job: str | FineTuneJob) -> FineTuneJob:
        """The job as it is now (``GET /fine-tunes/{job_id}``).

        Transient failures are retried, at most `RetryPolicy.attempts` tries in all; a Retry-After of more
        than 60 seconds is not sat out. Cancelling leaves no request in flight.

        Raises:
            ConfigurationError: a bad id, before any request.
            APIError: the failure of the last try: `NotFoundError`, `AuthenticationError`,
                `RateLimitError`, `APIConnectionError`, `APIResponseValidationError`, …
            ClientClosedError: the client is closed.
        """
        found = await self._runner.perform(calls.get_job(job_id_of(job)))
        if found.status is JobStatus.UNRECOGNIZED:
            self._events.emit(UnknownStatus(job=found))
        return found

    async def list(self, page_no: int = 1, page_size: int = 10, *, model: str | None = None) -> JobPage:
        """One page of the account's jobs (``GET /fine-tunes``), each a complete snapshot.

        A row that cannot be read as a job is left out, logged once, and kept in ``extra["jobs"]``.

        Args:
            page_no: Number of the page; 1 is the first.
            page_size: Jobs per page, 1 to 100.
            model: Only jobs that tune this model.

        Raises:
            ConfigurationError: a number out of range, before any request.
            APIError, ClientClosedError: as `get`.
        """
        page = await self._runner.perform(calls.list_jobs(page_no, page_size, model))
        if skipped := len(page.extra.get("jobs", ())):
            self._events.emit(RowsSkipped(skipped=skipped, total=skipped + len(page.jobs)))
        return page

    def iter_jobs(
        self, *, model: str | None = None, page_size: int = 100
    ) -> AsyncGenerator[FineTuneJob, None]:
        """All jobs of the account, page by page, each once.

        The service numbers its pages, so a job that is deleted meanwhile can hide another one. Raises as
        `list` does.
        """
        calls.list_jobs(1, page_size, model)  # raises for bad arguments at once
        return self._iter_jobs(model, page_size)

    async def _iter_jobs(self, model: str | None, page_size: int) -> AsyncGenerator[FineTuneJob, None]:
        seen: set[str] = set()
        page_no = stale = rows = skipped = 0
        while True:
            page_no += 1
            page = await self.list(page_no, page_size, model=model)
            # The service may serve smaller pages than it echoes: count rows, not pages.
            skipped += len(page.extra.get("jobs", ()))
            rows += len(page.jobs) + len(page.extra.get("jobs", ()))
            stale += 1
            for job in page.jobs:
                if job.job_id not in seen:
                    seen.add(job.job_id)
                    stale = 0
                    yield job
            if page.total is None:
                at_end = stale > 0
            else:
                at_end = len(seen) + skipped >= page.total or (rows >= page.total and stale > 0)
            if at_end or not page.jobs or stale >= _STALE_PAGES:
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
        finetuned_output_suffix: str | None = None,
        rollout: Mapping[str, Any] | None = None,
        rewards: Sequence[Mapping[str, Any]] | None = None,
        resource_config: Mapping[str, Any] | None = None,
        teacher_model: str | None = None,
        priority: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> FineTuneJob:
        """Create a job (``POST /fine-tunes``), and return it as the service describes it.

        The request is sent again only if it certainly had no effect: no connection was made, or it was
        throttled. After any other failure the job may exist although no good answer came; then the error's
        `maybe_created` is true, and its text says how to find out. Cancelling leaves the same doubt. A
        throttled create does not slow down waits. The fields are those of the page "Create a fine-tuning
        job" (https://www.alibabacloud.com/help/en/model-studio/create-fine-tuning-job-api).

        Args:
            model: Model to tune; may be a tuned one.
            training_file_ids: Ids (or URLs) of files. Give either these or `training_datasets`.
            training_datasets: Such as ``{"data_source_type": "file_id", "file_id": …}``, sent as given.
            validation_file_ids: The same for validation; optional.
            validation_datasets: The same for validation; optional.
            hyper_parameters: Sent as given; whatever JSON can hold.
            training_type: ``sft``, ``efficient_sft``, ``cpt``, ``dpo_full``, ``dpo_lora``, …
            job_name: Free text, by which the job is easy to find again.
            model_name: Display name of the resulting model.
            finetuned_output_suffix: Suffix of the name of the resulting model; older versions of the API.
            rollout: The function that samples answers; reinforcement learning only.
            rewards: The functions that rate the answers; reinforcement learning only.
            resource_config: Resources and billing, such as ``{"charge_type": "mtu_postpaid"}``.
            teacher_model: Model that the tuned one learns from. The page does not describe it.
            priority: Priority of the job. The page does not describe it.
            extra_body: Further fields of the body, sent as given. They replace arguments of the same name.
                With it, neither `training_file_ids` nor `training_datasets` is required.

        Raises:
            ConfigurationError: bad input, before any request.
            BadRequestError: the service refuses a parameter.
            RateLimitError: throttled in every try; or too many jobs, which is raised at once.
            APIError, ClientClosedError: any other failure; see `maybe_created`.
        """
        call = calls.create_job(
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
                "finetuned_output_suffix": finetuned_output_suffix,
                "rollout": rollout,
                "rewards": rewards,
                "resource_config": resource_config,
                "teacher_model": teacher_model,
                "priority": priority,
                "extra_body": extra_body,
            }
        )

        self._session.check_usable()  # or a client that is closed would raise a doubt
        try:
            return await self._runner.perform(call)
        except (APIError, ClientClosedError) as error:
            error.maybe_created = may_have_effect(error)
            raise

    async def cancel(self, job: str | FineTuneJob) -> None:
        """Ask the service to cancel the job (``POST /fine-tunes/{job_id}/cancel``).

        When this returns, the job is CANCELING, and may yet end in any of the three ways: wait for it. A
        second cancel does no harm, so failures are retried as in `get`. If a try that seemed to fail was
        carried out, and the next one is refused because of it, that is success.

        Raises:
            ConfigurationError: a bad id, before any request.
            BadRequestError: the job's state does not allow it; it has ended, for instance.
            APIError, ClientClosedError: as `get`.
        """
        job_id, doubt = job_id_of(job), _Doubt()
        try:
            await self._runner.perform(attrs.evolve(calls.cancel_job(job_id), may_retry=doubt.may_retry))
        except BadRequestError:
            if not doubt.arose or (await self.get(job_id)).status not in _CANCELED:
                raise

    async def delete(self, job: str | FineTuneJob) -> None:
        """Delete the job (``DELETE /fine-tunes/{job_id}``); a job in training cannot be deleted.

        Failures are retried as in `get`. If the answer to a try was lost and the next one finds no job,
        the job has been deleted.

        Raises:
            ConfigurationError: a bad id, before any request.
            NotFoundError: there is no such job.
            BadRequestError: the job's state does not allow it.
            APIError, ClientClosedError: as `get`.
        """
        job_id, doubt = job_id_of(job), _Doubt()
        try:
            await self._runner.perform(attrs.evolve(calls.delete_job(job_id), may_retry=doubt.may_retry))
        except NotFoundError as error:
            if not doubt.arose or isinstance(error, EndpointNotFoundError):
                raise


_CANCELED = (JobStatus.CANCELING, JobStatus.CANCELED)


class _Doubt:
    """Whether one of several tries may have been carried out although it failed."""

    def __init__(self) -> None:
        self.arose = False

    def may_retry(self, error: BaseException, *, answered: bool) -> bool:
        """As `policy.may_retry`; records a try that may have had its effect."""
        self.arose = self.arose or may_have_effect(error)
        return may_retry(error, answered=answered)
