"""What the commands that talk to the service share: their options, and how they end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from math import isfinite
from typing import Any, NoReturn, TypeVar

import attrs
import click
from rich.console import Console

from dashscope_ft_async import REGIONS, FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.exit_codes import ExitCode, NoAnswerError, exit_code_of
from dashscope_ft_async.cli.output import error_json, write_event
from dashscope_ft_async.cli.views import terminals
from dashscope_ft_async.errors import DashScopeFTError
from dashscope_ft_async.hooks import Hook

_F = TypeVar("_F", bound=Callable[..., Any])

REQUEST_TIMEOUT = 60.0
WAIT_TIMEOUT = 86_400.0
LOG_NOTHING = logging.CRITICAL + 1


@attrs.frozen
class ServiceOptions:
    """The options of a command that talks to the service."""

    base_url: str | None
    region: str | None
    workspace: str | None
    json: bool
    verbose: bool

    def client(self, hooks: Iterable[Hook] = ()) -> FineTuneClient:
        """A client by these options."""
        return FineTuneClient(
            base_url=self.base_url, region=self.region, workspace=self.workspace, hooks=hooks
        )

    def to_arguments(self) -> list[str]:
        """The options, to be given again."""
        named = {"--base-url": self.base_url, "--region": self.region, "--workspace": self.workspace}
        words = [word for name, value in named.items() if value is not None for word in (name, value)]
        return [*words, *(["--json"] if self.json else []), *(["--verbose"] if self.verbose else [])]

    @property
    def as_json(self) -> bool:
        """Whether stdout gets JSON lines."""
        return self.json or not terminals().stdout

    @property
    def log_level(self) -> int:
        """From which level on the log is shown: what ends a wait is told anyway, and once is enough."""
        return logging.INFO if self.verbose else LOG_NOTHING


def check_finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no finite number."""
    if value is not None and not isfinite(value):
        raise click.BadParameter("must be a finite number of seconds.")
    return value


def _regions(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in REGIONS if name.startswith(incomplete)]


def service_options(command: _F) -> _F:
    """The options of `ServiceOptions`."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Log changes and trouble to stderr."),
        click.option("--json", is_flag=True, help="JSON lines on stdout, also on a terminal."),
        click.option("--workspace", metavar="ID", help="Workspace; else DASHSCOPE_WORKSPACE."),
        click.option(
            "--region",
            metavar="NAME",
            shell_complete=_regions,
            help="Region; else DASHSCOPE_REGION, else ap-southeast-1.",
        ),
        click.option("--base-url", metavar="URL", help="URL of the API; else DASHSCOPE_BASE_URL."),
    ):
        command = option(command)
    return command


def run_async(
    main: Callable[[], Coroutine[Any, Any, ExitCode]], console: Console, *, as_json: bool = False
) -> ExitCode:
    """The exit code of `main`, whichever way it ends. SIGTERM ends it as Ctrl-C does."""

    async def ended_by_signals() -> ExitCode:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not on Windows, nor in a thread
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, signal.raise_signal, signal.SIGINT
            )
        return await main()

    try:
        return asyncio.run(ended_by_signals())
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except DashScopeFTError as error:
        return failed(error, console, as_json=as_json)


def failed(
    error: DashScopeFTError, console: Console, *, as_json: bool, job_id: str | None = None
) -> ExitCode:
    """Tell of the error that ends a command, for people and for programs; its exit code."""
    terminal.print_error(console, error)
    if as_json:
        write_event("error", job_id, exit_code=int(exit_code_of(error)), error=error_json(error))
    return exit_code_of(error)


def timeout_option(command: _F) -> _F:
    """The option of a command that asks and does not wait."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        callback=check_finite,
        default=REQUEST_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="Give up after so many seconds, further tries included.",
    )(command)


def answered(
    options: ServiceOptions,
    timeout: float | None,
    question: Callable[[FineTuneClient], Awaitable[object]],
    job_id: str | None = None,
    doubt: str = "",
) -> ExitCode:
    """Put `question` to the service; an error is told on both streams.

    `doubt` is what may have come of it where the command ends before the answer is there.
    """
    console = Console(stderr=True)

    async def run() -> ExitCode:
        try:
            async with options.client() as client:
                limit = asyncio.timeout(timeout)
                try:
                    async with limit:
                        await question(client)
                except TimeoutError:
                    if not limit.expired():
                        raise
                    said = " ".join(part for part in (f"no answer within {timeout:g} s.", doubt) if part)
                    raise NoAnswerError(said, job_id=job_id) from None
        except DashScopeFTError as error:
            return failed(error, console, as_json=options.as_json, job_id=job_id)
        return ExitCode.SUCCEEDED

    with terminal.logs(console, options.log_level):
        code = run_async(run, console)
    if code is ExitCode.INTERRUPTED and doubt:
        click.echo(f"Interrupted. {doubt}", err=True)
    return code


def ask(
    options: ServiceOptions,
    timeout: float,
    question: Callable[[FineTuneClient], Awaitable[object]],
    job_id: str | None = None,
    doubt: str = "",
) -> NoReturn:
    """Put `question` to the service, and end the command."""
    raise SystemExit(answered(options, timeout, question, job_id, doubt))
