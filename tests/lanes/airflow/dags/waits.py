"""The DAGs of the lane: what is waited for comes with the run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from dashscope_ft_async.airflow import FineTuneSensor, WaitForFineTuneOperator

QUICK: dict[str, Any] = {"initial": 0.1, "max_interval": 0.1}
ONE: Any = "{{ dag_run.conf['job_id'] }}"
EXCEPTIONS: list[BaseException] = []
"""What the tasks of this process failed with."""


def remember(context: Any) -> None:
    EXCEPTIONS.append(context["exception"])


with DAG("one", schedule=None) as one:
    WaitForFineTuneOperator(
        task_id="wait", job_ids=ONE, poll=QUICK, retries=3, on_failure_callback=remember
    )

with DAG("impatient", schedule=None) as impatient:
    WaitForFineTuneOperator(
        task_id="wait",
        job_ids=ONE,
        poll=QUICK,
        execution_timeout=timedelta(seconds=3),
        on_failure_callback=remember,
    )

with DAG("skipping", schedule=None) as skipping:
    FineTuneSensor(task_id="wait", job_ids=ONE, poll=QUICK, timeout=3, soft_fail=True)

with DAG("pipeline", schedule=None) as pipeline:

    @task
    def train(**context: Any) -> list[str]:
        return list(context["dag_run"].conf["job_ids"])

    @task
    def deploy(outcome: Any) -> str:
        return str(outcome["finetuned_output"])

    trained: Any = train()
    waited = WaitForFineTuneOperator(
        task_id="wait", job_ids=trained, poll=QUICK, on_failure_callback=remember
    )
    deployed: Any = deploy
    deployed.expand(outcome=waited.output)
