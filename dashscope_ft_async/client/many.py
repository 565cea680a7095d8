"""Waits for many jobs at once: `as_completed` and `wait_many`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, Literal, cast, overload

from dashscope_ft_async._engine.completion import Completion, OnUpdate
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async.client.base import ClientBase, Watchable, deadline_after
from dashscope_ft_async.errors import ConfigurationError, DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.checks import Timeout, timeout_seconds
from dashscope_ft_async.models.limits import DAY
from dashscope_ft_async.policy import PollPolicy


class ManyWaits(ClientBase):
    """Waits for many jobs."""

    def as_completed(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Awaitable[FineTuneJob], None]:
        """The waits for many jobs, in the order in which they end.

            async for ended in client.as_completed(job_ids):
                job = await ended

        As in `asyncio.as_completed`, awaiting `ended` returns the terminal job or raises the error of that
        wait; one bad id does not end the iteration. Jobs that ended within one poll come in the order of
        their `end_time`. Each id is waited for once. Leaving the loop gives up the remaining waits.

        Args:
            jobs: Ids, snapshots or `WatchState`. With `limit` they are taken one by one as waits end, so
                the iterable may be endless.
            timeout: Seconds, or a `timedelta`, for the whole call, from the first step of the iteration
                on; a `WatchState` keeps its own deadline.
            poll: Replaces the client's policy for these waits.
            on_update: As in `wait_for_terminal`, for each of the jobs.
            limit: Largest number of waits at once; `None` is no limit.

        Raises:
            ConfigurationError: a bad timeout, policy or limit, before any request.
        """
        return self._as_completed(self._completion(jobs, timeout, poll, on_update, limit))

    async def _as_completed(
        self, make: Callable[[], Completion[Watchable]]
    ) -> AsyncGenerator[Awaitable[FineTuneJob], None]:
        completion = make()
        try:
            while (item := await completion.next()) is not None:
                yield item[1]
        finally:
            await completion.close()

    @overload
    async def wait_many(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: Timeout = ...,
        poll: PollPolicy | None = ...,
        on_update: OnUpdate | None = ...,
        limit: int | None = ...,
        return_exceptions: Literal[False] = False,
    ) -> dict[str, FineTuneJob]: ...
    @overload
    async def wait_many(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: Timeout = ...,
        poll: PollPolicy | None = ...,
        on_update: OnUpdate | None = ...,
        limit: int | None = ...,
        return_exceptions: bool,
    ) -> dict[str, FineTuneJob | Exception]: ...
    async def wait_many(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        limit: int | None = None,
        return_exceptions: bool = False,
    ) -> dict[str, Any]:
        """Wait for all of many jobs: ``{job_id: terminal job}``, in the order given, each id once.

        The first error ends the other waits (not the jobs) and is raised; its `results` has the jobs that
        had ended by then. With ``return_exceptions=True`` no wait is ended, and the error of a wait is
        the value of its job. Parameters are those of `as_completed`.

        Raises:
            ConfigurationError: bad input, a bad id included, before any request.
            DashScopeFTError: as `wait_for_terminal`, unless `return_exceptions`.
        """
        chosen: dict[str, Watchable] = {}
        for job in _many(jobs):
            chosen.setdefault(self._job_id_of(job), job)
        results: dict[str, FineTuneJob | Exception] = {}
        completion = self._completion(chosen.values(), timeout, poll, on_update, limit)()
        try:
            while (item := await completion.next()) is not None:
                job_id, ended = item
                try:
                    results[job_id] = await ended
                except Exception as error:
                    if not return_exceptions:
                        if isinstance(error, DashScopeFTError):
                            error.results = {
                                name: job for name, job in results.items() if isinstance(job, FineTuneJob)
                            }
                        raise
                    results[job_id] = error
        finally:
            await completion.close()
        return {job_id: results[job_id] for job_id in chosen}

    def _completion(
        self,
        jobs: Iterable[Watchable],
        timeout: Timeout,
        poll: PollPolicy | None,
        on_update: OnUpdate | None,
        limit: int | None,
    ) -> Callable[[], Completion[Watchable]]:
        """Check the arguments; what is returned begins the waits."""
        policy, jobs, seconds = self._policy_for(poll), _many(jobs), timeout_seconds(timeout)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ConfigurationError(f"limit must be a whole number from 1, or None, not {limit!r}.")

        def begin_all() -> Completion[Watchable]:
            scheduler, deadline = self._scheduler(), deadline_after(seconds)

            def begin(job_id: str, job: Watchable) -> Wait:
                return scheduler.add(job_id, policy, self._begin_state(job, deadline))

            return Completion(scheduler, jobs, self._job_id_of, begin, on_update, limit)

        return begin_all


def _many(jobs: Iterable[Watchable]) -> Iterable[Watchable]:
    """Refuse a single job: its letters would be taken for ids."""
    if isinstance(jobs, str | FineTuneJob | WatchState) or not isinstance(cast("object", jobs), Iterable):
        raise ConfigurationError("jobs must be a list, or another iterable, of jobs: for one, [job].")
    return jobs
