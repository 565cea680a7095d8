"""The files of a report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dashscope_ft_async.cli.report.files import replace


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_private_report_stays_private_when_it_is_written_again(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_bytes(b"old")
    report.chmod(0o600)

    replace(report, b"new")

    assert (report.read_bytes(), report.stat().st_mode & 0o777) == (b"new", 0o600)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_symbolic_link_is_kept_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "report.html", tmp_path / "report.html"
    link.symlink_to(target)

    replace(link, b"first")
    replace(link, b"second")

    assert link.is_symlink()
    assert target.read_bytes() == b"second"
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["data", "report.html", "report.html"]
