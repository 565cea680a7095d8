"""Every example of README and docs runs; links resolve; names in the reference exist."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import dashscope_ft_async
from dashscope_ft_async.testing import Simulator
from tests.support.paths import ROOT

PAGES = sorted(
    [*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
)
SYBIL = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], path=str(ROOT))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def real_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """What the examples for "the real service" meet: a simulator in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    simulator = Simulator(new_jobs=[(0, "RUNNING"), (0.001, "SUCCEEDED")])

    async def start() -> None:
        await simulator.__aenter__()
        simulator.add_job([(0, "SUCCEEDED")], job_id="ft-202410291653-1c7f")

    asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-documented")
    monkeypatch.setenv("DASHSCOPE_BASE_URL", simulator.base_url)
    yield simulator
    asyncio.run_coroutine_threadsafe(simulator.__aexit__(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


# The code of README.zh.md is that of README.md, to the letter.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.zh.md"], ids=name_of)
@pytest.mark.usefixtures("real_service")
def test_every_example_of_the_page_runs(page: Path) -> None:
    document = SYBIL.parse(page)
    document.namespace["__name__"] = "example"  # aiohttp.web.AppKey asks which module makes it

    for example in document.examples():
        example.evaluate()


def test_the_pytest_examples_pass_as_a_users_test_file(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/test-your-code.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- skip: next -->\n\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "test_user.py").write_text("\n".join(blocks), encoding="utf-8")
    conftest = re.findall(r"<!-- conftest.py -->\n\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "conftest.py").write_text("\n".join(conftest), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert "3 passed" in ran.stdout, ran.stdout


@pytest.mark.usefixtures("real_service")
async def test_the_cells_of_the_notebook_run_one_after_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/how-to/build-a-pipeline.md").read_text(encoding="utf-8")
    cells = re.findall(r"<!-- skip: next -->\n\n```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}

    for cell in cells:
        ran = eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.iscoroutine(ran):
            await ran

    assert capsys.readouterr().out == "SUCCEEDED\n0:00:00\n"
    assert len(cells) == 3


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def anchors_of(page: Path) -> set[str]:
    """What a link can point at within a page, as code hosts and the site both name it."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_anchor_is_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))

    lost = [anchor for to, anchor in links if anchor not in anchors_of(page.parent / to if to else page)]

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_the_outside_is_https(page: Path) -> None:
    links = re.findall(r"\]\((\w+:[^)]*)\)", page.read_text(encoding="utf-8"))

    assert [
        link for link in links if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[^\s<>]*)?", link)
    ] == []


def test_the_reference_names_every_error_and_no_other() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    first_cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))

    assert named == {name for name in dashscope_ft_async.__all__ if name.endswith("Error")}


def test_both_set_up_commands_stand_in_the_readme_as_one_line_each() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)

    assert blocks[:2] == [
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/dashscope-ft demo\n",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest\n",
    ]


def test_the_chinese_readme_has_the_same_code_and_only_links_that_the_english_one_has() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    blocks, links = re.compile(r"^```\w+\n.*?^```$", re.DOTALL | re.MULTILINE), re.compile(r"\]\(([^)]+)\)")

    assert blocks.findall(chinese) == blocks.findall(english)
    assert set(links.findall(chinese)) - {"README.md", "docs/index.md"} <= set(links.findall(english))
