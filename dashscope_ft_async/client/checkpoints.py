"""What a job saves: its checkpoints, the export of one as a model, and its validation samples."""

from __future__ import annotations

import asyncio
import random

import attrs

from dashscope_ft_async._api.wire import (
    Request,
    checkpoint_of,
    checkpoints_request,
    decode_checkpoints,
    decode_exported,
    decode_validation_page,
    decode_validation_results,
    export_request,
    job_id_of,
    validation_details_request,
    validation_results_request,
)
from dashscope_ft_async.client.core import DAY, Core
from dashscope_ft_async.errors import (
    APIError,
    CheckpointError,
    OutageError,
    RateLimitError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import (
    Checkpoint,
    CheckpointStatus,
    FineTuneJob,
    ValidationPage,
    ValidationResult,
)
from dashscope_ft_async.models.checks import check_timeout
from dashscope_ft_async.policy import PollPolicy, is_transient, maybe_done, was_refused

_BEGUN = (CheckpointStatus.PROCESSING, CheckpointStatus.SUCCEEDED)


class Checkpoints(Core):
    """Checkpoints of a job, and what can be made of them."""

    async def checkpoints(self, job: str | FineTuneJob) -> tuple[Checkpoint, ...]:
        """The checkpoints of the job (``GET /fine-tunes/{job_id}/checkpoints``), the newest first.

        Raises:
            ConfigurationError: a bad id, before any request.
            EndpointNotFoundError: this region or base URL does not offer the call.
            APIError, ClientClosedError: as `get`.
        """
        job_id = job_id_of(job)
        request = checkpoints_request(job_id)
        return await self._call(
            "checkpoints", job_id, lambda: self._asked(request, decode_checkpoints, job_id)
        )

    async def export_checkpoint(
        self,
        job: str | FineTuneJob,
        checkpoint: str | Checkpoint,
        *,
        model_name: str,
        timeout: float | None = DAY,
        poll: PollPolicy | None = None,
    ) -> Checkpoint:
        """Make a model of a checkpoint, wait until it is there, and return the checkpoint with its
        `Checkpoint.model_name`, the name to deploy.

        The request (``GET /fine-tunes/{job_id}/export/{checkpoint}``) has an effect, so it is sent again
        only where the first certainly did nothing, or where the service answers that it did not accept
        it. (A request on a connection that turns out to be dead is sent anew by aiohttp without a word.)
        Where its answer was lost, the checkpoint is looked at: an export that has begun is waited for,
        and one that is not seen to have begun is raised as the error it met. The wait is paced by `poll`
        and sits out transient trouble. Cancelling stops no export.

        Args:
            job: Id of the job, or a snapshot of it.
            checkpoint: Its name, or what `checkpoints` gave.
            model_name: Name for the model; the service may add to it.
            timeout: Seconds for all of it; `None` is for ever.
            poll: Instead of the client's policy.

        Raises:
            ConfigurationError: bad input, before any request.
            CheckpointError: the export FAILED, or is UNSUPPORTED.
            WaitTimeoutError: `timeout` passed.
            OutageError: failure without a break for longer than `PollPolicy.outage_tolerance`.
            APIError: the service refuses; or the answer was lost and no export is seen to have begun.
            ClientClosedError: the client is or was closed.
        """
        job_id, name = job_id_of(job), checkpoint_of(checkpoint)
        request = export_request(job_id, name, model_name)
        check_timeout(timeout)
        policy = self._policy(poll).poll
        export = _Export(job_id, name, asyncio.get_running_loop().time())
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                while not await self._accepted(export, request):
                    await self._pause(export.interval(policy))
                while (exported := await self._exported(export, policy)) is None:
                    await self._pause(export.interval(policy))
                return exported
        except TimeoutError:
            if not limit.expired():
                raise
        raise export.gave_up(WaitTimeoutError, "timed out")

    async def validation_results(self, job: str | FineTuneJob) -> tuple[ValidationResult, ...]:
        """The checkpoints that were validated (``GET /fine-tunes/{job_id}/validation-results``): image
        and video models only, and none until the samples are ready. Raises as `checkpoints` does."""
        job_id = job_id_of(job)
        request = validation_results_request(job_id)
        return await self._call(
            "validation_results", job_id, lambda: self._asked(request, decode_validation_results, job_id)
        )

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
        job_id = job_id_of(job)
        request = validation_details_request(job_id, checkpoint_of(checkpoint), page_no, page_size)
        return await self._call(
            "validation_details",
            job_id,
            lambda: self._asked(
                request, lambda answer: decode_validation_page(answer, page_no, page_size), job_id
            ),
        )

    # --- composition --------------------------------------------------------------------------------

    async def _accepted(self, export: _Export, request: Request) -> bool:
        """Whether the service took the export on; where the answer was lost, what is seen of it tells."""

        async def ask() -> bool:
            return await self._asked(request, decode_exported, export.job_id)

        try:
            return await self._call("export_checkpoint", export.job_id, ask, was_refused)
        except APIError as error:
            lost = error
        if not maybe_done(lost):
            raise lost
        found = await self._looked_at(export)
        if found is None or found.status not in _BEGUN:
            raise lost
        return True

    async def _exported(self, export: _Export, policy: PollPolicy) -> Checkpoint | None:
        """The checkpoint, where the export has ended well; raises what ends the wait badly."""
        try:
            found = await self._looked_at(export)
        except APIError as error:
            if not is_transient(error):
                raise
            export.failed(error, policy)
            return None
        export.failing_since = None
        match found:
            case Checkpoint(status=CheckpointStatus.SUCCEEDED):
                return found
            case Checkpoint(status=CheckpointStatus.FAILED | CheckpointStatus.UNSUPPORTED):
                text = f"checkpoint {export.name} was not exported: {found.raw_status}"
                raise CheckpointError(text, job_id=export.job_id, checkpoint=found)
            case _:
                return None

    async def _looked_at(self, export: _Export) -> Checkpoint | None:
        found = await self.checkpoints(export.job_id)
        export.polls += 1
        export.last = next((one for one in found if one.checkpoint == export.name), None)
        return export.last


@attrs.define
class _Export:
    """An export under way, and what is known of it. Times are the loop's."""

    job_id: str
    name: str
    began: float
    polls: int = 0
    last: Checkpoint | None = None
    last_error: APIError | None = None
    failing_since: float | None = None

    def interval(self, policy: PollPolicy) -> float:
        """Seconds to the next look."""
        return policy.interval(asyncio.get_running_loop().time() - self.began, random.random())

    def failed(self, error: APIError, policy: PollPolicy) -> None:
        """Note a failed look; raises `OutageError` where there were too many for too long."""
        now = asyncio.get_running_loop().time()
        self.last_error = error
        if self.failing_since is None:
            self.failing_since = now
        tolerance = policy.outage_tolerance
        throttled = isinstance(error, RateLimitError)
        if not throttled and tolerance is not None and now - self.failing_since >= tolerance:
            raise self.gave_up(OutageError, f"met no good answer for {now - self.failing_since:.0f} s")

    def gave_up(self, kind: type[WaitError], what: str) -> WaitError:
        """The error of a wait that ends now."""
        status = "not seen" if self.last is None else self.last.raw_status
        return kind(
            f"the wait for the export of checkpoint {self.name} ({status}) {what}",
            job_id=self.job_id,
            elapsed=asyncio.get_running_loop().time() - self.began,
            polls=self.polls,
            last_error=self.last_error,
        )
