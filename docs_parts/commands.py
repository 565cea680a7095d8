"""The commands, as click knows them."""

from __future__ import annotations

import re
from inspect import cleandoc

import click

from dashscope_ft_async.cli.commands import dashscope_ft

_NAME = "dashscope-ft"
_AS_WRITTEN = "\b"
"""Before a paragraph that click does not wrap."""


def part() -> str:
    """A section for the command itself and one for each command under it, by name."""
    group = click.Context(dashscope_ft, info_name=_NAME, **dashscope_ft.context_settings)
    commands = sorted(dashscope_ft.commands.items())
    sections = [_section(_NAME, dashscope_ft, group)]
    for name, command in commands:
        context = click.Context(command, parent=group, info_name=name)
        sections.append(_section(f"{_NAME} {name}", command, context))
    return "\n\n".join(sections)


def _section(title: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join([title, *command.collect_usage_pieces(context)])
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context))
    ]
    options = [f"| `{_cell(names)}` | {_words(_cell(text))} |" for names, text in records]
    paragraphs = [
        f"## `{title}`",
        f"```text\n{usage}\n```",
        *_paragraphs(command.help),
        "\n".join(["| option | meaning |", "| --- | --- |", *options]),
        *_paragraphs(command.epilog),
    ]
    return "\n\n".join(paragraphs)


def _paragraphs(text: str | None) -> list[str]:
    found = [cleandoc(paragraph) for paragraph in (text or "").split("\n\n") if paragraph.strip()]
    return [_paragraph(*paragraph.rpartition(_AS_WRITTEN)[1:]) for paragraph in found]


def _paragraph(mark: str, text: str) -> str:
    return f"```text\n{text.strip()}\n```" if mark else _words(" ".join(text.split()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", ", ")  # which would end the cell


def _words(text: str) -> str:
    """`text` with what is typed set as code, and nothing of it taken for markup."""
    typed = r"(?<![\w`-])(--?[a-z][a-z-]*|[A-Z]+(?:_[A-Z]+)+|~/[\w./]*\w)(?![\w-])"
    return re.sub(typed, r"`\1`", re.sub(r"([<>*\[\]])", r"\\\1", text))
