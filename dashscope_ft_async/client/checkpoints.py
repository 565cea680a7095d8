"""Checkpoints of a job, the export of one as a model, and validation samples."""

from __future__ import annotations

import asyncio

import attrs

from dashscope_ft_async._api import calls
from dashscope_ft_async._api.wire import checkpoint_name, job_id_of
from dashscope_ft_async._engine.poll_until import poll_until
from dashscope_ft_async.client.base import ClientBase, deadline_after
from dashscope_ft_async.errors import APIError, CheckpointError, WaitError
from dashscope_ft_async.models import (
    Checkpoint,
    CheckpointStatus,
    FineTuneJob,
    ValidationPage,
    ValidationResult,
)
from dashscope_ft_async.models.checks import Timeout, timeout_seconds
from dashscope_ft_async.models.limits import DAY
from dashscope_ft_async.policy import PollPolicy, WaitState, may_have_effect

_BEGUN = (CheckpointStatus.PROCESSING, CheckpointStatus.SUCCEEDED)


@attrs.frozen
class _Request:
    """What became of a request to export."""

    is_terminal: bool
    """Whether it was accepted, or cannot be sent again."""
    lost: APIError | None = None
    """The failure, if its answer was lost and no export is seen to have begun."""


class Checkpoints(ClientBase):
    """Methods about checkpoints."""

    async def checkpoints(self, job: str | FineTuneJob) -> tuple[Checkpoint, ...]:
        """The checkpoints of the job (``GET /fine-tunes/{job_id}/checkpoints``), the newest first.

        Raises:
            ConfigurationError: a bad id, before any request.
            EndpointNotFoundError: this region or base URL does not offer the call.
            APIError, ClientClosedError: as `get`.
        """
        return await self._runner.perform(calls.list_checkpoints(job_id_of(job)))

    async def export_checkpoint(
        self,
        job: str | FineTuneJob,
        checkpoint: str | Checkpoint,
        *,
        model_name: str,
        timeout: Timeout = DAY,
        poll: PollPolicy | None = None,
    ) -> Checkpoint:
        """Export a checkpoint as a model, wait for it, and return the checkpoint with its
        `Checkpoint.model_name`, the name to deploy.

        The request (``GET /fine-tunes/{job_id}/export/{checkpoint}``) has an effect, so it is sent again
        only if the first one certainly had none, or if the service answers that it did not accept it. If
        its answer was lost, the checkpoint is looked at: an export that has begun is waited for, otherwise
        the failure is raised. The wait is paced and ends as a wait for a job does. Cancelling does not stop
        the export.

        Args:
            job: Id of the job, or a snapshot of it.
            checkpoint: Its name, its `checkpoint_id` or `full_name`, or a `Checkpoint`.
            model_name: Name for the model; the service may extend it.
            timeout: Seconds, or a `timedelta`, for all of it; `None` is for ever.
            poll: Replaces the client's policy.

        Raises:
            ConfigurationError: bad input, before any request.
            CheckpointError: the export FAILED, or the checkpoint is UNSUPPORTED.
            WaitTimeoutError: `timeout` passed.
            OutageError: polls failed without a break for longer than `PollPolicy.outage_tolerance`.
            APIError: the service refuses; or the answer was lost and no export is seen to have begun.
            ClientClosedError: the client is or was closed.
        """
        job_id = job_id_of(job)
        name = _short_name(job_id, checkpoint_name(checkpoint))
        request = calls.export_checkpoint(job_id, name, model_name)
        policy = self._policy_for(poll)
        deadline = deadline_after(timeout_seconds(timeout))
        scheduler, now = self._scheduler(), asyncio.get_running_loop().time()
        begin = WaitState(now, deadline)

        async def look() -> Checkpoint:
            found = await self._runner.attempt(calls.list_checkpoints(job_id))
            named = (one for one in found if name in (one.checkpoint, one.checkpoint_id, one.full_name))
            # One that is not listed yet is like one whose export has not begun.
            return next(named, Checkpoint(checkpoint=name, status=CheckpointStatus.PENDING, raw_status=""))

        async def send() -> _Request:
            try:
                return _Request(is_terminal=await self._runner.attempt(request))
            except APIError as error:
                lost = error
            if not may_have_effect(lost):
                raise lost
            begun = (await look()).status in _BEGUN
            return _Request(is_terminal=True, lost=None if begun else lost)

        try:
            sent = await poll_until(scheduler, ("export", job_id, name, model_name), send, policy, begin)
            if sent.lost is not None:
                raise sent.lost
            ended = await poll_until(scheduler, ("checkpoint", job_id, name), look, policy, begin)
        except WaitError as error:
            error.job_id = job_id
            error.args = (f"{error.args[0]}: the export of checkpoint {name}", *error.args[1:])
            raise
        if ended.status is not CheckpointStatus.SUCCEEDED:
            text = f"checkpoint {name} was not exported: {ended.raw_status}"
            raise CheckpointError(text, job_id=job_id, checkpoint=ended)
        return ended

    async def validation_results(self, job: str | FineTuneJob) -> tuple[ValidationResult, ...]:
        """The checkpoints that were validated (``GET /fine-tunes/{job_id}/validation-results``): image
        and video models only, and none until the samples are ready. Raises as `checkpoints` does."""
        return await self._runner.perform(calls.validation_results(job_id_of(job)))

    async def validation_details(
        self, job: str | FineTuneJob, checkpoint: str | Checkpoint, page_no: int = 1, page_size: int = 10
    ) -> ValidationPage:
        """One page of the validation samples of a checkpoint
        (``GET /fine-tunes/{job_id}/validation-details/{checkpoint}``). Numbers are those of `list`.

        Raises:
            ConfigurationError: a bad id, name or number, before any request.
            EndpointNotFoundError: this region or base URL does not offer the call.
            APIError, ClientClosedError: as `get`.
        """
        name = checkpoint_name(checkpoint)
        return await self._runner.perform(
            calls.validation_details(job_id_of(job), name, page_no, page_size)
        )


def _short_name(job_id: str, name: str) -> str:
    """The name of a checkpoint within its job: ``checkpoint-160`` of ``ft-1:checkpoint-160``."""
    rest = name.removeprefix(job_id)
    return rest[1:] if rest != name and rest[:1] in (":", "-") and rest[1:] else name
