"""One of two workers is killed. ``.ci/temporal --large`` does the same with 1,000 jobs."""

from __future__ import annotations

from bench.server import Plan
from bench.temporal import run


async def test_every_job_ends_once_though_a_worker_is_killed() -> None:
    plan = Plan(40, 2.0, 8.0)

    figures = await run(plan, batch_size=5, kill_after=5.0, heartbeat_timeout=1.0)

    assert figures["ended once"]
    assert figures["succeeded"] == 40
    assert sum(figures["batches by attempts"].values()) == 8
    assert figures["batches by attempts"].get("2", 0) > 0
