"""docs/how-to/add-an-endpoint.md, carried out: its files in a copy of the house, and the tests there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-an-endpoint.md"
STEP = re.compile(
    r"^\*\*`([^`\n]+)`\*\*\n\n(?:<!-- skip: next -->\n\n)?```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL
)
"""A file's name, and below it what the file holds or how it changes."""


def changed(text: str, diff: str) -> str:
    """`text` after the hunks of `diff`; what they take for granted must be there, and once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def test_an_endpoint_is_added_as_the_page_says(tmp_path: Path) -> None:
    for folder in ("dashscope_ft_async", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    steps = STEP.findall(PAGE.read_text(encoding="utf-8"))
    for name, kind, text in steps:
        file = tmp_path / name
        assert file.exists() is (kind == "diff"), name
        file.write_text(changed(file.read_text("utf-8"), text) if kind == "diff" else text, "utf-8")

    tests = [f"tests/test_{name}.py" for name in ("queue", "architecture", "public_api", "wire_fixtures")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout
    assert len(steps) == 12
