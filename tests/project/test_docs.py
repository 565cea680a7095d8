"""README and docs agree with the code: examples run, links resolve, commands parse, tables are complete.

`.ci/docs` checks the built site.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import dashscope_ft_async
from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy, WatchState
from dashscope_ft_async.cli.commands import dashscope_ft
from dashscope_ft_async.testing import Simulator
from docs_tools import DOCS, PARTS, with_part
from tests.support.paths import ROOT

PAGES = sorted(
    [*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
)
TRANSLATIONS = {ROOT / "README.zh.md": ROOT / "README.md"} | {
    page: DOCS / page.relative_to(DOCS / "zh") for page in sorted((DOCS / "zh").rglob("*.md"))
}
"""Chinese page to English page. Both have the same Python examples, which run once."""
SYBIL = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], path=str(ROOT))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(page: Path | str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)

# --- examples -----------------------------------------------------------------------------------------


@pytest.fixture
def real_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator in another thread, where the examples find the real service."""
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


@pytest.mark.parametrize("page", [page for page in PAGES if page not in TRANSLATIONS], ids=name_of)
@pytest.mark.usefixtures("real_service")
def test_every_example_of_the_page_runs(page: Path) -> None:
    document = SYBIL.parse(page)
    document.namespace["__name__"] = "example"  # aiohttp.web.AppKey looks for the module that creates it

    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize(("chinese", "english"), TRANSLATIONS.items(), ids=name_of)
def test_a_chinese_page_has_the_examples_of_the_english_page(chinese: Path, english: Path) -> None:
    blocks = re.compile(r"^```python\n.*?^```$", re.DOTALL | re.MULTILINE)

    assert blocks.findall(read(chinese)) == blocks.findall(read(english))


def test_the_pytest_examples_pass_as_a_users_test_file(tmp_path: Path) -> None:
    page = read("how-to/test-your-code.md")
    blocks = re.findall(r"<!-- skip: next -->\n\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "test_user.py").write_text("\n".join(blocks), encoding="utf-8")
    conftest = re.findall(r"<!-- conftest.py -->\n\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "conftest.py").write_text("\n".join(conftest), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
    )  # fmt: skip

    assert "3 passed" in ran.stdout, ran.stdout


@pytest.mark.usefixtures("real_service")
async def test_the_notebook_cells_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    page = read("how-to/build-a-pipeline.md")
    cells = re.findall(r"<!-- skip: next -->\n\n```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}

    for cell in cells:
        ran = eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.iscoroutine(ran):
            await ran

    assert capsys.readouterr().out == "SUCCEEDED\n0:00:00\n"
    assert len(cells) == 3


def test_the_readme_has_the_command_that_ci_runs() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest"

    assert command in read(ROOT / "README.md").splitlines()


# --- links and the map of pages -----------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors of the headings, as code hosts and the site both name them."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@every_page
def test_every_relative_link_and_its_anchor_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page))
    targets = [((page.parent / to if to else page), anchor) for to, anchor in links]

    assert [to for to, _ in targets if not to.exists()] == []
    assert [(to, anchor) for to, anchor in targets if anchor and anchor not in anchors_of(to)] == []


def test_the_navigation_of_the_site_has_every_page_once() -> None:
    _, _, nav = re.sub(r"#.*", "", read(ROOT / "mkdocs.yml")).partition("\nnav:\n")

    assert sorted(re.findall(r"[\w/-]+\.md", nav)) == sorted(
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
    )


# --- generated parts, shell examples and tables -------------------------------------------------------


@pytest.mark.parametrize(("page", "part"), PARTS, ids=lambda name: str(name))
def test_a_generated_part_is_up_to_date(page: str, part: str) -> None:
    assert read(page) == with_part(read(page), part, PARTS[page, part]()), "run: python -m docs_tools"


def commands_of(text: str) -> list[list[str]]:
    """The arguments of each ``dashscope-ft`` in shell examples and in inline code."""
    blocks = re.findall(r"```(?:bash|console|powershell)\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    spans = re.findall(r"(?<![`#] )(?<!`)`(dashscope-ft [^`\n]+)`(?!`)", text)
    return [words for line in [*lines, *spans] for words in commands_in(line)]


def commands_in(line: str) -> list[list[str]]:
    """The words after each ``dashscope-ft`` of a line, up to the next shell operator."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found: list[list[str]] = []
    in_command = False
    for word in lexer:
        if re.fullmatch(r"[|&;<>()]+", word):
            in_command = False
        elif re.split(r"[/\\]", word)[-1] == "dashscope-ft":
            found.append([])
            in_command = True
        elif in_command:
            found[-1].append(word)
    return found


def refusal(words: list[str]) -> str | None:
    """The usage error of a command line, which is parsed but not run."""
    try:
        group = click.Context(dashscope_ft, info_name="dashscope-ft", **dashscope_ft.context_settings)
        if not words or words[0].startswith("-"):
            dashscope_ft.parse_args(group, list(words))
            return None
        name, command, rest = dashscope_ft.resolve_command(group, words)
        assert command is not None
        command.make_context(name, rest, parent=group).close()
    except click.exceptions.Exit:  # --version and --help
        return None
    except click.UsageError as error:
        return f"dashscope-ft {shlex.join(words)}: {error.format_message()}"
    return None


@every_page
@pytest.mark.usefixtures("capsys")
def test_every_command_line_of_the_page_parses(page: Path) -> None:
    if page.name != "CHANGELOG.md":  # it may name commands that were renamed since
        assert [text for words in commands_of(read(page)) if (text := refusal(words))] == []


def test_a_command_line_with_an_unknown_option_is_found() -> None:
    found = commands_of(
        "```bash\nFOO=1 bin/dashscope-ft wait $JOB > a && dashscope-ft get ft-1 --nope\n```"
    )

    assert found == [["wait", "$JOB"], ["get", "ft-1", "--nope"]]
    assert [bool(refusal(words)) for words in found] == [False, True]


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without the head."""
    section = read(page).partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def in_code(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


@pytest.mark.parametrize("kind", [PollPolicy, RetryPolicy])
def test_the_reference_has_every_field_of_a_policy_with_its_default(kind: type) -> None:
    rows = rows_of("reference/api.md", f"## `{kind.__name__}`")

    assert {row[0].strip("`"): row[1] for row in rows} == {
        field.name: "exponential, full jitter" if field.default is None else str(field.default)
        for field in attrs.fields(kind)
    }


@pytest.mark.parametrize("kind", [PollPolicy, RetryPolicy])
def test_a_default_that_is_explained_is_the_default(kind: type) -> None:
    rows = [
        row
        for part in ("The pace of a wait", "Patience")
        for row in rows_of("explanation/defaults.md", f"## {part}")
    ]
    explained = {row[0].strip("`"): row[1].removesuffix(" s") for row in rows}

    assert {
        f"{kind.__name__}.{field.name}": str(field.default)
        for field in attrs.fields(kind)
        if field.name != "wait"
    }.items() <= explained.items()


def test_the_reference_has_every_field_of_a_saved_wait() -> None:
    named = [name for row in rows_of("reference/api.md", "## `WatchState`") for name in in_code(row[0])]

    assert named == [field.name for field in attrs.fields(WatchState)]


def test_the_reference_has_every_parameter_and_method_of_the_client() -> None:
    parameters = rows_of("reference/api.md", "## `FineTuneClient(api_key=None, *, …)`")
    methods = " ".join(row[0] for row in rows_of("reference/api.md", "## Methods"))
    public = {name for name in dir(FineTuneClient) if not name.startswith("_")}

    assert sorted(name for row in parameters for name in in_code(row[0])) == sorted(
        inspect.signature(FineTuneClient).parameters
    )
    assert {*re.findall(r"(\w+)\(", methods), *in_code(methods)} == public


@pytest.mark.parametrize("call", [row[0] for row in rows_of("reference/api.md", "## Methods")])
def test_the_reference_gives_a_method_its_own_parameters(call: str) -> None:
    for name, arguments in re.findall(r"(\w+)\((.*?)\)`", call):
        real = inspect.signature(getattr(FineTuneClient, name)).parameters
        for part in filter(None, arguments.replace("…", "").split(",")):
            parameter, _, default = part.strip().partition("=")
            assert not parameter or parameter in real
            assert not default or default == str(real[parameter].default)


def test_the_reference_names_every_error_and_no_other() -> None:
    first_cells = [
        line.split("|")[1] for line in read("reference/errors.md").splitlines() if line.startswith("| `")
    ]

    assert set(in_code(" ".join(first_cells))) == {
        name for name in dashscope_ft_async.__all__ if name.endswith("Error")
    }
