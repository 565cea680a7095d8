"""Airflow on SQLite in a temporary folder, and a simulated service for it. Run by `.ci/airflow`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

# Airflow reads its settings when it is imported.
_HOME = tempfile.TemporaryDirectory()
_HERE = Path(__file__).parent
_PAGE = _HERE.parents[2] / "docs/how-to/use-with-airflow.md"
shutil.copytree(_HERE / "dags", Path(_HOME.name, "dags"), ignore=shutil.ignore_patterns("__pycache__"))
[_EXAMPLE] = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
Path(_HOME.name, "dags", "page.py").write_text(_EXAMPLE, encoding="utf-8")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(_HOME.name, "dags")),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}
for _name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
    del os.environ[_name]

from dashscope_ft_async.testing import Simulator  # noqa: E402 - after the environment

KEY = "sk-0123456789abcdefSECRET"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what older versions of Airflow lack: asynchronous tasks, the exception in a callback, and
    connection forms without Flask."""
    installed = [int(number) for number in version("apache-airflow-core").split(".")[:2]]
    if item.get_closest_marker("since_3_2") and installed < [3, 2]:
        pytest.skip("needs Airflow 3.2")


@pytest.fixture(scope="session")
def database() -> None:
    """Airflow's tables."""
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


class Elsewhere:
    """A simulator in a thread, since `DAG.test` has an event loop of its own."""

    key = KEY

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.service = Simulator(api_key=KEY, new_jobs=[(0, "PENDING"), (0.5, "SUCCEEDED")])
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.run(self.service.__aenter__)

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            return await call()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(10)

    def add_job(self, *timeline: tuple[float, str], **fields: object) -> str:
        async def add() -> str:
            return self.service.add_job(timeline, **fields)  # type: ignore[arg-type] # fields of the job

        return str(self.run(add))

    def stop(self) -> None:
        self.run(self.service.__aexit__)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """The simulated service, and the connection that leads to it."""
    made = Elsewhere()
    connect(monkeypatch, made.service)
    yield made
    made.stop()


def connect(monkeypatch: pytest.MonkeyPatch, service: Simulator, **extra: str) -> None:
    """Make ``dashscope_default`` a connection to `service`."""
    connection = {
        "conn_type": "dashscope",
        "host": service.base_url,
        "password": KEY,
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_DASHSCOPE_DEFAULT", json.dumps(connection))
