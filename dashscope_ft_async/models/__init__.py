"""Values that the service returns, as immutable objects.

Names and meanings of the fields are those of the page "Query a fine-tuning job"
(https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-api). Fields that this version does
not know are kept in `FineTuneJob.extra`, and an unknown status is `JobStatus.UNRECOGNIZED`.
"""

from dashscope_ft_async.models.checkpoints import (
    Checkpoint,
    CheckpointStatus,
    ValidationPage,
    ValidationResult,
    ValidationSample,
)
from dashscope_ft_async.models.job import Failure, FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.models.logs import LogPage, TrainingMetric, is_completion_line
from dashscope_ft_async.models.state import WatchState
from dashscope_ft_async.models.stats import ClientStats
from dashscope_ft_async.models.text import looks_like_api_key, redact, safe_text, safe_word

__all__ = [
    "Checkpoint",
    "CheckpointStatus",
    "ClientStats",
    "Failure",
    "FineTuneJob",
    "JobPage",
    "JobStatus",
    "LogPage",
    "TrainingMetric",
    "ValidationPage",
    "ValidationResult",
    "ValidationSample",
    "WatchState",
    "is_completion_line",
    "looks_like_api_key",
    "redact",
    "safe_text",
    "safe_word",
]
