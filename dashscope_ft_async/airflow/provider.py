"""What Airflow asks every provider for, by the entry point ``apache_airflow_provider``.

Apart from `dashscope_ft_async.airflow`, since Airflow reads it in each of its processes, long before
anybody needs an operator.
"""

from __future__ import annotations

from typing import Any

_HERE = "dashscope_ft_async.airflow"


def get_provider_info() -> dict[str, Any]:
    """The connection type, its fields in the UI, and where operator, sensor and trigger are."""
    name = "Alibaba Cloud DashScope"
    integration = [{"integration-name": name, "python-modules": [_HERE]}]
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
        "operators": integration,
        "sensors": integration,
        "hooks": integration,
        "triggers": integration,
        "connection-types": [
            {
                "connection-type": "dashscope",
                "hook-class-name": f"{_HERE}.DashScopeHook",
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
