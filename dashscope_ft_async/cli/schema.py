"""The command that prints the schema of the JSON lines."""

from __future__ import annotations

from importlib.resources import files

import click


def schema_text() -> str:
    """The JSON Schema (2020-12) of every line that a command writes."""
    return (files("dashscope_ft_async.cli") / "events.schema.json").read_text(encoding="utf-8")


@click.command(
    short_help="Print the JSON Schema of the JSON lines.",
    epilog="Exit codes: 0 the schema was printed, 2 usage.",
)
def schema() -> None:
    """Print the JSON Schema (2020-12) of the lines that commands write into a pipe or with --json.

    Each line says by which version it is written. Under one version names are only added, so a reader that
    ignores what it does not know goes on working.
    """
    click.echo(schema_text(), nl=False)
