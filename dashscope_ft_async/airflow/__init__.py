"""Wait for fine-tuning jobs in Apache Airflow 3 (extra ``airflow``) without occupying a worker.

    wait = WaitForFineTuneOperator(task_id="wait", job_ids=create.output)

The operator defers to a trigger at once. All triggers in a triggerer that use the same account share one
client, so that a thousand waiting tasks share one scheduler and one request rate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashscope_ft_async.airflow.hooks import DashScopeHook
    from dashscope_ft_async.airflow.operators import FineTuneSensor, WaitForFineTuneOperator
    from dashscope_ft_async.airflow.triggers import FineTuneTrigger

__all__ = ["DashScopeHook", "FineTuneSensor", "FineTuneTrigger", "WaitForFineTuneOperator"]

# Imported when first used: each Airflow process calls get_provider_info, and most need no operator.
_MODULES = {
    "DashScopeHook": "hooks",
    "FineTuneSensor": "operators",
    "FineTuneTrigger": "triggers",
    "WaitForFineTuneOperator": "operators",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("airflow", "asgiref"):
            raise
        raise ImportError(
            f"{__name__} needs Airflow 3: pip install 'dashscope-ft-async[airflow]'"
        ) from error
    return getattr(module, name)


def get_provider_info() -> dict[str, Any]:
    """Describe this provider to Airflow, which finds it by the entry point ``apache_airflow_provider``."""
    name = "Alibaba Cloud DashScope"
    modules = [{"integration-name": name, "python-modules": [__name__]}]
    return {
        "package-name": "dashscope-ft-async",
        "name": "DashScope fine-tuning",
        "description": "Waits for fine-tuning jobs of Alibaba Cloud Model Studio (DashScope).",
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://www.alibabacloud.com/help/en/model-studio/",
                "tags": ["service"],
            }
        ],
        **dict.fromkeys(("operators", "sensors", "hooks", "triggers"), modules),
        "connection-types": [
            {
                "connection-type": "dashscope",
                "hook-class-name": f"{__name__}.DashScopeHook",
                "hook-name": name,
                "conn-fields": {
                    "region": {"label": "Region", "schema": {"type": ["string", "null"]}},
                    "workspace": {"label": "Workspace", "schema": {"type": ["string", "null"]}},
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"host": "Base URL", "password": "API key"},
                    "placeholders": {"host": "https://dashscope-intl.aliyuncs.com"},
                },
            }
        ],
    }
