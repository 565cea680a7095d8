"""The group of all commands. Each command is defined in a module of this package."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from dashscope_ft_async import __version__
from dashscope_ft_async.cli.checkpoints import checkpoints, export
from dashscope_ft_async.cli.completion import completion
from dashscope_ft_async.cli.create import create
from dashscope_ft_async.cli.demo import demo
from dashscope_ft_async.cli.doctor.command import doctor
from dashscope_ft_async.cli.exit_codes import ExitCode
from dashscope_ft_async.cli.jobs import cancel, delete, get, list_jobs
from dashscope_ft_async.cli.logs import logs
from dashscope_ft_async.cli.report.command import report
from dashscope_ft_async.cli.schema import schema
from dashscope_ft_async.cli.simulate import simulate
from dashscope_ft_async.cli.waits import wait, watch


class _Group(click.Group):
    """All commands. None of them ends in a traceback after Ctrl-C, or if the reader of a pipe has gone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order below, not sorted

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            message = f"{error.format_message()} Options come after the name of a command."
            raise click.UsageError(message, ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            _discard_output()
            ctx.exit(ExitCode.READER_GONE)
        except OSError as error:
            _discard_output()
            with suppress(OSError):
                click.echo(f"error: {error.strerror or error}", err=True)
            ctx.exit(ExitCode.USAGE)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception:  # noqa: BLE001 - the exit code of a traceback, 1, means that a job FAILED
            with suppress(OSError):
                traceback.print_exc()
            ctx.exit(ExitCode.BUG)


def _discard_output() -> None:
    """Redirect stdout to the null device: the interpreter flushes it once more when it exits."""
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dashscope-ft")
def dashscope_ft() -> None:
    """Create, follow and manage fine-tuning jobs of Alibaba Cloud Model Studio (DashScope).

    The API key is read from DASHSCOPE_API_KEY or from the key file ~/.dashscope/api_key. There is no
    option for it, because other users of a machine can read command lines.
    """


for _command in (
    demo,
    doctor,
    wait,
    watch,
    get,
    list_jobs,
    logs,
    checkpoints,
    export,
    report,
    create,
    cancel,
    delete,
    simulate,
    completion,
    schema,
):
    dashscope_ft.add_command(_command)
