"""Wait for fine-tuning jobs in Apache Airflow 3 (extra ``airflow``), without holding a worker.

    wait = WaitForFineTuneOperator(task_id="wait", job_ids=create.output)

The operator defers to a trigger at once. All triggers of a triggerer that use the same account share
one client, so a thousand waiting tasks share one scheduler and one request rate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashscope_ft_async.airflow.hooks import DashScopeHook
    from dashscope_ft_async.airflow.operators import FineTuneSensor, WaitForFineTuneOperator
    from dashscope_ft_async.airflow.triggers import FineTuneTrigger

__all__ = ["DashScopeHook", "FineTuneSensor", "FineTuneTrigger", "WaitForFineTuneOperator"]

# Imported when first used: Airflow reads `provider` in every process, and most processes need no operator.
_MODULES = {
    "DashScopeHook": "hooks",
    "FineTuneSensor": "operators",
    "FineTuneTrigger": "triggers",
    "WaitForFineTuneOperator": "operators",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
