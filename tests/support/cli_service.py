"""What the tests of the command share: a service in a thread, a quick client, and a runner."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy
from dashscope_ft_async.cli import commands, options
from dashscope_ft_async.cli.schema import schema_text
from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY

Json = dict[str, Any]
T = TypeVar("T")


class Service:
    """A simulator in a loop and thread of its own, as the command runs a loop itself."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.simulator = Simulator(api_key=KEY)
        self._run(self.simulator.__aenter__)

    @property
    def url(self) -> str:
        return self.simulator.base_url

    def add_job(self, timeline: list[tuple[float, str]], **options: Any) -> str:
        async def add() -> str:
            return self.simulator.add_job(timeline, **options)

        return self._run(add)

    def remove_job(self, job_id: str) -> None:
        self._loop.call_soon_threadsafe(self.simulator.remove_job, job_id)

    def close(self) -> None:
        self._run(self.simulator.__aexit__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)


@contextmanager
def elsewhere(server: AbstractAsyncContextManager[T]) -> Generator[T, None, None]:
    """Run any server in a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def serving() -> Generator[Service, None, None]:
    service = Service()
    try:
        yield service
    finally:
        service.close()


def use_quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "120")
    quick = partial(
        FineTuneClient,
        poll=PollPolicy(initial=0.05, max_interval=0.05, outage_tolerance=0.2),
        retry=RetryPolicy(initial=0.01, max_delay=0.02),
    )
    monkeypatch.setattr(options, "FineTuneClient", quick)


def run(*args: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(commands.dashscope_ft, args, input=stdin)
    assert KEY not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


_STRICT: Any = Draft202012Validator({**json.loads(schema_text()), "unevaluatedProperties": False})
"""The schema of the lines; here a name that it does not tell is an error."""


def lines_of(text: str) -> list[Json]:
    """The lines that a command wrote, each as the schema says."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        _STRICT.validate(line)
    return lines


def process_of(*args: str) -> list[str]:
    """The command as a process. Ctrl-C reaches it also where the tests were started without one."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return [sys.executable, "-c", f"{code}; from dashscope_ft_async.__main__ import main; main()", *args]
