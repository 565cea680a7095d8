"""The tree of errors, as their module draws it in its docstring; the suite holds it."""

from __future__ import annotations

from dashscope_ft_async import errors


def part() -> str:
    """The drawing, as it is."""
    lines = (errors.__doc__ or "").splitlines()
    drawn = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    return "\n".join(["```text", *drawn, "```"])
