"""Logs of a job, and the figures in them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from dashscope_ft_async._api.wire import job_id_of, logs_request, metric_of, stream_request
from dashscope_ft_async._engine.log_position import PAGE_LINES, Tail
from dashscope_ft_async._engine.log_reader import Follower, streamed_first
from dashscope_ft_async._engine.watch import Wait
from dashscope_ft_async.client.core import DAY, Core, Watchable
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import FineTuneJob, LogPage, TrainingMetric, WatchState
from dashscope_ft_async.policy import PollPolicy

_SILENCE = 60.0
"""Seconds without a byte after which a stream is given up for pages."""
_MOST_STREAMS = 50
"""Streams at once: each holds a connection that requests need."""


class Logs(Core):
    """What a job writes while it trains."""

    async def logs(self, job: str | FineTuneJob, *, offset: int = 0, lines: int = 100) -> LogPage:
        """One page of the job's log (``GET /fine-tunes/{job_id}/logs``).

        Args:
            job: Id of the job, or a snapshot of it.
            offset: Sent as it is. The service's page calls it the number of lines to skip, its SDK
                counts from 1; `follow_logs` finds out.
            lines: Most lines of the answer, 1 to 1000.

        Raises:
            ConfigurationError: a bad id or number, before any request.
            APIError, ClientClosedError: as `get`.
        """
        job_id = job_id_of(job)
        logs_request(job_id, offset, lines)
        return await self._call("logs", job_id, lambda: self._log_page(job_id, offset, lines))

    def follow_logs(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[str, None]:
        """The lines of the job's log as they come, each once and in order, to its end.

        The end is the job's end or the completion line (``##FT_COMPLETE##``, which is given too), and
        then nothing new. Transient trouble is sat out as in `wait_for_terminal`, with which it shares
        the polls of the job and the account's rate. A job that has not begun is not asked for its log.

        Args:
            job: Id of the job, a snapshot of it, or the `WatchState` of an earlier wait.
            after: Lines to leave out: how many an earlier run has seen. By default none, or the
                `WatchState.log_offset` of a state; the errors' `WaitError.state` has it.
            timeout: As in `wait_for_terminal`; counts from the first step.
            poll: Instead of the client's policy; paces the looks at the log too.

        Raises:
            ConfigurationError: bad input, before any request.
            NotFoundError: there is no such job, or it has begun and has no log.
            APIError, WaitError: as `wait_for_terminal`.
        """
        return self._follow_logs(job, self._checked(job, after, timeout, poll), timeout, poll)

    def stream_events(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[str, None]:
        """The lines of `follow_logs`, those of a running job from the service's event stream.

        ``GET /fine-tunes/{job_id}/stream`` is not on the service's pages; it is read as the official SDK
        does. Where it is absent, breaks off or is silent for a minute, pages of the log go on in its
        place, and give what it left out; no line comes twice. At most 50 jobs of a client are streamed at
        once, the others read in pages. Parameters and errors are those of `follow_logs`, and so of
        `wait_for_terminal`; but the state of an error counts only the lines that came in pages, so going
        on from it may repeat lines of the stream, and loses none.
        """
        return self._stream_events(job, self._checked(job, after, timeout, poll), timeout, poll)

    def metrics(self, job: str | FineTuneJob) -> AsyncGenerator[TrainingMetric, None]:
        """The training figures in the job's log as it is now, in order.

        It reads only the forms of lines known from the service's pages and from published logs; a line
        that is not surely one of them is left out. Raises as `logs` does.
        """
        return self._metrics(job_id_of(job))

    def follow_metrics(
        self,
        job: Watchable,
        *,
        after: int | None = None,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[TrainingMetric, None]:
        """The training figures in the lines of `follow_logs`, as they come; as `metrics` reads them.

        Parameters and errors are those of `follow_logs`, and so of `wait_for_terminal`.
        """
        return _metrics_in(self._follow_logs(job, self._checked(job, after, timeout, poll), timeout, poll))

    # --- composition --------------------------------------------------------------------------------

    def _checked(
        self, job: Watchable, after: int | None, timeout: float | None, poll: PollPolicy | None
    ) -> int:
        self._check(job, timeout, poll)
        if after is None:
            return job.log_offset if isinstance(job, WatchState) else 0
        if type(after) is not int or after < 0:
            raise ConfigurationError(f"after must be a whole number from 0, not {after!r}.")
        return after

    def _follower(self, after: int, wait: Wait) -> Follower:
        job_id = wait.watch.job_id

        async def fetch(offset: int) -> LogPage:
            async with self._turns.turn():
                return await self._log_page(job_id, offset, PAGE_LINES)

        return Follower(fetch, Tail(after), wait)

    async def _follow_logs(
        self, job: Watchable, after: int, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[str, None]:
        with self._wait(job, timeout, poll) as wait:
            async with aclosing(self._follower(after, wait).lines()) as lines:
                async for line in lines:
                    yield line

    async def _stream_events(
        self, job: Watchable, after: int, timeout: float | None, poll: PollPolicy | None
    ) -> AsyncGenerator[str, None]:
        with self._wait(job, timeout, poll) as wait:
            job_id = wait.watch.job_id
            follower = self._follower(0, wait)
            banner = f"connect success, now start to follow {job_id}"
            joined = streamed_first(follower, lambda: self._stream(job_id), wait, banner)
            async with aclosing(joined) as lines:
                async for line in lines:  # from the log's start, or the stream's old lines were not known
                    if after:
                        after -= 1
                    else:
                        yield line

    async def _stream(self, job_id: str) -> AsyncGenerator[bytes, None]:
        if self._streams >= _MOST_STREAMS:
            return
        self._streams += 1
        try:
            async with self._turns.turn():
                pass  # only the opening is a request; the stream may last for hours
            async with aclosing(self._session.stream(stream_request(job_id), _SILENCE)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._streams -= 1

    async def _metrics(self, job_id: str) -> AsyncGenerator[TrainingMetric, None]:
        async with aclosing(_metrics_in(self._log_so_far(job_id))) as metrics:
            async for metric in metrics:
                yield metric

    async def _log_so_far(self, job_id: str) -> AsyncGenerator[str, None]:
        tail = Tail()
        while True:
            page = await self.logs(job_id, offset=tail.offset, lines=PAGE_LINES)
            new = tail.take(page.lines, page.total)
            for line in new:
                yield line
            if not new and tail.settled:
                return


async def _metrics_in(lines: AsyncGenerator[str, None]) -> AsyncGenerator[TrainingMetric, None]:
    async with aclosing(lines):
        async for line in lines:
            metric = metric_of(line)
            if metric is not None:
                yield metric
