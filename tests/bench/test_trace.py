"""The trace of a poll: which functions of the package it calls, in which files."""

from __future__ import annotations

import pytest

from bench.trace import Call, Trace, trace_poll
from tests.support.paths import ROOT


async def test_a_poll_is_traced_from_the_timer_to_the_end_of_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)

    trace = await trace_poll()

    assert "next_step" in [call.function for call in trace.calls]
    assert trace.functions <= len(trace.calls)
    assert trace.changes > 0
    assert {call.file.partition("/")[0] for call in trace.calls} >= {"_engine", "_api"}


def test_consecutive_calls_in_different_files_are_a_change_of_file() -> None:
    files = ["a.py", "b.py", "b.py", "a.py"]

    trace = Trace([Call(depth, file, "f") for depth, file in enumerate(files)])

    assert trace.changes == 2
    assert trace.functions == 2
    assert "4 calls, 2 functions, 2 changes of file" in str(trace)
