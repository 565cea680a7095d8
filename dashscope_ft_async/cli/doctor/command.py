"""The command that looks at the set-up."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dashscope_ft_async import FoundSettings, Setting, __version__, find_settings
from dashscope_ft_async.cli import terminal as view
from dashscope_ft_async.cli.doctor.checks import (
    Check,
    Verdict,
    failed,
    of_access,
    of_conflicts,
    of_host,
    of_key,
    of_workspace,
    skipped,
)
from dashscope_ft_async.cli.doctor.probe import STEPS, Probe
from dashscope_ft_async.cli.exit_codes import ExitCode as Exit
from dashscope_ft_async.cli.exit_codes import most_serious
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import ServiceOptions as Access
from dashscope_ft_async.cli.options import run_async as run_to_exit
from dashscope_ft_async.cli.options import service_options as access_options
from dashscope_ft_async.cli.options import timeout_option as patience
from dashscope_ft_async.cli.output import write_event
from dashscope_ft_async.errors import ConfigurationError, DashScopeFTError
from dashscope_ft_async.models import redact

_STEP = 10.0
"""Seconds for one step on the way to the host, as the client gives them to a connection."""
_COLOURS = {
    Verdict.OK: "green",
    Verdict.WARNING: "bold yellow",
    Verdict.FAILED: "bold red",
    Verdict.SKIPPED: "dim",
}


@attrs.frozen
class Examination:
    """All checks, in their order; one that fails lets those be skipped that need it."""

    options: Access
    env: Mapping[str, str]
    deadline: float

    async def checks(self) -> AsyncGenerator[Check, None]:
        """What is found, as it is found."""
        system = f"Python {platform.python_version()}, aiohttp {version('aiohttp')}, {platform.platform()}"
        yield Check("versions", Verdict.OK, f"dashscope-ft-async {__version__}, {system}")
        place = self.settings()
        key = self.key()
        yield of_key(key, _mode(key))
        yield of_host(place)
        if isinstance(place, ConfigurationError):
            for name in ("workspace", "settings", *STEPS, "clock", "access"):
                yield skipped(name, "host failed")
            return
        yield of_workspace(place)
        yield of_conflicts(place, self.env)
        way = ""
        async with aclosing(self._way(place)) as steps:
            async for check in steps:
                yield check
                way = way or (check.name if check.verdict is Verdict.FAILED else "")
        broken = way if isinstance(key, Setting) else "key"
        if broken:
            yield skipped("access", f"{broken} failed")
        else:
            yield await self._timed("access", partial(self._asked, place), inf)

    def key(self) -> Setting | ConfigurationError | None:
        """The API key, whatever the other settings are."""
        try:
            return find_settings(base_url="https://dashscope-intl.aliyuncs.com").api_key
        except ConfigurationError as error:
            return error

    def settings(self) -> FoundSettings | ConfigurationError:
        """The settings that the client uses."""
        options = self.options
        try:
            return find_settings(
                base_url=options.base_url, region=options.region, workspace=options.workspace
            )
        except ConfigurationError as error:
            return error

    async def _way(self, place: FoundSettings) -> AsyncGenerator[Check, None]:
        probe = Probe(place.base_url.value)
        broken = ""
        try:
            for step in STEPS:
                if broken:
                    yield skipped(step, f"{broken} failed")
                    continue
                check = await self._timed(step, partial(probe.look, step), _STEP)
                broken = step if check.verdict is Verdict.FAILED else ""
                yield check
            yield skipped("clock", f"{broken} failed") if broken else probe.clock
        finally:
            await probe.close()

    async def _asked(self, place: FoundSettings) -> Check:
        try:
            async with self.options.client() as client:
                return of_access(await client.list(1, 1), place)
        except DashScopeFTError as error:
            return of_access(error, place)

    async def _timed(self, name: str, look: Callable[[], Awaitable[Check]], most: float) -> Check:
        left = self._left()
        began = time.monotonic()
        limit = asyncio.timeout(min(most, left))
        try:
            async with limit:
                check = await look()
        except TimeoutError:
            took = time.monotonic() - began
            exit_ = Exit.UNREACHABLE if most < left else Exit.TIMED_OUT
            check = failed(name, f"no answer within {took:.1f} s", "Is a firewall between?", exit_)
        if check.verdict is Verdict.SKIPPED:
            return check
        return attrs.evolve(check, seconds=time.monotonic() - began)

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def _mode(key: Setting | ConfigurationError | None) -> int:
    if os.name == "posix" and isinstance(key, Setting) and key.source.startswith("file "):
        with suppress(OSError):
            return Path(key.source.partition(" ")[2]).stat().st_mode
    return 0


class Teller:
    """Writes checks to stdout, without anything that looks like a key."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console()

    def tell(self, check: Check) -> None:
        """Write one check."""
        text, advice = self._discreet(check.text), self._discreet(check.advice)
        if self._as_json:
            write_event(
                "check",
                None,
                name=check.name,
                verdict=check.verdict,
                text=text,
                advice=advice or None,
                seconds=None if check.seconds is None else round(check.seconds, 6),
                exit_code=int(check.exit),
            )
            return
        took = "" if check.seconds is None else f" ({check.seconds * 1000:.0f} ms)"
        line = Table.grid(Column(width=7), Column(width=9), Column(overflow="fold"), padding=(0, 2, 0, 0))
        line.add_row(Text(check.verdict, _COLOURS[check.verdict]), check.name, Text(text + took))
        if advice:
            line.add_row("", "", Text(f"→ {advice}", "italic"))
        self._console.print(line)

    def _discreet(self, text: str) -> str:
        return redact(printable(text))


def _tally(found: Iterable[Check]) -> str:
    count = Counter(check.verdict for check in found)
    told = [f"{number} {verdict}" for verdict in Verdict if (number := count[verdict])]
    return ", ".join(told).replace("warning", "warnings" if count[Verdict.WARNING] > 1 else "warning")


@click.command(
    short_help="Look at the set-up, and say what is wrong.",
    epilog="Exit codes: 0 all is well, warnings apart; 2 the settings are wrong, as where there is no key; "
    "4 timed out, 5 the service refused, 6 it could not be reached, 130 interrupted. With several, the "
    "first in the order 2, 5, 6, 4.",
)
@access_options
@patience
def doctor(timeout: float, **access: Any) -> None:
    """Look at the set-up: settings, the way to the service, and whether it takes the key.

    One line for each check tells what is used and where that came from, what works and what does not, and
    what to do about it. No key is shown, nor any part of one, so that the lines can go into a support
    ticket. The key itself is sent once, by the usual client, to read one job of the list. Into a pipe, or
    with --json, each check is one JSON object on one line.
    """
    options = Access(**access)
    examination = Examination(options, os.environ, time.monotonic() + timeout)
    teller = Teller(as_json=options.as_json)
    console = Console(stderr=True)

    async def run() -> Exit:
        found: list[Check] = []
        async with aclosing(examination.checks()) as checks:
            async for check in checks:
                teller.tell(check)
                found.append(check)
        if not options.as_json:
            click.echo(_tally(found), err=True)
        return most_serious(check.exit for check in found)

    with view.logs(console, options.log_level):
        raise SystemExit(run_to_exit(run, console))
