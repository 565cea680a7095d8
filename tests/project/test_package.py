"""What is published: the wheel holds the package only, the source distribution holds the whole tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path

import pytest

from dashscope_ft_async import __version__
from tests.support.paths import ROOT

NAME = f"dashscope_ft_async-{__version__}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNWANTED = (
    ".env", ".venv/pyvenv.cfg", ".venv-airflow/pyvenv.cfg", ".mypy_cache/CACHEDIR.TAG", ".coverage",
    "dist/old.whl", "dashscope_ft_async/__pycache__/models.cpython-311.pyc",
    "tests/.pytest_cache/README.md", "notes.txt", "site/index.html",
)  # fmt: skip
"""Files that a developer's checkout may hold and that must not be published."""
WANTED = {
    ".ci", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md",
    "README.zh.md", "bench", "dashscope_ft_async", "docs", "docs_tools", "mkdocs.yml", "pyproject.toml",
    "tests", "typings",
}  # fmt: skip
"""Entries of the top folder that belong to the source distribution."""


def build(tree: Path, into: Path) -> tuple[Path, Path]:
    """Build wheel and source distribution of `tree` without network."""
    ran = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into)],
        cwd=tree, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return into / f"{NAME}-py3-none-any.whl", into / f"{NAME}.tar.gz"


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with the unwanted files added."""
    copy = tmp_path_factory.mktemp("checkout") / "tree"
    skipped = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "dist", "site"
    )
    shutil.copytree(ROOT, copy, ignore=skipped)
    for name in UNWANTED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("not for others")
    return copy


@pytest.fixture(scope="module")
def dist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(dist: tuple[Path, Path]) -> dict[str, bytes]:
    """File name to content."""
    with zipfile.ZipFile(dist[0]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def unpacked(dist: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(dist[1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


def test_the_wheel_holds_the_package_and_nothing_else(wheel: dict[str, bytes], tree: Path) -> None:
    package = {
        f"dashscope_ft_async/{name}"
        for name in files_below(tree / "dashscope_ft_async")
        if not name.startswith("__pycache__/")
    }
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}

    assert set(wheel) == package | {f"{NAME}.dist-info/{name}" for name in about}
    assert "dashscope_ft_async/py.typed" in package


def test_the_metadata_and_entry_points_of_the_wheel(wheel: dict[str, bytes]) -> None:
    metadata = message_from_bytes(wheel[f"{NAME}.dist-info/METADATA"])
    entry_points = ConfigParser()
    entry_points.read_string(wheel[f"{NAME}.dist-info/entry_points.txt"].decode())

    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], __version__)
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert "Root-Is-Purelib: true" in wheel[f"{NAME}.dist-info/WHEEL"].decode()
    assert {name: dict(entry_points[name]) for name in entry_points.sections()} == {
        "console_scripts": PROJECT["scripts"],
        **PROJECT["entry-points"],
    }


def test_the_page_on_a_package_index_is_the_readme_without_broken_images(wheel: dict[str, bytes]) -> None:
    headers, _, body = wheel[f"{NAME}.dist-info/METADATA"].decode().partition("\n\n")

    assert "Description-Content-Type: text/markdown" in headers
    assert body == (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[.*?\]\((?!https:)", body) == []


def test_the_source_distribution_holds_the_tree_without_unwanted_files(tree: Path, unpacked: Path) -> None:
    expected = {name for name in files_below(tree) - set(UNWANTED) if name.split("/")[0] in WANTED}

    assert files_below(unpacked) - {"PKG-INFO"} == expected
    assert {name.split("/")[0] for name in expected} == WANTED
    assert "tests/fixtures/raw/502-nginx.html" in expected


def test_no_api_key_is_published(unpacked: Path) -> None:
    # Keys of the service have 32 hexadecimal digits. The invented ones of this project count up.
    key = re.compile(rb"sk-(?!0123456789)[0-9a-f]{32}")

    assert {name for name in files_below(unpacked) if key.search((unpacked / name).read_bytes())} == set()


def test_the_source_distribution_builds_the_same_wheel(
    dist: tuple[Path, Path], unpacked: Path, tmp_path: Path
) -> None:
    again, _ = build(unpacked, tmp_path)

    assert again.read_bytes() == dist[0].read_bytes()
