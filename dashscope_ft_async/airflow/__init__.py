"""Wait for fine-tuning jobs in Apache Airflow 3 (extra ``airflow``), without holding a worker.

    wait = WaitForFineTuneOperator(task_id="wait", job_ids=create.output)

The operator defers to a trigger at once. All triggers of a triggerer that ask as the same account share
one client, so a thousand waiting tasks are one driver with one rate.
"""

from dashscope_ft_async.airflow.hooks import DashScopeHook
from dashscope_ft_async.airflow.operators import FineTuneSensor, WaitForFineTuneOperator
from dashscope_ft_async.airflow.triggers import FineTuneTrigger

__all__ = ["DashScopeHook", "FineTuneSensor", "FineTuneTrigger", "WaitForFineTuneOperator"]
