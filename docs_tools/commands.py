"""Generates the reference of the commands from the click commands."""

from __future__ import annotations

import re
from inspect import cleandoc

import click

from dashscope_ft_async.cli.commands import dashscope_ft

_NAME = "dashscope-ft"
_NO_WRAP = "\b"
"""click does not wrap a paragraph that begins with this character."""


def part() -> str:
    """Return a section for `dashscope-ft` and one for each subcommand, sorted by name."""
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
    options = [f"| `{_cell(names)}` | {_escaped(_cell(text))} |" for names, text in records]
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
    return [_paragraph(*paragraph.rpartition(_NO_WRAP)[1:]) for paragraph in found]


def _paragraph(mark: str, text: str) -> str:
    return f"```text\n{text.strip()}\n```" if mark else _escaped(" ".join(text.split()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", ", ")  # a pipe would end the cell


def _escaped(text: str) -> str:
    """Escape Markdown in `text`, and set options, variables and paths as code."""
    typed = r"(?<![\w`-])(--?[a-z][a-z-]*|[A-Z]+(?:_[A-Z]+)+|~/[\w./]*\w)(?![\w-])"
    return re.sub(typed, r"`\1`", re.sub(r"([<>*\[\]])", r"\\\1", text))
