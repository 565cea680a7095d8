"""Everything this library raises.

    DashScopeFTError                        base of all; job_id, results
    ├── ConfigurationError                  (ValueError) bad input or misuse, before any request
    ├── APIError                            a request brought no usable answer
    │   ├── APIConnectionError              no HTTP answer at all
    │   │   └── APITimeoutError             (TimeoutError) none in time
    │   ├── APIStatusError                  the service answered with an error
    │   │   ├── BadRequestError             400
    │   │   ├── AuthenticationError         401
    │   │   ├── PermissionDeniedError       403, and billing codes under any status
    │   │   ├── NotFoundError               404
    │   │   │   └── EndpointNotFoundError   404 or 405: this base URL does not offer the call
    │   │   ├── ConflictError               409
    │   │   ├── RateLimitError              429, and Throttling codes under any status
    │   │   ├── InternalServerError         500 and other 5xx
    │   │   └── ServiceUnavailableError     503
    │   └── APIResponseValidationError      a 2xx answer that is not what the page documents
    ├── JobError                            the job ended, and not in success
    │   ├── JobFailedError                  FAILED
    │   └── JobCanceledError                CANCELED
    ├── CheckpointError                     a checkpoint could not be exported
    └── WaitError                           we stopped watching; the job may go on
        ├── WaitTimeoutError                (TimeoutError) the wait's deadline passed
        ├── OutageError                     unbroken failure for longer than tolerated
        ├── JobVanishedError                a job that was there is there no more
        └── ClientClosedError               the client was closed

A request that failed, a job that failed and a wait that was given up are three different things and
share no class but the root. Every error survives `pickle` and `copy.copy`, and none ever holds the
API key. Facts have class-level defaults, so an old pickle still loads when a fact is added.

Meanings of the codes: https://www.alibabacloud.com/help/en/model-studio/error-code
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from dashscope_ft_async.models import Checkpoint, FineTuneJob, WatchState
from dashscope_ft_async.models.base import ConfigurationError, DashScopeFTError
from dashscope_ft_async.models.redact import escaped, redact

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "CheckpointError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "DashScopeFTError",
    "EndpointNotFoundError",
    "InternalServerError",
    "JobCanceledError",
    "JobError",
    "JobFailedError",
    "JobVanishedError",
    "NotFoundError",
    "OutageError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServiceUnavailableError",
    "WaitError",
    "WaitTimeoutError",
]


class APIError(DashScopeFTError):
    """A request brought no usable answer. The job itself may be perfectly well."""

    retry_after: float | None = None
    """Seconds the service asked to wait, or `None`."""
    request_id: str | None = None
    """The service's id of the request, or `None`."""
    sent_to: str | None = None
    """The base URL, if the failure suggests that it is wrong, and the service never answered there."""


class APIConnectionError(APIError):
    """No HTTP answer: name resolution, refusal, TLS, or a connection that broke."""

    never_connected: bool = False
    """True when no connection could be made at all, so the request cannot have been received."""
    advice: ClassVar[str] = "Check the base URL, the network and the proxy."

    def __init__(
        self, message: str = "", *, job_id: str | None = None, never_connected: bool = False
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.never_connected = never_connected


class APITimeoutError(APIConnectionError, TimeoutError):
    """No whole answer, headers and body, within the client's `timeout`."""

    advice: ClassVar[str] = "Check the network, or give the client a larger timeout."


class APIStatusError(APIError):
    """The service answered, and the answer is an error.

    The class is chosen by the HTTP status and the body's code together. This class itself stands for
    statuses without a class of their own (3xx, 408, 425, …) and for HTTP 200 with an unknown code.
    """

    status: int = 0
    """HTTP status code."""
    code: str | None = None
    """The service's code, such as ``Throttling.RateQuota``."""
    message: str | None = None
    """The service's text. It may be localised: never match on it."""
    json_body: bool = True
    """False when the body was no JSON object: such an answer came from something in between."""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = 0,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        json_body: bool = True,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message or "", job_id=job_id)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.json_body = json_body

    def _facts(self) -> Mapping[str, object]:
        """Job, HTTP status, request id and the wait that was asked for."""
        seconds = None if self.retry_after is None else f"{self.retry_after:g} s"
        return {
            **super()._facts(),
            "HTTP": self.status,
            "request_id": self.request_id,
            "retry after": seconds,
        }

    def __str__(self) -> str:
        head = f"{self.code}: " if self.code else ""
        return head + super().__str__()


class BadRequestError(APIStatusError):
    """400 (InvalidParameter, UnsupportedOperation, …): the request will never be accepted as it is."""

    advice: ClassVar[str] = (
        "InvalidParameter: correct the parameter that the message names. "
        "UnsupportedOperation: the job's present state does not allow it; read the job again."
    )


class AuthenticationError(APIStatusError):
    """401 (InvalidApiKey): the key is missing, wrong, or belongs to another region."""

    advice: ClassVar[str] = (
        "Check the API key, and that it belongs to the region of the base URL (keys are bound to one)."
    )


class PermissionDeniedError(APIStatusError):
    """403, or a billing code (Arrearage, …) under any status: waiting does not help."""

    advice: ClassVar[str] = (
        "Check that the key may use this workspace and model, and that the account is in good standing."
    )


class NotFoundError(APIStatusError):
    """404 (NotFound): no such job for this key, workspace and region. A wrong URL looks the same."""

    advice: ClassVar[str] = "Check the job id, the workspace, the region and the base URL."


class EndpointNotFoundError(NotFoundError):
    """404 or 405 for the call itself and not for a job: this region or base URL does not offer it."""

    advice: ClassVar[str] = "Check the base URL; not every region offers every call."


class ConflictError(APIStatusError):
    """409 (Conflict): the thing exists already."""

    advice: ClassVar[str] = "Something of this name exists already: use it, or choose another name."


class RateLimitError(APIStatusError):
    """429, or a Throttling code under any status: the account sends too many requests."""

    advice: ClassVar[str] = "Ask less often; the limit is shared by everything that uses the account."


class InternalServerError(APIStatusError):
    """500 and other 5xx (InternalError): the service failed."""

    advice: ClassVar[str] = (
        "Try again later; if it persists, note the request id and open a support ticket."
    )


class ServiceUnavailableError(APIStatusError):
    """503 (ModelUnavailable, …): the service cannot serve at the moment."""

    advice: ClassVar[str] = "Try again later."


class APIResponseValidationError(APIError):
    """A 2xx answer that is not the documented JSON; the text says where (``@ $.output.status``)."""

    status: int = 200
    """HTTP status code."""
    json_body: bool = True
    """False when the body did not even begin like a JSON object: another site answered."""
    advice: ClassVar[str] = "If it persists, something between you and the service alters its answers."

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 200,
        request_id: str | None = None,
        retry_after: float | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def _facts(self) -> Mapping[str, object]:
        """Job, HTTP status and request id."""
        return {**super()._facts(), "HTTP": self.status, "request_id": self.request_id}


class JobError(DashScopeFTError):
    """The job ended, and not in success. `job` is its last snapshot.

    This class itself stands for a job that ended under a word this version does not know.
    """

    job: FineTuneJob | None = None
    """The terminal snapshot."""

    def __init__(self, message: str = "", *, job: FineTuneJob | None = None) -> None:
        super().__init__(message, job_id=None if job is None else job.job_id)
        self.job = job

    def _facts(self) -> Mapping[str, object]:
        """Job, status, and the code and request id that the job carries."""
        if self.job is None:
            return super()._facts()
        return {
            **super()._facts(),
            "status": escaped(self.job.raw_status),
            "code": self.job.code and escaped(self.job.code),
            "request_id": self.job.request_id,
        }


class JobFailedError(JobError):
    """The job ended in FAILED."""

    log_lines: tuple[str, ...] = ()
    """The last lines of the job's log, where the job itself gives no reason."""
    advice: ClassVar[str] = "The job's logs tell why it failed."

    def __init__(
        self, message: str = "", *, job: FineTuneJob | None = None, log_lines: Iterable[str] = ()
    ) -> None:
        super().__init__(message, job=job)
        self.log_lines = tuple(log_lines)

    def _facts(self) -> Mapping[str, object]:
        """As every `JobError`, and the last line of the log."""
        said = next((line.strip() for line in reversed(self.log_lines) if line.strip()), None)
        return {**super()._facts(), "last log line": None if said is None else repr(said[:200])}


class JobCanceledError(JobError):
    """The job ended in CANCELED. (Never `asyncio.CancelledError`: that one is about your task.)"""


class CheckpointError(DashScopeFTError):
    """The export of a checkpoint FAILED, or the checkpoint is UNSUPPORTED."""

    checkpoint: Checkpoint | None = None
    """The checkpoint as it was seen last."""
    advice: ClassVar[str] = "Export another checkpoint of the job."

    def __init__(
        self, message: str = "", *, job_id: str | None = None, checkpoint: Checkpoint | None = None
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.checkpoint = checkpoint


class WaitError(DashScopeFTError):
    """We stopped watching. The job was not touched and may still be running."""

    last_job: FineTuneJob | None = None
    """The last snapshot seen in this wait, or `None`."""
    elapsed: float = 0.0
    """Seconds since the wait began."""
    polls: int = 0
    """Answers and failures this wait has seen."""
    last_error: BaseException | None = None
    """The last failed poll of this wait, or `None`."""
    state: WatchState | None = None
    """Where the wait stood, to go on with it: `FineTuneClient.resume`. `None` where none had begun,
    and for the export of a checkpoint, which is no wait for a job."""

    def __init__(
        self,
        message: str = "",
        *,
        job_id: str | None = None,
        last_job: FineTuneJob | None = None,
        elapsed: float = 0.0,
        polls: int = 0,
        last_error: BaseException | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.last_job = last_job
        self.elapsed = elapsed
        self.polls = polls
        self.last_error = last_error

    def _facts(self) -> Mapping[str, object]:
        """Job, last status, time, polls and the last failure."""
        return {
            **super()._facts(),
            "last status": None if self.last_job is None else escaped(self.last_job.raw_status),
            "after": f"{self.elapsed:.1f} s",
            "polls": self.polls,
            "last error": None if self.last_error is None else repr(redact(str(self.last_error))),
        }


class WaitTimeoutError(WaitError, TimeoutError):
    """The wait's `timeout` passed before the job ended."""

    advice: ClassVar[str] = "The job goes on: wait again with its id."


class OutageError(WaitError):
    """No good answer for longer than `PollPolicy.outage_tolerance`; `last_error` says what came."""

    advice: ClassVar[str] = "The job may go on: wait again with its id when the service is back."


class JobVanishedError(WaitError):
    """A job seen earlier in this wait now answers 404, twice: it was deleted, or access was lost."""


class ClientClosedError(WaitError):
    """The client was closed while this ran, or before it was called."""

    advice: ClassVar[str] = "Keep the client open for as long as something waits on it."
