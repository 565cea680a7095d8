from __future__ import annotations

import asyncio
import pytest

from dashscope_ft_async import FineTuneClient, JobStatus
from dashscope_ft_async.testing import Simulator


@pytest.mark.looptime
async def test_a_day_of_polling_takes_no_time(service: Simulator, client: FineTuneClient) -> None:
    job_id = service.add_job([(0, "PENDING"), (60, "RUNNING"), (20_000, "SUCCEEDED")])
    loop = asyncio.get_running_loop()
    t = loop.time()

    job = await client.wait_for_terminal(job_id)

    assert job.status is JobStatus.SUCCEEDED
    assert 20_000 <= loop.time() - t <= 20_036
    assert service.polls(job_id) < 1000
