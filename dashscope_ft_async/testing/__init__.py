"""A simulated service for tests of programs that use this library. It needs no key and no network.

async with Simulator() as service, service.client() as client:
    job_id = service.add_job([(0, "RUNNING"), (30, "SUCCEEDED")])
    job = await client.wait_for_terminal(job_id)
"""

from dashscope_ft_async.testing.answers import Fault, SeenRequest
from dashscope_ft_async.testing.jobs import DEFAULT_TIMELINE, Timeline
from dashscope_ft_async.testing.simulator import Simulator

__all__ = ["DEFAULT_TIMELINE", "Fault", "SeenRequest", "Simulator", "Timeline"]
