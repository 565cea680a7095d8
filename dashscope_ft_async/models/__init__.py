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
from dashscope_ft_async.models.job import FineTuneJob, JobPage, JobStatus
from dashscope_ft_async.models.state import WatchState

__all__ = [
    "Checkpoint",
    "CheckpointStatus",
    "FineTuneJob",
    "JobPage",
    "JobStatus",
    "ValidationPage",
    "ValidationResult",
    "ValidationSample",
    "WatchState",
]
