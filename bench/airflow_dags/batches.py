"""The DAG that `bench.airflow` runs: one task for each batch of jobs."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from airflow.sdk import DAG

from dashscope_ft_async.airflow import WaitForFineTuneOperator

with DAG("batches", schedule=None, is_paused_upon_creation=False):
    WaitForFineTuneOperator.partial(task_id="wait", execution_timeout=timedelta(hours=1)).expand(
        job_ids=json.loads(os.environ["BENCH_BATCHES"])
    )
