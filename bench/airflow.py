"""An Airflow installation on SQLite with two triggerers, one of which is killed while 1,000 jobs run.

    .ci/airflow --two-triggerers [--jobs 1000] [--batch 50]

Prints one JSON object. Exits with 1 unless every task succeeded at its first try, with each of its jobs.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from dashscope_ft_async.testing import Simulator

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
DAGS = Path(__file__).parent / "airflow_dags"
KEY = "sk-simulated-0123456789"
KILL_AFTER = 10.0
"""Seconds from the first end of a job to the kill."""
JOBS_END_WITHIN = 60.0
"""Seconds in which the jobs end."""
TIMEOUT = 420.0
"""Seconds for each step."""
FINAL_STATES = ("success", "failed", "skipped", "upstream_failed")


def environment(home: str, base_url: str, batches: list[list[str]]) -> dict[str, str]:
    """The environment variables of all processes of the installation."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    connection = {"conn_type": "dashscope", "host": base_url, "password": KEY}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DASHSCOPE_")}
    return inherited | {
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
    """The processes of an installation, and queries to its database."""

    def __init__(self, home: str, env: dict[str, str]) -> None:
        self._home = Path(home)
        self._env = env

    def command(self, *words: str) -> None:
        """Run ``airflow`` with these words until it exits."""
        subprocess.run([AIRFLOW, *words], env=self._env, check=True, capture_output=True, timeout=300)

    @contextmanager
    def running(self, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``airflow`` with these words until the block ends."""
        with (self._home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [AIRFLOW, *words], env=self._env, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield process
            finally:
                kill(process)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that the database returns."""
        uri = f"file:{self._home}/airflow.db?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
            return database.execute(query).fetchall()

    def states(self) -> Counter[str]:
        """The number of tasks in each state."""
        return Counter(str(state) for (state,) in self.rows("select state from task_instance"))

    def triggerers(self) -> set[int]:
        """The ids of the triggerers."""
        return {number for (number,) in self.rows("select id from job where job_type = 'TriggererJob'")}

    def triggers(self) -> Counter[int]:
        """The number of triggers of each triggerer; 0 is no triggerer."""
        return Counter(owner or 0 for (owner,) in self.rows("select triggerer_id from trigger"))

    def outcomes(self) -> list[Any]:
        """What the tasks returned: one outcome for each job."""
        query = "select value from xcom where key = 'return_value' and task_id = 'wait'"
        values = [json.loads(value) for (value,) in self.rows(query)]
        return [
            each for value in values for each in (json.loads(value) if isinstance(value, str) else value)
        ]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children without a warning."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {TIMEOUT:g} s")
        await asyncio.sleep(0.5)


async def play(service: Simulator, job_ids: list[str], batch: int, home: str) -> dict[str, Any]:
    """Start the installation and the DAG, kill one triggerer, wait for the end."""
    batches = [job_ids[start : start + batch] for start in range(0, len(job_ids), batch)]
    airflow = Installation(home, environment(home, service.base_url, batches))
    with ExitStack() as processes:
        await asyncio.to_thread(airflow.command, "db", "migrate")
        for name in ("api-server", "scheduler", "dag-processor"):
            processes.enter_context(airflow.running(name, name))
        triggerers: dict[int, subprocess.Popen[bytes]] = {}
        for n in (1, 2):  # one after the other, because their ids are only in the database
            running = airflow.running(f"triggerer-{n}", "triggerer", "--skip-serve-logs")
            process = processes.enter_context(running)
            await until(lambda: len(airflow.triggerers()) == n, "a triggerer runs")  # noqa: B023
            triggerers |= dict.fromkeys(airflow.triggerers() - triggerers.keys(), process)
        await until(
            lambda: bool(airflow.rows("select 1 from dag where dag_id = 'batches'")), "the DAG is read"
        )
        await asyncio.to_thread(airflow.command, "dags", "trigger", "batches")
        await until(
            lambda: airflow.triggers().total() == len(batches) and not airflow.triggers()[0],
            "every trigger has a triggerer",
        )
        triggers = airflow.triggers()
        for n, job_id in enumerate(job_ids):
            delay = JOBS_END_WITHIN * n / len(job_ids)
            asyncio.get_running_loop().call_later(delay, service.set_status, job_id, "SUCCEEDED")
        await asyncio.sleep(KILL_AFTER)
        [(killed, orphans)] = airflow.triggers().most_common(1)
        kill(triggerers[killed])
        began = time.monotonic()
        await until(lambda: not airflow.triggers()[killed], "the other triggerer takes the triggers")
        taken = time.monotonic() - began
        with suppress(TimeoutError):
            await until(
                lambda: sum(airflow.states()[state] for state in FINAL_STATES) >= len(batches),
                "all tasks have ended",
            )
        ends = Counter(each["job_id"] for each in airflow.outcomes() if each["status"] == "SUCCEEDED")
        tries = airflow.rows("select try_number from task_instance")
        return {
            "jobs": len(job_ids),
            "tasks": len(batches),
            "triggers of each triggerer": sorted(triggers.values()),
            "triggers orphaned by the kill": orphans,
            "seconds from the kill to their new triggerer": round(taken, 1),
            "seconds from the kill to the last task's end": round(time.monotonic() - began, 1),
            "states": dict(airflow.states()),
            "jobs reported once": sum(ends[job_id] == 1 for job_id in job_ids),
            "tasks tried more than once": sum(number != 1 for (number,) in tries),
            "triggers left": airflow.triggers().total(),
            "requests": len(service.requests),
            "polls of single jobs": sum(not each.path.endswith("/fine-tunes") for each in service.requests),
        }


async def measure(jobs: int, batch: int) -> dict[str, Any]:
    """Run everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as home:
        async with Simulator(api_key=KEY) as service:
            job_ids = [service.add_job([(0, "RUNNING")]) for _ in range(jobs)]
            return await play(service, job_ids, batch, home)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog=".ci/airflow --two-triggerers", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    options = parser.parse_args()
    found = asyncio.run(measure(options.jobs, options.batch))
    print(json.dumps(found, indent=2))
    good = (
        found["states"] == {"success": found["tasks"]}
        and found["jobs reported once"] == found["jobs"]
        and not found["tasks tried more than once"]
        and found["triggers orphaned by the kill"]
    )
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
