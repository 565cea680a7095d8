"""Asyncio client for fine-tuning jobs of Alibaba Cloud Model Studio (DashScope).

    async with FineTuneClient() as client:
        job = await client.wait_for_terminal("ft-202410291653-1c7f")

The service sends no notifications, so a program has to poll. One scheduler polls for all waits of a
client, with few requests, and continues through transient failures.
"""

from dashscope_ft_async._api.config import REGIONS, FoundSettings, Setting, find_settings
from dashscope_ft_async._api.version import __version__
from dashscope_ft_async.client import FineTuneClient, Waiting
from dashscope_ft_async.client.shared import shared_client
from dashscope_ft_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CheckpointError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DashScopeFTError,
    EndpointNotFoundError,
    InternalServerError,
    JobCanceledError,
    JobError,
    JobFailedError,
    JobVanishedError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    WaitError,
    WaitTimeoutError,
)
from dashscope_ft_async.models import (
    Checkpoint,
    CheckpointStatus,
    Failure,
    FineTuneJob,
    JobPage,
    JobStatus,
    LogPage,
    TrainingMetric,
    ValidationPage,
    ValidationResult,
    ValidationSample,
    WatchState,
)
from dashscope_ft_async.models.stats import ClientStats
from dashscope_ft_async.policy import PollPolicy, RetryPolicy

__all__ = [
    "REGIONS",
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStatus",
    "ClientClosedError",
    "ClientStats",
    "ConfigurationError",
    "ConflictError",
    "DashScopeFTError",
    "EndpointNotFoundError",
    "Failure",
    "FineTuneClient",
    "FineTuneJob",
    "FoundSettings",
    "InternalServerError",
    "JobCanceledError",
    "JobError",
    "JobFailedError",
    "JobPage",
    "JobStatus",
    "JobVanishedError",
    "LogPage",
    "NotFoundError",
    "OutageError",
    "PermissionDeniedError",
    "PollPolicy",
    "RateLimitError",
    "RetryPolicy",
    "ServiceUnavailableError",
    "Setting",
    "TrainingMetric",
    "ValidationPage",
    "ValidationResult",
    "ValidationSample",
    "WaitError",
    "WaitTimeoutError",
    "Waiting",
    "WatchState",
    "__version__",
    "find_settings",
    "shared_client",
]
