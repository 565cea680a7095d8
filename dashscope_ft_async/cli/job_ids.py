"""Which jobs a command is about: those named, those named on stdin, or all that are active."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar, cast

import attrs
import click

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.completion import job_ids
from dashscope_ft_async.cli.exit_codes import NoAnswerError
from dashscope_ft_async.cli.follow import active
from dashscope_ft_async.cli.output import SCHEMA
from dashscope_ft_async.models import looks_like_api_key

_F = TypeVar("_F", bound=Callable[..., Any])

STDIN = "-"


def no_key(_: click.Context, __: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Refuse an API key where an id belongs."""
    if any(looks_like_api_key(text) for text in ((value,) if isinstance(value, str) else value)):
        raise click.BadParameter("an API key is no job id.")  # and is not shown in a table or a line
    return value


def one_job(command: _F) -> _F:
    """The argument of a command about one job: ``job_id``."""
    return click.argument("job_id", metavar="ID", callback=no_key, shell_complete=job_ids)(command)


def many_jobs(command: _F) -> _F:
    """The arguments of a command about many jobs: ``job_ids`` and ``every``, for `JobSelection.of`."""
    ids = click.argument("job_ids", metavar="[ID...]", nargs=-1, callback=no_key, shell_complete=job_ids)
    every = click.option("--all", "every", is_flag=True, help="Every active job of the account.")
    return every(ids(command))


@attrs.frozen
class JobSelection:
    """The jobs that were asked for."""

    ids: Sequence[str] | None
    """`None` for every active job."""

    @classmethod
    def of(cls, job_ids: Sequence[str], every: bool) -> Self:
        """What the arguments say; reads stdin where they do. Raises click's errors."""
        if every == bool(job_ids):
            raise click.UsageError("give one of: ids, - for ids on stdin, --all.")
        return cls(None if every else _with_stdin(job_ids))

    async def find(self, client: FineTuneClient, timeout: float | None = None) -> Sequence[str]:
        """Their ids; with ``--all`` those of the jobs that have not ended now.

        Raises:
            NoAnswerError: the list was not read within `timeout` seconds.
        """
        if self.ids is not None:
            return self.ids
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await active(client)
        except TimeoutError:
            if not limit.expired():
                raise
        raise NoAnswerError(f"the list of jobs was not read within {timeout:g} s.")


def _with_stdin(given: Sequence[str]) -> Sequence[str]:
    ids: list[str] = []
    try:
        for text in given:
            ids.extend(ids_of(sys.stdin) if text == STDIN else [text])
    except UnicodeDecodeError:
        raise click.BadParameter("stdin is no text.") from None
    if any(map(looks_like_api_key, ids)):
        raise click.BadParameter("an API key is no job id.")
    return ids


def ids_of(lines: Iterable[str]) -> Iterator[str]:
    """The ids on `lines`: words, or the ``job_id`` of each line of our own JSON."""
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("{"):
            yield from line.split()
            continue
        try:
            read: object = json.loads(line)
        except (ValueError, RecursionError):
            read = None
        found = cast("dict[str, object]", read) if isinstance(read, dict) else {}
        job_id = found.get("job_id")
        if job_id is None and found.get("schema") == SCHEMA and found.get("event") != "error":
            continue  # of a record: about no one job
        if not isinstance(job_id, str):
            raise click.BadParameter(f"line {number} of stdin is JSON without the job_id of a job.")
        yield job_id
