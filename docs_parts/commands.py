"""The commands, as click knows them."""

from __future__ import annotations

import re

import click

from dashscope_ft_async.cli.commands import dashscope_ft

_NAME = "dashscope-ft"


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
        *(_words(text) for text in _paragraphs(command.help)),
        "\n".join(["| option | meaning |", "| --- | --- |", *options]),
        *(_words(text) for text in _paragraphs(command.epilog)),
    ]
    return "\n\n".join(paragraphs)


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n") if paragraph.strip()]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", ", ")  # which would end the cell


def _words(text: str) -> str:
    """`text` with what is typed set as code, and nothing of it taken for markup."""
    typed = r"(?<![\w`-])(--?[a-z][a-z-]*|[A-Z]+(?:_[A-Z]+)+|~/[\w./]*\w)(?![\w-])"
    return re.sub(typed, r"`\1`", re.sub(r"([<>*\[\]])", r"\\\1", text))
