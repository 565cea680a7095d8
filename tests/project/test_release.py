"""`.ci/release-check` accepts a release only if tag, version and changelog agree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def checked(tmp_path: Path, changelog: str, *arguments: str) -> tuple[int, str]:
    """Run the check on version 1.2.0 with this changelog; returns exit code and output."""
    for folder in (".ci", "dashscope_ft_async/_api"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "release-check", tmp_path / ".ci")
    (tmp_path / "dashscope_ft_async/_api/version.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(tmp_path / ".ci" / "release-check"), *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


READY = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-03-01\n\n### Added\n\n- A thing.\n"


def test_a_release_is_accepted_if_all_agree(tmp_path: Path) -> None:
    assert checked(tmp_path, READY, "v1.2.0") == (0, "1.2.0 may be released.\n")


@pytest.mark.parametrize(
    ("tag", "changelog", "message"),
    [
        ("v1.3.0", READY, "the tag is v1.3.0, and the version 1.2.0 asks for v1.2.0."),
        ("1.2.0", READY, "the tag is 1.2.0, and the version 1.2.0 asks for v1.2.0."),
        ("v1.2.0", READY.replace("1.2.0", "1.1.0"), "no section [1.2.0]"),
        ("v1.2.0", READY.replace(" - 2026-03-01", ""), "needs its date"),
        ("v1.2.0", READY.replace("2026-03-01", "1 March 2026"), "needs its date"),
        ("v1.2.0", READY.replace("2026-03-01", "20260301"), "needs its date"),
        ("v1.2.0", READY.replace("- A thing.\n", ""), "says nothing"),
        ("v1.2.0", READY.replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- Late.\n"), "move them"),
    ],
)
def test_a_release_is_refused_if_something_disagrees(
    tmp_path: Path, tag: str, changelog: str, message: str
) -> None:
    code, text = checked(tmp_path, changelog, tag)

    assert code == 1
    assert message in text


def test_the_check_without_a_tag_prints_its_usage(tmp_path: Path) -> None:
    assert checked(tmp_path, READY) == (1, "usage: .ci/release-check TAG\n")
