"""What is published: a wheel with the package and nothing else, a source distribution with everything."""

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
from email.message import Message
from pathlib import Path

import pytest

from dashscope_ft_async import __version__
from tests.support.paths import ROOT

NAME = f"dashscope_ft_async-{__version__}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LITTER = (
    ".env",
    ".venv/pyvenv.cfg",
    ".venv-airflow/pyvenv.cfg",
    ".mypy_cache/CACHEDIR.TAG",
    ".coverage",
    "dist/old.whl",
    "dashscope_ft_async/__pycache__/models.cpython-311.pyc",
    "tests/.pytest_cache/README.md",
    "tests/__pycache__/test_hub.cpython-311.pyc",
    "notes.txt",
    "site/index.html",
)
"""What lies about in a checkout that people work in."""
KEPT = {
    ".ci", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md",
    "README.zh.md", "bench", "dashscope_ft_async", "docs", "docs_parts",
    "mkdocs.yml", "pyproject.toml", "tests", "typings",
}  # fmt: skip
"""What the source distribution keeps of the top folder, where it is there."""


def built(tree: Path, into: Path) -> tuple[Path, Path]:
    """The wheel and the source distribution of `tree`, built without the network."""
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
    """A copy of the sources, with litter in it."""
    copy = tmp_path_factory.mktemp("checkout") / "tree"
    skipped = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "dist", "site"
    )
    shutil.copytree(ROOT, copy, ignore=skipped)
    for name in LITTER:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("not for others")
    return copy


@pytest.fixture(scope="module")
def dist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return built(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(dist: tuple[Path, Path]) -> dict[str, bytes]:
    """What each file of the wheel holds."""
    with zipfile.ZipFile(dist[0]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def unpacked(dist: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, as its reader has it."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(dist[1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return message_from_bytes(wheel[f"{NAME}.dist-info/METADATA"])


# --- the wheel ----------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_and_nothing_else(wheel: dict[str, bytes], tree: Path) -> None:
    package = {
        f"dashscope_ft_async/{name}"
        for name in files_below(tree / "dashscope_ft_async")
        if not name.startswith("__pycache__/")
    }
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}

    assert set(wheel) == package | {f"{NAME}.dist-info/{name}" for name in about}
    assert "dashscope_ft_async/py.typed" in package


def test_what_the_wheel_says_of_itself(metadata: Message, wheel: dict[str, bytes]) -> None:
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert wheel[f"{NAME}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert "Root-Is-Purelib: true" in wheel[f"{NAME}.dist-info/WHEEL"].decode()


def test_what_an_installer_makes_of_the_wheel(wheel: dict[str, bytes]) -> None:
    found = ConfigParser()
    found.read_string(wheel[f"{NAME}.dist-info/entry_points.txt"].decode())

    assert {name: dict(found[name]) for name in found.sections()} == {
        "console_scripts": PROJECT["scripts"],
        **PROJECT["entry-points"],
    }


# --- the source distribution --------------------------------------------------------------------------


def test_the_source_distribution_holds_the_tree_and_nothing_of_whoever_built_it(
    tree: Path, unpacked: Path
) -> None:
    expected = {name for name in files_below(tree) - set(LITTER) if name.split("/")[0] in KEPT}

    assert files_below(unpacked) - {"PKG-INFO"} == expected
    assert {name.split("/")[0] for name in expected} >= KEPT - {"README.zh.md", "docs_parts", "mkdocs.yml"}
    assert "tests/fixtures/raw/502-nginx.html" in expected


def test_no_key_stands_in_what_is_published(unpacked: Path) -> None:
    # The service's keys are 32 hexadecimal digits; the made-up ones of tests and benchmarks count up.
    key = re.compile(rb"sk-(?!0123456789)[0-9a-f]{32}")

    found = {name for name in files_below(unpacked) if key.search((unpacked / name).read_bytes())}

    assert found == set()


def test_the_wheel_of_the_source_distribution_is_that_of_the_tree(
    dist: tuple[Path, Path], unpacked: Path, tmp_path: Path
) -> None:
    again, _ = built(unpacked, tmp_path)

    assert again.read_bytes() == dist[0].read_bytes()


# --- its page on a package index ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(wheel: dict[str, bytes]) -> str:
    return wheel[f"{NAME}.dist-info/METADATA"].decode().partition("\n\n")[2]


def test_the_page_on_a_package_index_has_no_link_that_leads_nowhere(page: str, metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert page.startswith("# dashscope-ft-async\n\nFine-tuning jobs")
    assert re.findall(r"\]\((?!https?:)[^)]*\)", page) == []
    assert "![" not in page


def test_the_page_on_a_package_index_has_the_readmes_examples_and_installs_by_name(page: str) -> None:
    blocks = re.compile(r"```\w+\n.*?```", re.DOTALL)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    by_name = readme.replace("'.[cli]'", "'dashscope-ft-async[cli]'")
    outside = re.sub(r"^.*'\.\[dev]'.*\n", "", by_name, flags=re.MULTILINE)  # there are no tests to run

    shown = blocks.findall(page)

    assert shown == [block for block in blocks.findall(outside) if block != "```bash\n```"]
    assert "test" not in page.partition("## Wait for one job")[0]
    assert "checkout" not in page
    assert "pip install -q 'dashscope-ft-async[cli]'" in shown[0]
