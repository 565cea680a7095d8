"""All errors that this library raises.

    DashScopeFTError                        base of all; job_id, results
    ├── ConfigurationError                  (ValueError) invalid input or misuse, before any request
    ├── APIError                            a request returned no usable answer
    │   ├── APIConnectionError              no HTTP answer
    │   │   └── APITimeoutError             (TimeoutError) no complete answer in time
    │   ├── APIStatusError                  the service answered with an error
    │   │   ├── BadRequestError             400
    │   │   ├── AuthenticationError         401
    │   │   ├── PermissionDeniedError       403, and billing codes under any status
    │   │   ├── NotFoundError               404
    │   │   │   └── EndpointNotFoundError   404 or 405: the base URL does not offer the endpoint
    │   │   ├── ConflictError               409
    │   │   ├── RateLimitError              429, and Throttling codes under any status
    │   │   ├── InternalServerError         500 and other 5xx
    │   │   └── ServiceUnavailableError     503
    │   └── APIResponseValidationError      a 2xx answer that is not as documented
    ├── JobError                            the job ended without success
    │   ├── JobFailedError                  FAILED
    │   └── JobCanceledError                CANCELED
    ├── CheckpointError                     a checkpoint could not be exported
    └── WaitError                           the wait was given up; the job may go on
        ├── WaitTimeoutError                (TimeoutError) the timeout of the wait passed
        ├── OutageError                     every poll failed for longer than tolerated
        ├── JobVanishedError                a job that was seen before is not found any more
        └── ClientClosedError               the client was closed

A request that failed, a job that failed and a wait that was given up are different things; their classes
share only the base. All errors can be pickled and copied, and none holds the API key. Their attributes have
defaults in the class, so that a pickle of an older version can be loaded.

Error codes of the service: https://www.alibabacloud.com/help/en/model-studio/error-code
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from dashscope_ft_async.models import Checkpoint, FineTuneJob, WatchState, redact, safe_word
from dashscope_ft_async.models.base import ConfigurationError, DashScopeFTError

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
    """A request returned no usable answer. This says nothing about the job."""

    retry_after: float | None = None
    """Seconds that the service asked to wait, or `None`."""
    request_id: str | None = None
    """The service's id of the request, or `None`."""
    sent_to: str | None = None
    """The base URL, if the failure suggests that it is wrong and the service never answered there."""

    def _facts(self) -> Mapping[str, object]:
        return {**super()._facts(), "sent to": self.sent_to}


class APIConnectionError(APIError):
    """There was no HTTP answer: the name could not be resolved, the connection was refused or broke, or TLS
    failed."""

    never_connected: bool = False
    """True if no connection was made, so that the service cannot have received the request."""
    _advice = "Check the base URL, the network and the proxy."

    def __init__(
        self, message: str = "", *, job_id: str | None = None, never_connected: bool = False
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.never_connected = never_connected


class APITimeoutError(APIConnectionError, TimeoutError):
    """The answer was not complete within the client's `timeout`."""

    _advice = "Check the network, or give the client a larger timeout."


class APIStatusError(APIError):
    """The service answered with an error.

    The HTTP status and the code in the body choose the class. This class stands for statuses without a
    class of their own (3xx, 408, 425, …) and for HTTP 200 with an unknown code.
    """

    status: int = 0
    """HTTP status."""
    code: str | None = None
    """The service's code, such as ``Throttling.RateQuota``."""
    message: str | None = None
    """The service's message. It may be in another language, so do not compare it."""
    json_body: bool = True
    """False if the body was not a JSON object. Then a proxy or another site answered."""
    _advice_by_code: ClassVar[Mapping[str, str]] = {}
    """Advice for codes; the last part of a code in lower case, without underscores and blanks."""

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

    @property
    def advice(self) -> str:
        """What to do about the error; `str()` ends with it."""
        name = (self.code or "").rpartition(".")[2].lower().replace("_", "").replace(" ", "")
        return self._advice_by_code.get(name, self._advice)

    def _facts(self) -> Mapping[str, object]:
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
    """400 (InvalidParameter, UnsupportedOperation, …): the service does not accept this request."""

    _advice = "Correct what the message names: the same request will be refused again."
    _advice_by_code: ClassVar[Mapping[str, str]] = {
        "invalidparameter": "Correct the parameter that the message names.",
        "unsupportedoperation": "The status of the job does not allow this: get the job to see its status.",
    }


class AuthenticationError(APIStatusError):
    """401 (InvalidApiKey): the API key is missing or wrong, or belongs to another region."""

    _advice = (
        "Check the API key and the region: a key works in its own region only. The default region is "
        "Singapore (ap-southeast-1); for a key of Beijing set DASHSCOPE_REGION=cn-beijing."
    )


_PAY = "Check the account: a bill is overdue, the free quota is used up, or the product is not purchased."


class PermissionDeniedError(APIStatusError):
    """403, or a billing code (Arrearage, …) under any status: waiting does not help."""

    _advice = "Check that the API key may use this workspace and model."
    _advice_by_code: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            "arrearage",
            "commoditynotpurchased",
            "freetieronly",
            "postpaidbilloverdue",
            "prepaidbilloverdue",
            "unpurchased",
        ),
        _PAY,
    )


class NotFoundError(APIStatusError):
    """404 (NotFound): this API key, workspace and region have no such job. A wrong URL looks the same."""

    _advice = "Check the job id, the workspace, the region and the base URL."


class EndpointNotFoundError(NotFoundError):
    """404 or 405 for the endpoint, not for a job: this region or base URL does not offer it."""

    _advice = "Check the base URL. Some regions do not offer all endpoints."


class ConflictError(APIStatusError):
    """409 (Conflict): the name is already in use."""

    _advice = "The name is already in use: choose another one."


class RateLimitError(APIStatusError):
    """429, or a Throttling code under any status: the account sends too many requests."""

    _advice = "Send fewer requests; all programs that use the account share the limit."


class InternalServerError(APIStatusError):
    """500 and other 5xx (InternalError): the service failed."""

    _advice = "Try again later; if it persists, note the request id and open a support ticket."


class ServiceUnavailableError(APIStatusError):
    """503 (ModelUnavailable, …): the service is temporarily unavailable."""

    _advice = "Try again later."


class APIResponseValidationError(APIError):
    """A 2xx answer is not as documented. The message names the place (``@ $.output.status``)."""

    status: int = 200
    """HTTP status."""
    json_body: bool = True
    """False if the body does not even begin like a JSON object. Then a proxy or another site answered."""
    too_large: bool = False
    """Whether the answer is larger than the client reads. A request for less may succeed."""
    _advice = "If it persists, check whether a proxy or gateway changes the answers of the service."

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 200,
        request_id: str | None = None,
        retry_after: float | None = None,
        json_body: bool = True,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.json_body = json_body

    def _facts(self) -> Mapping[str, object]:
        return {**super()._facts(), "HTTP": self.status, "request_id": self.request_id}


class JobError(DashScopeFTError):
    """The job ended without success.

    This class stands for a job that ended with a status that this version does not know.
    """

    job: FineTuneJob | None = None
    """The last snapshot of the job."""

    def __init__(self, message: str = "", *, job: FineTuneJob | None = None) -> None:
        super().__init__(message, job_id=None if job is None else job.job_id)
        self.job = job

    def _facts(self) -> Mapping[str, object]:
        if self.job is None:
            return super()._facts()
        return {
            **super()._facts(),
            "status": safe_word(self.job.raw_status),
            "code": self.job.code and safe_word(self.job.code),
            "request_id": self.job.request_id,
        }


class JobFailedError(JobError):
    """The job ended as FAILED."""

    log_lines: tuple[str, ...] = ()
    """The last lines of the job's log, if the job gives no reason."""
    _advice = "The log of the job says why it failed."

    def __init__(
        self, message: str = "", *, job: FineTuneJob | None = None, log_lines: Iterable[str] = ()
    ) -> None:
        super().__init__(message, job=job)
        self.log_lines = tuple(log_lines)

    def _facts(self) -> Mapping[str, object]:
        line = next((line.strip() for line in reversed(self.log_lines) if line.strip()), None)
        return {**super()._facts(), "last log line": None if line is None else repr(line[:200])}


class JobCanceledError(JobError):
    """The job ended as CANCELED. (`asyncio.CancelledError` is about a task, not about a job.)"""


class CheckpointError(DashScopeFTError):
    """The export of a checkpoint FAILED, or the checkpoint is UNSUPPORTED."""

    checkpoint: Checkpoint | None = None
    """The last snapshot of the checkpoint."""
    _advice = "Export another checkpoint of the job."

    def __init__(
        self, message: str = "", *, job_id: str | None = None, checkpoint: Checkpoint | None = None
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.checkpoint = checkpoint


class WaitError(DashScopeFTError):
    """The wait was given up. The job was not touched and may still be running."""

    last_job: FineTuneJob | None = None
    """The last snapshot of this wait, or `None`."""
    elapsed: float = 0.0
    """Seconds since the wait began."""
    polls: int = 0
    """Number of answers and failures in this wait."""
    last_error: BaseException | None = None
    """The last failure of this wait, or `None`."""
    state: WatchState | None = None
    """The state of the wait, to continue it with `FineTuneClient.resume`. `None` if no wait had begun, and
    for the export of a checkpoint."""

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
        return {
            **super()._facts(),
            "last status": None if self.last_job is None else safe_word(self.last_job.raw_status),
            "after": f"{self.elapsed:.1f} s",
            "polls": self.polls,
            "last error": None if self.last_error is None else repr(redact(str(self.last_error))),
        }


class WaitTimeoutError(WaitError, TimeoutError):
    """The `timeout` of the wait passed before the job ended."""

    _advice = "The job continues: wait for it again with its id."


class OutageError(WaitError):
    """Every poll failed for longer than `PollPolicy.outage_tolerance`; see `last_error`."""

    _advice = "The job may continue: wait for it again with its id when the service is available."


class JobVanishedError(WaitError):
    """A job that this wait had seen answered 404 twice: it was deleted, or access to it was lost."""


class ClientClosedError(WaitError):
    """The client was closed during the call or before it."""

    _advice = "Keep the client open while a call or a wait uses it."
