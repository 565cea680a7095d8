"""What the service says, as frozen values.

The field names and meanings are those of the page "Query a fine-tuning job"
(https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-api). The world is open: a field
this version does not know is kept in `FineTuneJob.extra`, a status word nobody knows becomes
`JobStatus.UNRECOGNIZED`, and neither stops a program that waits.
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

__all__ = [
    "Checkpoint",
    "CheckpointStatus",
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
]
