"""Logs of a job, and the training metrics in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

import attrs

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.wire import job_id_of, stream_request
from dashscope_ft_async._engine.log_position import LogPosition
from dashscope_ft_async._engine.log_reader import LogReader, StreamedLogReader, read_page
from dashscope_ft_async.client.base import ClientBase, Watchable
from dashscope_ft_async.errors import (
    APIResponseValidationError,
    ConfigurationError,
    DashScopeFTError,
)
from dashscope_ft_async.models import FineTuneJob, LogPage, TrainingMetric, WatchState
from dashscope_ft_async.models.checks import Timeout
from dashscope_ft_async.models.limits import DAY, STREAM_SILENCE, STREAMS_AT_ONCE
from dashscope_ft_async.policy import PollPolicy, may_retry

_T = TypeVar("_T")


class Logs(ClientBase):
    """The log of a job, and the training metrics in it."""

    _open_streams = 0

    async def logs(self, job: str | FineTuneJob, *, offset: int = 0, lines: int = 100) -> LogPage:
        """Get one page of the job's log (``GET /fine-tunes/{job_id}/logs``).

        Args:
            job: Id of the job, or a snapshot of it.
            offset: Sent unchanged. The service's page says it is the number of lines to skip, its SDK
                counts lines from 1. `iter_logs` and `follow_logs` find out.
            lines: Maximum number of lines in the answer, 1 to 1000.

        Raises:
            ConfigurationError: a bad id or number, before any request.
            APIResponseValidationError: among others, the answer is larger than 8 MiB: request fewer lines.
            APIError, ClientClosedError: as `get`.
        """
        return await self._get_log_page(job_id_of(job), offset, lines)

    def iter_logs(self, job: str | FineTuneJob, *, after: int = 0) -> AsyncGenerator[str, None]:
        """Iterate over the lines of the log as it is now, each once and in order.

        Args:
            job: Id of the job, or a snapshot of it.
            after: Number of lines to leave out at the start.

        Raises:
            ConfigurationError: a bad id or number, before any request.
            APIError, ClientClosedError: as `get`.
        """
        return self._iterate(job_id_of(job), _checked_after(after), str)

    def metrics(self, job: str | FineTuneJob) -> AsyncGenerator[TrainingMetric, None]:
        """Iterate over the training metrics in the log as it is now.

        Only forms of lines known from the service's pages and from published logs are read; other lines
        are left out. Raises as `iter_logs`.
        """
        return self._iterate(job_id_of(job), 0, TrainingMetric.from_line)

    def follow_logs(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[str, None]:
        """Iterate over the lines of the job's log as they are written, each once and in order, to its end.

        A line that is rewritten in the log, such as a progress bar, is given again with its new text. The
        end is the end of the job, or the completion line (``##FT_COMPLETE##``, which is given too), and
        afterwards an answer without new lines.

        Transient failures are retried as in `wait_for_terminal`. Polls of the job are shared with all
        waits for it, and the account's rate too. The log of a job that has not started is not requested.

        Args:
            job: Id of the job, a snapshot of it, or the `WatchState` of an earlier wait.
            after: Number of lines to leave out, for example those that an earlier run has read. The default
                is `WatchState.log_offset` for a state (`WaitError.state` has one), otherwise 0.
            timeout: As in `wait_for_terminal`; starts with the first step of the iteration.
            poll: Used instead of the client's policy, for the requests for the log too.

        Raises:
            ConfigurationError: bad input, before any request.
            NotFoundError: there is no such job, or it has started and has no log.
            APIError, WaitError: as `wait_for_terminal`. `WaitTimeoutError` is raised too if the job has
                ended and its log still grows at the deadline.
        """
        return self._follow(job, self._checked(job, after, timeout, poll), timeout, poll, str)

    def follow_metrics(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[TrainingMetric, None]:
        """Iterate over the training metrics in the lines of `follow_logs`, read as `metrics` reads them.

        Parameters and errors are those of `follow_logs`, and so of `wait_for_terminal`.
        """
        return self._follow(
            job, self._checked(job, after, timeout, poll), timeout, poll, TrainingMetric.from_line
        )

    def stream_events(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[str, None]:
        """Iterate over the lines of `follow_logs`, those of a running job from the service's event stream.

        ``GET /fine-tunes/{job_id}/stream`` is not documented; it is read as the official SDK reads it. If
        there is no stream, or it ends early or is silent for a minute, pages of the log are read instead.
        They also bring the lines that the stream left out; no line comes twice. A client reads at most 50
        streams at once, and the logs of other jobs in pages.

        Parameters and errors are those of `follow_logs`, and so of `wait_for_terminal`. The state of an
        error counts only the lines that came in pages, so continuing from it may repeat lines of the
        stream, but loses none.
        """
        return self._stream_events(job, self._checked(job, after, timeout, poll), timeout, poll)

    # One async generator each: nested ones may be closed in any order when the event loop shuts down.

    async def _iterate(
        self, job_id: str, after: int, convert: Callable[[str], _T | None]
    ) -> AsyncGenerator[_T, None]:
        position = LogPosition(after)
        while not position.at_end:
            for line in await read_page(
                lambda offset, lines: self._get_log_page(job_id, offset, lines), position
            ):
                if (converted := convert(line)) is not None:
                    yield converted

    async def _follow(
        self,
        job: Watchable,
        after: int,
        timeout: Timeout,
        poll: PollPolicy | None,
        convert: Callable[[str], _T | None],
    ) -> AsyncGenerator[_T, None]:
        scheduler, wait = self._begin_wait(job, timeout, poll)
        try:
            reader = LogReader(scheduler, self._runner, wait, after)
            while (lines := await reader.next_lines()) is not None:
                for line in lines:
                    if (converted := convert(line)) is not None:
                        yield converted
        finally:
            scheduler.remove(wait)

    async def _stream_events(
        self, job: Watchable, after: int, timeout: Timeout, poll: PollPolicy | None
    ) -> AsyncGenerator[str, None]:
        scheduler, wait = self._begin_wait(job, timeout, poll)
        try:
            async with StreamedLogReader(
                LogReader(scheduler, self._runner, wait), self._open_stream, wait, after
            ) as reader:
                while (lines := await reader.next_lines()) is not None:
                    for line in lines:
                        yield line
        finally:
            scheduler.remove(wait)

    async def _get_log_page(self, job_id: str, offset: int, lines: int) -> LogPage:
        call = calls.log_page(job_id, offset, lines)
        return await self._runner.perform(attrs.evolve(call, may_retry=_may_retry))

    async def _open_stream(self, job_id: str) -> AsyncGenerator[bytes, None]:
        if self._open_streams >= STREAMS_AT_ONCE:
            return
        gate, clock, request = self._runner.gate, asyncio.get_running_loop().time, stream_request(job_id)
        self._open_streams += 1
        began, error = clock(), None
        try:
            await asyncio.sleep(max(0.0, gate.next_at - clock()))
            gate.sent(clock())
            async with aclosing(self._session.stream(request, STREAM_SILENCE)) as pieces:
                async for piece in pieces:
                    yield piece
        except (DashScopeFTError, asyncio.CancelledError) as raised:
            error = type(raised).__name__
            raise
        finally:
            self._open_streams -= 1
            self._runner.request_finished(request, None, began, None if error else 200, error)

    def _checked(self, job: Watchable, after: int | None, timeout: Timeout, poll: PollPolicy | None) -> int:
        """Check the arguments and return the number of lines to leave out."""
        self._check_wait(job, timeout, poll)
        if after is None:
            return job.log_offset if isinstance(job, WatchState) else 0
        return _checked_after(after)


def _checked_after(after: int) -> int:
    if type(after) is not int or after < 0:
        raise ConfigurationError(f"after must be a whole number from 0, not {after!r}.")
    return after


def _may_retry(error: BaseException, *, answered: bool) -> bool:
    too_large = isinstance(error, APIResponseValidationError) and error.too_large  # and would be so again
    return may_retry(error, answered=answered) and not too_large
