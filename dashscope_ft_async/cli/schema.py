"""The command `schema`."""

from __future__ import annotations

from importlib.resources import files

import click


def schema_text() -> str:
    """Return the JSON Schema (2020-12) of all lines that the commands write."""
    return (files("dashscope_ft_async.cli") / "events.schema.json").read_text(encoding="utf-8")


@click.command(
    short_help="Print the JSON Schema of the JSON lines.",
    epilog="Exit codes: 0 the schema was printed, 2 usage.",
)
def schema() -> None:
    """Print the JSON Schema (2020-12) of the JSON lines that the commands write.

    The field schema of each line is the version. While the version stays the same, events and fields are
    only added, so ignore those that you do not know.
    """
    click.echo(schema_text(), nl=False)
