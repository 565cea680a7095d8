"""Logs of a job (temporary: the branch of the logs replaces this file)."""

from __future__ import annotations

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.wire import job_id_of
from dashscope_ft_async.client.base import ClientBase
from dashscope_ft_async.models import FineTuneJob, LogPage


class Logs(ClientBase):
    """Logs."""

    async def logs(self, job: str | FineTuneJob, *, offset: int = 0, lines: int = 100) -> LogPage:
        """One page."""
        return await self._runner.perform(calls.log_page(job_id_of(job), offset, lines))
