"""The command `completion`, and the job ids and checkpoints that a shell completes."""

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
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import LOG_NOTHING, ServiceOptions

_T = TypeVar("_T")

PATIENCE = 2.0
"""Seconds: a person who presses Tab does not wait longer for the service."""
_NEWEST = 100
# A completed word is put on a command line, where a shell would interpret other characters.
_SAFE_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


@click.command(
    short_help="Print the completion script for a shell.",
    epilog="Exit codes: 0 the script was printed, 2 usage.",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands, options, job ids and checkpoints.

    \b
    bash (4.4 or newer), a line in ~/.bashrc:
        eval "$(dashscope-ft completion bash)"
    zsh, a line in ~/.zshrc, after compinit:
        eval "$(dashscope-ft completion zsh)"
    fish, once:
        dashscope-ft completion fish > ~/.config/fish/completions/dashscope-ft.fish

    Job ids are the 100 newest of the account. They are requested with the environment and the options
    typed so far. If the service does not answer within two seconds, no ids are completed.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    root = context.find_root()
    script = kind(root.command, {}, root.info_name or "", "_DASHSCOPE_FT_COMPLETE").source()
    click.echo(script)


def job_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest jobs of the account, without those on the command line already."""
    given: Sequence[str] = context.params.get(parameter.name or "") or ()

    async def newest(client: FineTuneClient) -> list[CompletionItem]:
        return [
            _item(job.job_id, f"{job.status} {job.model or ''}")
            for job in (await client.list(1, _NEWEST)).jobs
            if job.job_id not in given
        ]

    return _matching(_request(context, newest), incomplete)


def checkpoints(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the checkpoints of the job on the command line."""

    async def saved(client: FineTuneClient) -> list[CompletionItem]:
        found = await client.checkpoints(context.params["job_id"])
        return [_item(each.checkpoint, each.raw_status) for each in found]

    return _matching(_request(context, saved), incomplete)


def _item(word: str, description: str) -> CompletionItem:
    return CompletionItem(word, help=printable(description))


def _matching(items: Sequence[CompletionItem], incomplete: str) -> list[CompletionItem]:
    return [
        item for item in items if item.value.startswith(incomplete) and _SAFE_WORD.fullmatch(item.value)
    ]


def _request(
    context: click.Context, operation: Callable[[FineTuneClient], Awaitable[list[_T]]]
) -> Sequence[_T]:
    """Return the result of `operation`, or nothing if it fails or takes too long."""
    typed = context.params.get
    options = ServiceOptions(
        typed("base_url"), typed("region"), typed("workspace"), typed("proxy"), json=False, verbose=False
    )

    async def run() -> list[_T]:
        async with asyncio.timeout(PATIENCE), options.client() as client:
            if not options.uses_proxy:
                # Cancelling the client's own name lookup would not end its thread.
                parts = urlsplit(client.base_url)
                await resolved(parts.hostname or "", parts.port or 443)
            return await operation(client)

    with terminal.logs(Console(stderr=True), LOG_NOTHING), suppress(Exception):
        return asyncio.run(run())
    return ()
