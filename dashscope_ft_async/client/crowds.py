"""Waits for many jobs at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import aclosing
from typing import Any, Literal, cast, overload

from dashscope_ft_async._engine.completion import Ended, OnUpdate, in_order_of_ending, only_ended
from dashscope_ft_async.client.core import DAY, Core, Watchable, deadline_after
from dashscope_ft_async.errors import ConfigurationError, DashScopeFTError
from dashscope_ft_async.models import FineTuneJob, WatchState
from dashscope_ft_async.models.checks import check_timeout
from dashscope_ft_async.policy import PollPolicy


class Crowds(Core):
    """Waits for the ends of many jobs."""

    def as_completed(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: float | None = DAY,
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
            jobs: Ids, snapshots or `WatchState`, taken as room comes: with `limit` it may be endless.
            timeout: Seconds for the whole call, from the first step on; a `WatchState` keeps its own
                deadline.
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
        jobs: Iterable[Watchable],
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
        jobs: Iterable[Watchable],
        *,
        timeout: float | None = ...,
        poll: PollPolicy | None = ...,
        on_update: OnUpdate | None = ...,
        limit: int | None = ...,
        return_exceptions: bool,
    ) -> dict[str, FineTuneJob | Exception]: ...
    async def wait_many(
        self,
        jobs: Iterable[Watchable],
        *,
        timeout: float | None = DAY,
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
        chosen: dict[str, Watchable] = {}
        for job in _many(jobs):
            chosen.setdefault(self._id_of(job), job)
        results: dict[str, FineTuneJob | Exception] = {}
        async with aclosing(self._crowd(chosen.values(), timeout, poll, on_update, limit)) as ended:
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
        return {job_id: results[job_id] for job_id in chosen}

    def _crowd(
        self,
        jobs: Iterable[Watchable],
        timeout: float | None,
        poll: PollPolicy | None,
        on_update: OnUpdate | None,
        limit: int | None,
    ) -> AsyncGenerator[tuple[str, Ended], None]:
        policy = self._policy(poll)
        jobs = _many(jobs)
        check_timeout(timeout)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ConfigurationError(f"limit must be a whole number from 1, or None, not {limit!r}.")

        async def from_the_first_step() -> AsyncGenerator[tuple[str, Ended], None]:
            hub, deadline = self._driver(), deadline_after(timeout)
            crowd = in_order_of_ending(
                jobs,
                self._id_of,
                lambda job_id, job: hub.wait(job_id, policy, self._begin(job, deadline)),
                on_update,
                limit,
            )
            async with aclosing(crowd):
                async for item in crowd:
                    yield item

        return from_the_first_step()


def _many(jobs: Iterable[Watchable]) -> Iterable[Watchable]:
    """Refuse one job where many belong: the letters of an id are no ids."""
    if isinstance(jobs, str | FineTuneJob | WatchState) or not isinstance(cast("object", jobs), Iterable):
        raise ConfigurationError("jobs must be a list, or another iterable, of jobs: for one, [job].")
    return jobs
