"""The options and the error handling that all commands that talk to the service have."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from math import isfinite
from typing import Any, Literal, TypeVar

import attrs
import click
from rich.console import Console

from dashscope_ft_async import REGIONS, FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode, exit_code_of, time_limit
from dashscope_ft_async.cli.output import error_json, write_event
from dashscope_ft_async.cli.views import terminals
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.hooks import Hook

_F = TypeVar("_F", bound=Callable[..., Any])

REQUEST_TIMEOUT = 60.0
WAIT_TIMEOUT = 86_400.0
LOG_NOTHING = logging.CRITICAL + 1
PROXY_VARIABLE = "DASHSCOPE_PROXY"
_COALESCE: dict[str, bool | Literal["confirm"]] = {"yes": True, "confirm": "confirm", "no": False}


@attrs.frozen
class ServiceOptions:
    """The options of a command that talks to the service."""

    base_url: str | None
    region: str | None
    workspace: str | None
    proxy: str | None
    json: bool
    verbose: bool
    coalesce: str = "yes"

    def client(self, hooks: Iterable[Hook] = ()) -> FineTuneClient:
        """Return a client with these options."""
        return FineTuneClient(
            base_url=self.base_url,
            region=self.region,
            workspace=self.workspace,
            proxy=self._proxy_url,
            coalesce=_COALESCE[self.coalesce],
            hooks=hooks,
        )

    @property
    def _proxy_url(self) -> str | None:
        return self.proxy or os.environ.get(PROXY_VARIABLE) or None

    @property
    def uses_proxy(self) -> bool:
        """Whether requests go through a proxy, which then resolves the host name."""
        return self._proxy_url is not None

    def to_arguments(self) -> list[str]:
        """Return the options as they were given on the command line."""
        given = {
            "--base-url": self.base_url,
            "--region": self.region,
            "--workspace": self.workspace,
            "--proxy": self.proxy,
            "--coalesce": None if self.coalesce == "yes" else self.coalesce,
        }
        arguments = [word for name, value in given.items() if value is not None for word in (name, value)]
        return [*arguments, *(["--json"] if self.json else []), *(["--verbose"] if self.verbose else [])]

    @property
    def as_json(self) -> bool:
        """Whether stdout gets JSON lines."""
        return self.json or not terminals().stdout

    @property
    def log_level(self) -> int:
        """The lowest level of log records that are shown. The command shows final errors itself."""
        return logging.INFO if self.verbose else LOG_NOTHING


def check_finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Refuse infinity and NaN."""
    if value is not None and not isfinite(value):
        raise click.BadParameter("must be a finite number of seconds.")
    return value


def _check_proxy(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and "@" in value:
        raise click.BadParameter(
            f"other users of this machine can read a password on a command line. Set {PROXY_VARIABLE}."
        )
    return value


def _regions(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in REGIONS if name.startswith(incomplete)]


def service_options(command: _F) -> _F:
    """Add the options of `ServiceOptions`, except ``--coalesce``."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Log status changes and retries to stderr."),
        click.option("--json", is_flag=True, help="Write JSON lines to stdout, on a terminal too."),
        click.option(
            "--proxy",
            metavar="URL",
            callback=_check_proxy,
            help=f"URL of an HTTP proxy. Default: {PROXY_VARIABLE}. HTTPS_PROXY is not read.",
        ),
        click.option("--workspace", metavar="ID", help="Workspace. Default: DASHSCOPE_WORKSPACE."),
        click.option(
            "--region",
            metavar="NAME",
            shell_complete=_regions,
            help="Region. Default: DASHSCOPE_REGION, or else ap-southeast-1.",
        ),
        click.option("--base-url", metavar="URL", help="URL of the API. Default: DASHSCOPE_BASE_URL."),
    ):
        command = option(command)
    return command


def coalesce_option(command: _F) -> _F:
    """Add ``--coalesce`` to a command that waits."""
    return click.option(
        "--coalesce",
        type=click.Choice(list(_COALESCE)),
        default="yes",
        show_default=True,
        help="Whether one list request may replace requests for single jobs. "
        "confirm: each end seen in a list is confirmed by a request for that job.",
    )(command)


def timeout_option(command: _F) -> _F:
    """Add ``--timeout`` to a command that does not wait for a job."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        callback=check_finite,
        default=REQUEST_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="Give up after this many seconds, retries included.",
    )(command)


def run_async(
    main: Callable[[], Coroutine[Any, Any, ExitCode]], console: Console, *, as_json: bool = False
) -> ExitCode:
    """Run `main` and return its exit code, or the one of the error that it raised.

    SIGTERM ends it as Ctrl-C does, also where SIGINT is ignored: shells start background jobs so.
    """
    terminated = False

    async def run() -> ExitCode:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checkers

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await main()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except asyncio.CancelledError:
        if not terminated:
            raise
        return ExitCode.INTERRUPTED
    except DashScopeFTError as error:
        return report_error(error, console, as_json=as_json)


def report_error(
    error: DashScopeFTError, console: Console, *, as_json: bool, job_id: str | None = None
) -> ExitCode:
    """Write an error to stderr, and with `as_json` to stdout too; return its exit code."""
    terminal.print_error(console, error)
    if as_json:
        write_event("error", job_id, exit_code=int(exit_code_of(error)), error=error_json(error))
    return exit_code_of(error)


def call_service(
    options: ServiceOptions,
    timeout: float | None,
    operation: Callable[[FineTuneClient], Awaitable[object]],
    job_id: str | None = None,
    uncertainty: str = "",
) -> ExitCode:
    """Run `operation` with a client and return the exit code of the command.

    `uncertainty` says what the service may have done if the command ends without an answer.
    """
    console = Console(stderr=True)

    async def run() -> ExitCode:
        message = f"no answer within {timeout:g} s." if timeout is not None else ""
        try:
            async with (
                options.client() as client,
                time_limit(timeout, f"{message} {uncertainty}".strip(), job_id),
            ):
                await operation(client)
        except DashScopeFTError as error:
            return report_error(error, console, as_json=options.as_json, job_id=job_id)
        return ExitCode.SUCCEEDED

    with terminal.logs(console, options.log_level):
        code = run_async(run, console)
    if code is ExitCode.INTERRUPTED and uncertainty:
        click.echo(f"Interrupted. {uncertainty}", err=True)
    return code
