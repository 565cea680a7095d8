"""The job ids that a command is given: as arguments, on stdin, or ``--all``."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar, cast

import attrs
import click

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli.completion import job_ids
from dashscope_ft_async.cli.exit_codes import time_limit
from dashscope_ft_async.cli.follow import active
from dashscope_ft_async.cli.messages import printable
from dashscope_ft_async.cli.options import coalesce_option
from dashscope_ft_async.cli.output import SCHEMA
from dashscope_ft_async.models import looks_like_api_key

_F = TypeVar("_F", bound=Callable[..., Any])

STDIN = "-"
_QUOTES = "'\"`\u2018\u2019\u201c\u201d"
# What other programs print where they have no value.
_NO_VALUE = frozenset({"", "none", "null", "nil", "undefined", "nan"})


def split_ids(text: str) -> list[str]:
    """Return the ids in `text`: separated by blanks or commas, in quotes or in a list.

    Raises:
        click.BadParameter: one of them is an API key, or a word for "no value".
    """
    inside = text.strip().removeprefix("[").removesuffix("]")
    ids = [word.strip(_QUOTES) for word in re.split(r"[\s,]+", inside.strip(" ,"))]
    for job_id in ids:
        check_not_key(job_id)
        if job_id.lower() in _NO_VALUE:
            raise click.BadParameter(
                f"{printable(text)!r} is not a job id: the program that wrote it probably found no job."
            )
    return ids


def check_not_key(text: str) -> None:
    """Refuse an API key where an id belongs, without showing it."""
    if looks_like_api_key(text.strip(_QUOTES)):
        raise click.BadParameter("an API key is not a job id.")


def _one_id(_: click.Context, __: click.Parameter, value: str) -> str:
    if value.startswith("-"):
        check_not_key(value)
        return value
    ids = split_ids(value)
    if len(ids) > 1:
        raise click.BadParameter(f"{printable(value)!r} is not a job id. Give one job id.")
    return ids[0]


def one_job(command: _F) -> _F:
    """Add the argument ``job_id``."""
    return click.argument("job_id", metavar="ID", callback=_one_id, shell_complete=job_ids)(command)


def many_jobs(command: _F) -> _F:
    """Add ``job_ids``, ``every`` and ``coalesce``; the first two are the arguments of `JobSelection.of`."""
    ids = click.argument("job_ids", metavar="[ID...]", nargs=-1, shell_complete=job_ids)
    every = click.option("--all", "every", is_flag=True, help="Every job of the account that is not over.")
    return every(ids(coalesce_option(command)))


@attrs.frozen
class JobSelection:
    """The jobs that a command is about."""

    ids: Sequence[str] | None
    """`None` for every active job."""

    @classmethod
    def of(cls, job_ids: Sequence[str], every: bool) -> Self:
        """Return the selection that the arguments ask for. Reads stdin if an id is ``-``.

        Raises:
            click.UsageError: the arguments do not fit together, or an id cannot be one.
        """
        if every == bool(job_ids):
            raise click.UsageError("give job ids, or - to read job ids from stdin, or --all.")
        return cls(None if every else _all_ids(job_ids))

    async def find(self, client: FineTuneClient, timeout: float | None = None) -> Sequence[str]:
        """Return the ids; with ``--all`` those of the jobs that are active now.

        Raises:
            NoAnswerError: the list was not read within `timeout` seconds.
        """
        if self.ids is not None:
            return self.ids
        async with time_limit(timeout, f"the list of jobs was not read within {timeout or 0:g} s."):
            return await active(client)


def _all_ids(given: Sequence[str]) -> Sequence[str]:
    ids: list[str] = []
    for text in given:
        if text == STDIN:
            ids.extend(ids_in(_stdin_text().splitlines()))
        elif text.startswith("-"):  # after `--`; a job id may begin with a hyphen
            check_not_key(text)
            ids.append(text)
        else:
            ids.extend(split_ids(text))
    return ids


def _stdin_text() -> str:
    try:
        return decoded(sys.stdin.buffer.read())
    except UnicodeDecodeError:
        raise click.BadParameter("stdin is neither UTF-8 nor UTF-16 text.") from None


def decoded(data: bytes) -> str:
    """Return the text in `data`: UTF-8, or UTF-16 if it begins with a byte order mark of that.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def ids_in(lines: Iterable[str]) -> Iterator[str]:
    """Yield the ids on `lines`: as of `split_ids`, or ``job_id`` of each JSON object of this command.

    Raises:
        click.BadParameter: a line is JSON without a job id, or `split_ids` refuses it.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not line.lstrip().startswith("{"):
            yield from split_ids(line)
            continue
        try:
            value: object = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        job_id = fields.get("job_id")
        if job_id is None and fields.get("schema") == SCHEMA and fields.get("event") != "error":
            continue  # a line about the account
        if not isinstance(job_id, str):
            raise click.BadParameter(f"line {number} of stdin is JSON without the job_id of a job.")
        check_not_key(job_id)
        yield job_id
