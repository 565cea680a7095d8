"""`FineTuneClient`, the front desk: it composes the floors below and decides nothing itself.

Long for its docstrings: they are what users read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, overload

from dashscope_ft_async._checks import check_timeout, checked, is_number
from dashscope_ft_async._crowd import Ended, OnUpdate, follow, in_order_of_ending, only_ended
from dashscope_ft_async._journal import Journal
from dashscope_ft_async._retrying import retried
from dashscope_ft_async._roster import PAGE_SIZE
from dashscope_ft_async._settings import Secret, settings
from dashscope_ft_async._text import shown
from dashscope_ft_async._version import __version__
from dashscope_ft_async._watch import Wait
from dashscope_ft_async._wire import (
    ScannedPage,
    decode_job,
    decode_page,
    job_id_of,
    job_request,
    page_request,
    scan_page,
)
from dashscope_ft_async.errors import (
    APIError,
    ConfigurationError,
    DashScopeFTError,
    JobCanceledError,
    JobError,
    JobFailedError,
)
from dashscope_ft_async.gate import Gate
from dashscope_ft_async.hub import Hub
from dashscope_ft_async.models import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.policy import PollPolicy, RetryPolicy, WaitPolicy
from dashscope_ft_async.session import Session, Ssl

if TYPE_CHECKING:
    import aiohttp

__all__ = ["FineTuneClient"]

_WIDTH = 32
"""Polls under way at once, at most."""
_DAY = 86_400.0
_STALE_PAGES = 10
"""Pages in a row without a new job: new jobs may shift some, but not so many."""


class FineTuneClient:
    """An asyncio client of the fine-tuning API (``/api/v1/fine-tunes``) that waits well.

    Use it as ``async with FineTuneClient() as client``, or call `close`. It belongs to the event loop
    and the process that first use it; every job id may also be a `FineTuneJob`.

    Args:
        api_key: Bearer key; else ``DASHSCOPE_API_KEY``, else the official SDK's key file
            (``DASHSCOPE_API_KEY_FILE_PATH`` or ``~/.dashscope/api_key``). It never appears in a repr, a
            log, an error or a pickle.
        base_url: Such as ``https://dashscope-intl.aliyuncs.com/api/v1``, with or without ``/api/v1``;
            else ``DASHSCOPE_BASE_URL`` or ``DASHSCOPE_HTTP_BASE_URL``, unless `region` is given.
        region: Name of a region instead of a URL (``ap-southeast-1``, ``cn-beijing``, ``us-east-1``,
            ``cn-hongkong``; with a workspace also ``eu-central-1`` and ``ap-northeast-1``); else
            ``DASHSCOPE_REGION``, else ``ap-southeast-1``. A key is valid in one region only.
        workspace: Sent as ``X-DashScope-WorkSpace``; else ``DASHSCOPE_WORKSPACE`` or
            ``DASHSCOPE_WORKSPACE_ID``.
        session: An aiohttp session to borrow. It is never closed here.
        timeout: Seconds for one request, headers and body together.
        retry: How failed requests are tried again.
        poll: How often waits ask; each wait may have its own.
        coalesce: Whether waits may be answered by pages of the list, where a page costs less than its
            jobs one by one. Nothing else changes.
        max_rate: Most requests per second that waits may make, all together. By default what the
            service's refusals teach.
        proxy: URL of an HTTP proxy. Proxy variables and netrc files are not read.
        ssl: An `ssl.SSLContext` (for a private CA) or an `aiohttp.Fingerprint`. Verification cannot be
            switched off.
        trace_configs: aiohttp tracing; it sees the request headers and so the key.
        allow_insecure_http: Allow plain ``http://`` to hosts other than this machine.

    Raises:
        ConfigurationError: before any request, for anything missing, unreadable or contradictory.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        region: str | None = None,
        workspace: str | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        coalesce: bool = True,
        max_rate: float | None = None,
        proxy: str | None = None,
        ssl: Ssl | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        # What is raised from here on keeps this frame, and whoever logs it may log the frame's variables.
        secret = None if api_key is None else Secret(api_key)
        del api_key
        given = {"proxy": proxy, "ssl": ssl, "trace_configs": trace_configs}
        clashes = [name for name, value in given.items() if value is not None]
        if session is not None and clashes:
            raise ConfigurationError(
                f"{', '.join(clashes)} cannot be given with session=: they belong to that session."
            )
        if not is_number(timeout) or timeout <= 0:
            raise ConfigurationError(f"timeout must be seconds greater than 0, not {timeout!r}.")
        self._retry = checked(retry or RetryPolicy(), RetryPolicy, "retry")
        self._timeout = timeout
        self._policy_of_all = WaitPolicy(
            checked(poll or PollPolicy(), PollPolicy, "poll"), self._retry, timeout
        )
        self._session = Session(
            settings(
                api_key=secret,
                base_url=base_url,
                region=region,
                workspace=workspace,
                allow_insecure_http=allow_insecure_http,
            ),
            timeout=timeout,
            user_agent=f"dashscope-ft-async/{__version__}",
            borrowed=session,
            proxy=proxy,
            ssl=ssl,
            trace_configs=trace_configs,
        )
        if max_rate is not None and (not is_number(max_rate) or max_rate <= 0):
            raise ConfigurationError(f"max_rate must be requests per second above 0, not {max_rate!r}.")
        self._coalesce = bool(coalesce)
        self._gate = Gate(self._retry, _WIDTH, max_rate)
        self._list_gate = Gate(self._retry, _WIDTH, max_rate)
        self._journal = Journal()
        self._hub: Hub | None = None

    def __repr__(self) -> str:
        if not hasattr(self, "_hub"):  # refused, and shown as a variable of a traceback
            return "<FineTuneClient not made>"
        return f"<FineTuneClient {self._session!r} {self._hub!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FineTuneClient cannot be pickled: make one in each process.")

    async def __aenter__(self) -> Self:
        self._session.check_usable()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and close the connections; nothing is left running.

        A borrowed session stays open. May be called again.

        Raises:
            ConfigurationError: called from another event loop or process than the client's.
        """
        self._session.check_home()
        if self._hub is not None:
            await self._hub.close()
        await self._session.close()

    # --- one answer ---------------------------------------------------------------------------------

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
        return await retried(lambda: self._observed(job_id), self._retry)

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

        return await retried(once, self._retry)

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

    # --- one wait -----------------------------------------------------------------------------------

    async def wait_for_terminal(
        self,
        job: str | FineTuneJob,
        *,
        timeout: float | None = _DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> FineTuneJob:
        """Wait until the job has SUCCEEDED, FAILED or been CANCELED, and return it.

        All waits of a client share one driver, so await as many at once as you like; waits for the same
        job share its polls. Transient trouble is sat out. Cancelling is prompt, touches no other wait
        and never the job.

        Args:
            job: Id of the job, or a snapshot of it.
            timeout: Seconds until the wait gives up, a request in flight included; `None` is never, 0
                is one poll. Where it cuts a pause short, one last poll is made, of at most 2 seconds.
            poll: Instead of the client's policy.
            on_update: Called, and awaited if it asks for it, with the first snapshot, with every
                change and with the terminal one. While it runs, newer snapshots replace unseen ones.
                What it raises ends this wait and is raised here.

        Raises:
            ConfigurationError: bad input, before any request.
            APIError: an answer that no waiting will mend: `NotFoundError`, `AuthenticationError`,
                `PermissionDeniedError`, `BadRequestError`; or `APIConnectionError` while the service
                was never reached.
            WaitTimeoutError: `timeout` passed; with the last snapshot, as for the following two.
            OutageError: failure without a break for longer than `PollPolicy.outage_tolerance`.
            JobVanishedError: the job was there, and is no more.
            ClientClosedError: the client is or was closed.
        """
        with self._wait(job_id_of(job), timeout, poll) as wait:
            return await follow(wait, on_update)

    async def wait_for_success(
        self,
        job: str | FineTuneJob,
        *,
        timeout: float | None = _DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> FineTuneJob:
        """As `wait_for_terminal`, but a job that did not succeed is raised.

        Raises:
            JobFailedError, JobCanceledError: the job ended so; the error's `job` is its last snapshot.
            JobError: the job ended under a status this version does not know.
        """
        ended = await self.wait_for_terminal(job, timeout=timeout, poll=poll, on_update=on_update)
        said = shown(ended.message or "", 2000)
        match ended.status:
            case JobStatus.SUCCEEDED:
                return ended
            case JobStatus.FAILED:
                raise JobFailedError(said or "the job failed", job=ended)
            case JobStatus.CANCELED:
                raise JobCanceledError(said or "the job was canceled", job=ended)
            case _:
                raise JobError("the job ended in a status this version does not know", job=ended)

    def watch(
        self,
        job: str | FineTuneJob,
        *,
        timeout: float | None = _DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[FineTuneJob, None]:
        """The first snapshot, every change, and last the terminal one.

        A change is what `FineTuneJob.is_change_from` says. A slow loop body delays nobody; it sees the
        newest snapshot next. Parameters and errors are those of `wait_for_terminal`; the time counts
        from the first step.
        """
        check_timeout(timeout)
        self._policy(poll)
        return self._watch(job_id_of(job), timeout, poll)

    async def _watch(
        self, job_id: str, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[FineTuneJob, None]:
        with self._wait(job_id, timeout, poll) as wait:
            async with aclosing(wait.changes()) as changes:
                async for snapshot in changes:
                    yield snapshot

    # --- many waits ---------------------------------------------------------------------------------

    def as_completed(
        self,
        jobs: Iterable[str | FineTuneJob],
        *,
        timeout: float | None = _DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Awaitable[FineTuneJob], None]:
        """The waits for many jobs, in the order in which they end.

            async for ended in client.as_completed(job_ids):
                job = await ended

        As in `asyncio.as_completed`, awaiting gives the terminal job or raises what that wait met; one
        bad id does not end the iteration. Each id is waited for once. Leaving the loop gives up the
        rest.

        Args:
            jobs: Ids or snapshots, taken as room comes: with `limit` it may be endless.
            timeout: Seconds for the whole call, from the first step on.
            poll: Instead of the client's policy.
            on_update: As in `wait_for_terminal`, for each of the jobs.
            limit: At most so many waits at once.

        Raises:
            ConfigurationError: a bad timeout, policy or limit, before any request.
        """
        return only_ended(self._crowd(jobs, timeout, poll, on_update, limit))

    @overload
    async def wait_many(
        self,
        jobs: Iterable[str | FineTuneJob],
        *,
        timeout: float | None = ...,
        poll: PollPolicy | None = ...,
        on_update: OnUpdate | None = ...,
        limit: int | None = ...,
        return_exceptions: Literal[False] = False,
    ) -> dict[str, FineTuneJob]: ...
    @overload
    async def wait_many(
        self,
        jobs: Iterable[str | FineTuneJob],
        *,
        timeout: float | None = ...,
        poll: PollPolicy | None = ...,
        on_update: OnUpdate | None = ...,
        limit: int | None = ...,
        return_exceptions: bool,
    ) -> dict[str, FineTuneJob | Exception]: ...
    async def wait_many(
        self,
        jobs: Iterable[str | FineTuneJob],
        *,
        timeout: float | None = _DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        limit: int | None = None,
        return_exceptions: bool = False,
    ) -> dict[str, Any]:
        """Wait for all of many jobs: ``{job_id: terminal job}``, in the order given, each id once.

        The first error stops our other waits (never the jobs) and is raised; its `results` holds the
        jobs that had ended by then. With ``return_exceptions=True`` nothing is stopped, and a job
        whose wait failed has the error in its place. Parameters are those of `as_completed`.

        Raises:
            ConfigurationError: bad input, a bad id included, before any request.
            DashScopeFTError: as `wait_for_terminal`, unless `return_exceptions`.
        """
        ids = list(dict.fromkeys(map(job_id_of, jobs)))
        results: dict[str, FineTuneJob | Exception] = {}
        async with aclosing(self._crowd(ids, timeout, poll, on_update, limit)) as ended:
            async for job_id, future in ended:
                try:
                    results[job_id] = await future
                except Exception as error:
                    if not return_exceptions:
                        if isinstance(error, DashScopeFTError):
                            error.results = {
                                name: job for name, job in results.items() if isinstance(job, FineTuneJob)
                            }
                        raise
                    results[job_id] = error
        return {job_id: results[job_id] for job_id in ids}

    # --- composition --------------------------------------------------------------------------------

    def _crowd(
        self,
        jobs: Iterable[str | FineTuneJob],
        timeout: float | None,
        poll: PollPolicy | None,
        on_update: OnUpdate | None,
        limit: int | None,
    ) -> AsyncGenerator[tuple[str, Ended], None]:
        policy = self._policy(poll)
        check_timeout(timeout)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ConfigurationError(f"limit must be a whole number from 1, or None, not {limit!r}.")

        async def from_the_first_step() -> AsyncGenerator[tuple[str, Ended], None]:
            hub, deadline = self._driver(), _deadline(timeout)
            crowd = in_order_of_ending(
                jobs, lambda job_id: hub.wait(job_id, policy, deadline), on_update, limit
            )
            async with aclosing(crowd):
                async for item in crowd:
                    yield item

        return from_the_first_step()

    def _wait(self, job_id: str, timeout: float | None, poll: PollPolicy | None) -> Wait:
        policy = self._policy(poll)
        check_timeout(timeout)
        return self._driver().wait(job_id, policy, _deadline(timeout))

    def _policy(self, poll: PollPolicy | None) -> WaitPolicy:
        if poll is None:
            return self._policy_of_all
        return WaitPolicy(checked(poll, PollPolicy, "poll"), self._retry, self._timeout)

    def _driver(self) -> Hub:
        self._session.check_usable()
        if self._hub is None:
            self._hub = Hub(
                self._fetch,
                self._gate,
                self._journal,
                fetch_page=self._fetch_page if self._coalesce else None,
                list_gate=self._list_gate,
            )
        return self._hub

    async def _fetch(self, job_id: str) -> FineTuneJob:
        try:
            return decode_job(await self._session.send(job_request(job_id)), job_id)
        except APIError as error:
            error.job_id = job_id
            raise

    async def _fetch_page(self, page_no: int) -> ScannedPage:
        return scan_page(await self._session.send(page_request(page_no, PAGE_SIZE, None)), PAGE_SIZE)

    async def _observed(self, job_id: str) -> FineTuneJob:
        """`_fetch`, and tell the gate: what a single call learns of the service, the waits know too."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome: FineTuneJob | APIError
        try:
            outcome = await self._fetch(job_id)
        except APIError as error:
            outcome = error
        self._gate.saw(outcome, began=began, now=loop.time(), u=random.random())
        if isinstance(outcome, APIError):
            raise outcome
        self._journal.met(outcome)
        return outcome


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
