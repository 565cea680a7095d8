"""The docs say what the code says: parts made from it, defaults, shell examples, the map of pages.

That the built site is whole is tried by `.ci/docs`, which needs what the suite does without.
"""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import click
import pytest

from dashscope_ft_async import FineTuneClient, PollPolicy, RetryPolicy, WatchState, policy
from dashscope_ft_async._api import session
from dashscope_ft_async._engine import list_planner as roster
from dashscope_ft_async._engine import scheduler as hubs
from dashscope_ft_async.cli.commands import dashscope_ft
from dashscope_ft_async.client import core
from docs_parts import DOCS, PARTS, with_part
from tests.project.test_architecture import DOORS, FLOORS

ROOT = DOCS.parent
TEXTS = sorted([*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- the map ------------------------------------------------------------------------------------------


def test_the_map_of_the_site_has_every_page_once() -> None:
    written = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    _, _, nav = re.sub(r"#.*", "", written).partition("\nnav:\n")
    mapped = re.findall(r"[\w/-]+\.md", nav)

    assert sorted(mapped) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


# --- what is made from the code -----------------------------------------------------------------------


@pytest.mark.parametrize(("page", "part"), PARTS, ids=lambda name: str(name))
def test_a_part_is_as_the_code_makes_it(page: str, part: str) -> None:
    written = (DOCS / page).read_text(encoding="utf-8")

    assert written == with_part(written, part, PARTS[page, part]()), "run: python -m docs_parts"


def test_the_picture_of_the_house_is_of_this_house() -> None:
    drawn = ET.parse(DOCS / "assets" / "floors.svg").iter("{http://www.w3.org/2000/svg}text")
    texts = [(element.get("style") or "", element.text or "") for element in drawn]
    rows = "\n".join(text for style, text in texts if "monospace" in style or text.isdigit())
    floors = [set(row.split()) for row in re.split(r"\b\d+\n", rows)[1:]]

    assert floors == list(FLOORS), "run: python -m docs_parts.picture"
    assert DOORS.keys() == set(
        re.findall(r"\w+", " ".join(text for style, text in texts if "italic" in style))
    )


# --- shell examples -----------------------------------------------------------------------------------


def commands_of(text: str) -> list[list[str]]:
    """The words of each ``dashscope-ft`` in the shell examples of a page, and where it stands in a line."""
    blocks = re.findall(r"```(?:bash|console|powershell)\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    spans = re.findall(r"(?<![`#] )(?<!`)`(dashscope-ft [^`\n]+)`(?!`)", text)
    return [words for line in [*lines, *spans] for words in commands_in(line)]


def commands_in(line: str) -> list[list[str]]:
    """The words after each ``dashscope-ft`` of a line, up to what the shell does with its output."""
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
    """What click says against a command line, without running it."""
    try:
        group = click.Context(dashscope_ft, info_name="dashscope-ft", **dashscope_ft.context_settings)
        if not words or words[0].startswith("-"):
            dashscope_ft.parse_args(group, list(words))
            return None
        name, command, rest = dashscope_ft.resolve_command(group, words)
        assert command is not None
        command.make_context(name, rest, parent=group).close()
    except click.exceptions.Exit:  # --version and --help have done all they do
        return None
    except click.UsageError as error:
        return f"dashscope-ft {shlex.join(words)}: {error.format_message()}"
    return None


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_every_command_line_of_the_page_can_be_typed(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [refusal(words) for words in commands_of(page.read_text(encoding="utf-8"))]

    assert [words for words in refused if words] == []


def test_a_command_line_that_cannot_be_typed_is_found() -> None:
    text = """
    ```bash
    FOO=1 .venv/bin/dashscope-ft wait "$JOB" > events.jsonl && dashscope-ft nope | jq .
    dashscope-ft get ft-1 --nope
    ```
    and `dashscope-ft wait --timeout soon ft-1` too
    """

    found = commands_of(text)

    assert found[0] == ["wait", "$JOB"]
    assert [bool(refusal(words)) for words in found] == [False, True, True, True]


# --- names and defaults in tables ---------------------------------------------------------------------


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its head apart."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n{heading}\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def default(function: object, name: str) -> object:
    assert callable(function)
    return inspect.signature(function).parameters[name].default


DEFAULTS: dict[str, object] = {
    **{f"`PollPolicy.{field.name}`": field.default for field in attrs.fields(PollPolicy)},
    **{f"`RetryPolicy.{field.name}`": field.default for field in attrs.fields(RetryPolicy)},
    "`wait_for_terminal(timeout=)`": default(FineTuneClient.wait_for_terminal, "timeout"),
    "`FineTuneClient(timeout=)`": default(FineTuneClient, "timeout"),
    "`FineTuneClient(coalesce=)`": default(FineTuneClient, "coalesce"),
    "`FineTuneClient(max_rate=)`": default(FineTuneClient, "max_rate"),
    "longest Retry-After a wait keeps to": policy.RETRY_AFTER_CEILING,
    "longest Retry-After a single call sits out": policy.SINGLE_CALL_PATIENCE,
    "time to connect": vars(session)["_CONNECT_TIMEOUT"],
    "silence before a connection is given up": vars(session)["_SILENCE_TIMEOUT"],
    "idle connections are kept for": vars(session)["_KEEP_ALIVE"],
    "jobs that make a page worth asking for": roster.WORTH,
    "every job is asked for by itself at least every": hubs.OWN_LOOK,
    "requests of waits under way at once": vars(core)["_WIDTH"],
}
EXPLAINED = [
    (row[0], row[1])
    for heading in ("## The pace of a wait", "## Patience", "## One request", "## Many waits")
    for row in rows_of("explanation/defaults.md", heading)
]


@pytest.mark.parametrize(("what", "told"), EXPLAINED)
def test_a_default_that_is_explained_is_the_default(what: str, told: str) -> None:
    assert told.removesuffix(" s") == str(DEFAULTS[what])


def test_every_default_of_the_policies_is_explained() -> None:
    assert DEFAULTS.keys() - dict(EXPLAINED).keys() == {"`RetryPolicy.wait`"}  # it says so by its words


@pytest.mark.parametrize("kind", [PollPolicy, RetryPolicy])
def test_the_reference_has_every_field_of_a_policy_with_its_default(kind: type) -> None:
    rows = rows_of("reference/api.md", f"## `{kind.__name__}`")
    told = {row[0].strip("`"): row[1] for row in rows}

    assert told == {
        field.name: "exponential, full jitter" if field.default is None else str(field.default)
        for field in attrs.fields(kind)
    }


def test_the_reference_has_every_field_of_a_state() -> None:
    named = [name for row in rows_of("reference/api.md", "## `WatchState`") for name in ticked(row[0])]

    assert named == [field.name for field in attrs.fields(WatchState)]


def ticked(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


def test_the_reference_has_every_parameter_of_the_client() -> None:
    rows = rows_of("reference/api.md", "## `FineTuneClient(api_key=None, *, …)`")
    named = [name for row in rows for name in ticked(row[0])]

    assert sorted(named) == sorted(inspect.signature(FineTuneClient).parameters)


def test_the_reference_has_every_method() -> None:
    calls = " ".join(row[0] for row in rows_of("reference/api.md", "## Methods"))
    named = {*re.findall(r"(\w+)\(", calls), *ticked(calls)}
    public = {name for name in dir(FineTuneClient) if not name.startswith("_")}

    assert named == public - {"closed"}  # which stands beside `close`


@pytest.mark.parametrize("call", [row[0] for row in rows_of("reference/api.md", "## Methods")])
def test_the_reference_gives_a_method_its_own_parameters(call: str) -> None:
    for name, given in re.findall(r"(\w+)\((.*?)\)`", call):
        real = inspect.signature(getattr(FineTuneClient, name)).parameters
        for part in filter(None, given.replace("…", "").split(",")):
            parameter, _, told = part.strip().partition("=")
            assert not parameter or parameter in real
            assert not told or told == str(real[parameter].default)
