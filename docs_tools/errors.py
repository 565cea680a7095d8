"""Generates the tree of error classes from the docstring of `dashscope_ft_async.errors`."""

from __future__ import annotations

from dashscope_ft_async import errors


def part() -> str:
    """Return the tree as a code block."""
    lines = (errors.__doc__ or "").splitlines()
    tree = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    return "\n".join(["```text", *tree, "```"])
