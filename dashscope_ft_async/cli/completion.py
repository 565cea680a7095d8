"""Completion in a shell: the command that prints the script, and the words that the service knows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem, get_completion_class
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal
from dashscope_ft_async.cli.doctor.probe import resolved
from dashscope_ft_async.cli.options import LOG_NOTHING, ServiceOptions
from dashscope_ft_async.cli.tracker import printable

_T = TypeVar("_T")

PATIENCE = 2.0
"""Seconds: who presses Tab is not to wait for a service that does not answer."""
_NEWEST = 100
# A word of the service's lands on a command line, where a shell would take other characters for its own.
_HARMLESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


@click.command(
    short_help="Print the script for completion in a shell.",
    epilog="Exit codes: 0 the script was printed, 2 usage.",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, job ids and checkpoints.

    \b
    bash (4.4 or newer), a line in ~/.bashrc:
        eval "$(dashscope-ft completion bash)"
    zsh, a line in ~/.zshrc, behind compinit:
        eval "$(dashscope-ft completion zsh)"
    fish, once:
        dashscope-ft completion fish > ~/.config/fish/completions/dashscope-ft.fish

    Job ids are those of the service's newest page, asked for with the settings of the environment and the
    options typed so far; where there is no answer within two seconds, there are none.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    root = context.find_root()
    script = kind(root.command, {}, root.info_name or "", "_DASHSCOPE_FT_COMPLETE").source()
    click.echo(script)


def job_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest jobs of the account, without those given already."""
    given: Sequence[str] = context.params.get(parameter.name or "") or ()

    async def newest(client: FineTuneClient) -> list[CompletionItem]:
        return [
            _item(job.job_id, f"{job.status} {job.model or ''}")
            for job in (await client.list(1, _NEWEST)).jobs
            if job.job_id not in given
        ]

    return _fitting(_asked(context, newest), incomplete)


def checkpoints(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The checkpoints of the job given before."""

    async def saved(client: FineTuneClient) -> list[CompletionItem]:
        found = await client.checkpoints(context.params["job_id"])
        return [_item(each.checkpoint, each.raw_status) for each in found]

    return _fitting(_asked(context, saved), incomplete)


def _item(word: str, about: str) -> CompletionItem:
    return CompletionItem(word, help=printable(about))


def _fitting(items: Sequence[CompletionItem], incomplete: str) -> list[CompletionItem]:
    return [item for item in items if item.value.startswith(incomplete) and _HARMLESS.fullmatch(item.value)]


def _asked(
    context: click.Context, question: Callable[[FineTuneClient], Awaitable[list[_T]]]
) -> Sequence[_T]:
    """What the service answers; nothing, and not a word, where it does not."""
    typed = {name: context.params.get(name) for name in ("base_url", "region", "workspace")}
    options = ServiceOptions(**typed, json=False, verbose=False)

    async def ask() -> list[_T]:
        async with asyncio.timeout(PATIENCE), options.client() as client:
            parts = urlsplit(client.base_url)
            await resolved(parts.hostname or "", parts.port or 443)  # or the client's look-up would keep us
            return await question(client)

    with terminal.logs(Console(stderr=True), LOG_NOTHING), suppress(Exception):
        return asyncio.run(ask())
    return ()
