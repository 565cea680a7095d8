"""A whole Airflow on SQLite with two triggerers, one of which is killed while a thousand jobs run.

    .ci/airflow --two-triggerers [--jobs 1000] [--batch 50]

Prints one JSON object, and exits 1 unless every task ended once, in success, with each of its jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from dashscope_ft_async.testing import Simulator

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
DAGS = Path(__file__).parent / "airflow_dags"
KEY = "sk-simulated-0123456789"
KILL_AFTER = 10.0
"""Seconds from the first end of a job to the kill."""
ENDS_WITHIN = 60.0
"""Seconds over which the jobs end."""
PATIENCE = 420.0
ENDED = ("success", "failed", "skipped", "upstream_failed")


def environment(home: str, base_url: str, batches: list[list[str]]) -> dict[str, str]:
    """What all parts of the installation are started with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    connection = {"conn_type": "dashscope", "host": base_url, "password": KEY}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DASHSCOPE_")}
    return clean | {
        "AIRFLOW_HOME": home,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW_CONN_DASHSCOPE_DEFAULT": json.dumps(connection),
        "BENCH_BATCHES": json.dumps(batches),
        "NO_PROXY": "127.0.0.1",
    }


class Installation:
    """The processes, and what their database says."""

    def __init__(self, home: str, env: dict[str, str]) -> None:
        self._home = Path(home)
        self._env = env

    def command(self, *words: str) -> None:
        """Run one to its end."""
        subprocess.run([AIRFLOW, *words], env=self._env, check=True, capture_output=True, timeout=300)

    @contextmanager
    def running(self, name: str, *words: str) -> Generator[subprocess.Popen[bytes]]:
        """A part, until the block is left."""
        with (self._home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [AIRFLOW, *words], env=self._env, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield process
            finally:
                kill_all_of(process)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The answer of the database."""
        with closing(
            sqlite3.connect(f"file:{self._home}/airflow.db?mode=ro", uri=True, timeout=30)
        ) as database:
            return database.execute(query).fetchall()

    def states(self) -> Counter[str]:
        """How many tasks are in which state."""
        return Counter(str(state) for (state,) in self.rows("select state from task_instance"))

    def triggerers(self) -> set[int]:
        """The numbers of the triggerers that have run."""
        return {number for (number,) in self.rows("select id from job where job_type = 'TriggererJob'")}

    def holders(self) -> Counter[int]:
        """How many triggers each triggerer has; 0 stands for none."""
        return Counter(holder or 0 for (holder,) in self.rows("select triggerer_id from trigger"))


def kill_all_of(process: subprocess.Popen[bytes]) -> None:
    """End it and its children as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def until(done: Callable[[], bool], what: str) -> None:
    """Look twice a second."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"in vain waited for {what}")
        await asyncio.sleep(0.5)


async def play(service: Simulator, job_ids: list[str], batch: int, home: str) -> dict[str, Any]:
    """Start everything, kill one triggerer, see the end."""
    batches = [job_ids[start : start + batch] for start in range(0, len(job_ids), batch)]
    airflow = Installation(home, environment(home, service.base_url, batches))
    with ExitStack() as parts:
        await asyncio.to_thread(airflow.command, "db", "migrate")
        for name in ("api-server", "scheduler", "dag-processor"):
            parts.enter_context(airflow.running(name, name))
        triggerers: dict[int, subprocess.Popen[bytes]] = {}
        for n in (1, 2):  # one after the other, so that it is clear which has which number
            process = parts.enter_context(
                airflow.running(f"triggerer-{n}", "triggerer", "--skip-serve-logs")
            )
            await until(lambda: bool(airflow.triggerers() - triggerers.keys()), "a triggerer")
            triggerers.update(dict.fromkeys(airflow.triggerers() - triggerers.keys(), process))
        await until(lambda: bool(airflow.rows("select 1 from dag where dag_id = 'batches'")), "the DAG")
        await asyncio.to_thread(airflow.command, "dags", "trigger", "batches")
        await until(
            lambda: airflow.holders().total() == len(batches) and not airflow.holders()[0],
            "every trigger to be taken up",
        )
        held = airflow.holders()
        for n, job_id in enumerate(job_ids):
            delay = ENDS_WITHIN * n / len(job_ids)
            asyncio.get_running_loop().call_later(delay, service.set_status, job_id, "SUCCEEDED")
        await asyncio.sleep(KILL_AFTER)
        [(victim, orphans)] = airflow.holders().most_common(1)
        kill_all_of(triggerers[victim])
        killed = time.monotonic()
        taken: float | None = None
        while sum(airflow.states()[state] for state in ENDED) < len(batches):
            if time.monotonic() - killed > PATIENCE:
                break
            if taken is None and not airflow.holders()[victim]:
                taken = time.monotonic() - killed
            await asyncio.sleep(0.5)
        return {
            "jobs": len(job_ids),
            "tasks": len(batches),
            "triggers of each triggerer": sorted(held.values()),
            "triggers orphaned by the kill": orphans,
            "seconds from the kill to their new triggerer": taken and round(taken, 1),
            "seconds from the kill to the last task's end": round(time.monotonic() - killed, 1),
            "states": dict(airflow.states()),
            **reckoning(airflow, job_ids),
            "requests": len(service.requests),
            "polls of single jobs": sum(not seen.path.endswith("/fine-tunes") for seen in service.requests),
        }


def reckoning(airflow: Installation, job_ids: list[str]) -> dict[str, int]:
    """How often each thing ended."""
    told = airflow.rows("select value from xcom where key = 'return_value' and task_id = 'wait'")
    outcomes = [outcome for (value,) in told for outcome in plain(value)]
    times = Counter(outcome["job_id"] for outcome in outcomes if outcome["status"] == "SUCCEEDED")
    return {
        "jobs told once": sum(times[job_id] == 1 for job_id in job_ids),
        "tasks tried more than once": sum(
            number != 1 for (number,) in airflow.rows("select try_number from task_instance")
        ),
        "triggers left": airflow.holders().total(),
    }


def plain(value: Any) -> Iterator[Any]:
    """The outcomes in a row of XCom."""
    found = json.loads(value)
    yield from json.loads(found) if isinstance(found, str) else found


async def measure(jobs: int, batch: int) -> dict[str, Any]:
    """The whole of it, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as home:
        async with Simulator(api_key=KEY) as service:
            job_ids = [service.add_job([(0, "RUNNING")]) for _ in range(jobs)]
            return await play(service, job_ids, batch, home)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog=".ci/airflow --two-triggerers", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.jobs, asked.batch))
    print(json.dumps(found, indent=2))
    good = (
        found["states"] == {"success": found["tasks"]}
        and found["jobs told once"] == found["jobs"]
        and not found["tasks tried more than once"]
        and found["triggers orphaned by the kill"]
    )
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
