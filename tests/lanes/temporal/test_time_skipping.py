"""An outage of hours. The test server skips the time between two attempts."""

from __future__ import annotations

import shutil
import sys
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from dashscope_ft_async import FineTuneClient, RetryPolicy, shared_client
from dashscope_ft_async.temporal import FineTuneActivities, FineTuneBatch, WaitForFineTunes
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY

ATTEMPTS = 120


async def test_a_wait_survives_an_outage_of_hours(service: Simulator, queue: str, nowhere: str) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    entered = 0

    def down_at_first(
        *, base_url: str | None, region: str | None, workspace: str | None
    ) -> AbstractAsyncContextManager[FineTuneClient]:
        nonlocal entered
        entered += 1
        proxy = None if entered > ATTEMPTS else nowhere
        return shared_client(KEY, base_url=service.base_url, proxy=proxy, retry=RetryPolicy(attempts=1))

    found = shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=found)
    async with (
        environment,
        Worker(
            environment.client,
            task_queue=queue,
            workflows=[WaitForFineTunes],
            activities=FineTuneActivities(down_at_first).all,
        ),
    ):
        handle = await environment.client.start_workflow(
            WaitForFineTunes.run,
            FineTuneBatch(job_ids=[job_id]),
            id=f"test-{uuid4()}",
            task_queue=queue,
        )
        [outcome] = await handle.result()
        description = await handle.describe()

    assert outcome.succeeded
    assert entered == ATTEMPTS + 1
    assert description.close_time is not None
    assert 1.7 < (description.close_time - description.start_time) / timedelta(hours=1) < 2.0
