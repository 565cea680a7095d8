"""``python -m bench.trace``: the function calls that one poll makes, in order, with the file of each.

A later poll that ends a wait is traced with `sys.setprofile`: healthy service, no hooks, no list pages.
Only functions of the package are shown. Resuming a coroutine counts as a call. A change of file is a call
in another file than the call before it: the fewer there are, the easier a reader can follow a poll. Exits
with 1 if there are more than the goal allows.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

import dashscope_ft_async
from bench.contenders import KEY
from bench.server import Plan, control, running
from dashscope_ft_async import FineTuneClient, PollPolicy

GOAL = 25
"""Changes of file, at most."""

_PACKAGE = Path(dashscope_ft_async.__file__).parent
_INTERVAL = 0.6
"""Seconds between the first poll, which finds the job running, and the second, which finds it ended."""


@attrs.frozen
class Call:
    """One call of a function of the package."""

    depth: int
    file: str
    function: str


@attrs.define
class Trace:
    """The calls of functions of the package, in order."""

    calls: list[Call] = attrs.Factory(list[Call])
    _depth: int = 0

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Record a call. This is the function for `sys.setprofile`."""
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(_PACKAGE):
            return
        if event == "call":
            name = str(path.relative_to(_PACKAGE))
            self.calls.append(Call(self._depth, name, frame.f_code.co_qualname))
            self._depth += 1
        elif event == "return":
            self._depth -= 1

    @property
    def functions(self) -> int:
        """How many different functions were called."""
        return len({(call.file, call.function) for call in self.calls})

    @property
    def changes(self) -> int:
        """How often a call is in another file than the call before it."""
        return sum(before.file != after.file for before, after in pairwise(self.calls))

    def __str__(self) -> str:
        lines = [f"{'  ' * call.depth}{call.file}: {call.function}" for call in self.calls]
        totals = f"{len(self.calls)} calls, {self.functions} functions, {self.changes} changes of file"
        return "\n".join([*lines, "", f"{totals} (goal: at most {GOAL})"])


async def trace_poll() -> Trace:
    """Trace the second and last poll of one wait."""
    trace = Trace()
    poll = PollPolicy(initial=_INTERVAL, multiplier=1.0, max_interval=_INTERVAL, jitter=0.0)
    with running(Plan(1, _INTERVAL / 2, _INTERVAL / 2)) as url:
        async with FineTuneClient(KEY, base_url=f"{url}/api/v1", poll=poll, coalesce=False) as client:
            [job_id] = control(url, "start")["ids"]
            wait = asyncio.create_task(client.wait_for_terminal(job_id))
            await asyncio.sleep(_INTERVAL * 0.75)
            sys.setprofile(trace.profile)
            try:
                await wait
            finally:
                sys.setprofile(None)
        assert control(url, "report")["requests"] == {"get": 2}
    return trace


def main() -> int:
    """Print the trace."""
    trace = asyncio.run(trace_poll())
    print(trace)
    return int(trace.changes > GOAL)


if __name__ == "__main__":
    sys.exit(main())
