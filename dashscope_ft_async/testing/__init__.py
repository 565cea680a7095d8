"""For tests of programs that use this library, without a key and without the network.

async with Simulator() as service, service.client() as client:
    job_id = service.add_job([(0, "RUNNING"), (30, "SUCCEEDED")])
    job = await client.wait_for_terminal(job_id)
"""

from dashscope_ft_async.testing.scenario import Fault, SeenRequest
from dashscope_ft_async.testing.simulator import Simulator

__all__ = ["Fault", "SeenRequest", "Simulator"]
