"""The imports of the package follow the tables of docs/explanation/architecture.md.

Imports under TYPE_CHECKING and inside functions count like all others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = "dashscope_ft_async"
SOURCES = ROOT / PACKAGE
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")

PURE = (
    "models", "errors", "policy", "hooks", "_api.wire", "_api.gate",
    "_engine.list_planner", "_engine.list_trust", "_engine.log_position", "_engine.sweep",
)  # fmt: skip
"""These modules have no clock, no randomness and no I/O: they are tested by calling them."""
IMPURE = {"asyncio", "random", "socket", "time"}

USES_PUBLIC_NAMES_ONLY = ("testing", "otel", "airflow", "temporal", "cli")
PUBLIC = {"", "errors", "hooks", "models", "policy", "testing"}
"""Modules with public names. The empty name is the package itself."""

LAZY = {("cli", "cli"), ("airflow", "airflow")}
"""Imports inside functions that are allowed: (importing, imported) package. They save import time."""


def table(heading: str) -> list[list[str]]:
    """The cells of each row of the table under `heading`."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([\w.]+)`", cell)


LAYERS = list(reversed([names(row[1]) for row in table("## Layers")]))
"""Lowest layer first. The page shows the highest first."""
DEPENDENCIES = {name: names(row[1]) for row in table("## Dependencies") for name in names(row[0])}


def module_of(path: Path) -> str:
    """Dotted name of a module within the package; empty for the package itself."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(SOURCES.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def within(module: str, places: list[str] | tuple[str, ...]) -> str | None:
    """The longest of `places` that is `module` or a package around it."""
    found = [place for place in places if f"{module}.".startswith(f"{place}.")]
    return max(found, key=len, default=None)


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each imported module, with the name taken from it ('' for `import x`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def own_imports(tree: ast.AST) -> set[str]:
    """The modules of the package that are imported, by their names within it."""
    found: set[str] = set()
    for module, name in imported(tree):
        if module.split(".")[0] == PACKAGE:
            inner = module.removeprefix(PACKAGE).lstrip(".")
            submodule = f"{inner}.{name}".lstrip(".")
            found.add(submodule if submodule in MODULES else inner)
    return found


def third_party(tree: ast.AST, *, at_run_time: bool = False) -> set[str]:
    """The other top-level packages that are imported; with `at_run_time`, not those for annotations."""
    skipped: set[tuple[str, str]] = set()
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(imported(node))
    return {module.split(".")[0] for module, _ in set(imported(tree)) - skipped}


def in_functions(tree: ast.AST) -> ast.Module:
    """The functions of a module."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return ast.Module(list(functions), [])


def place_of(module: str) -> tuple[int, str]:
    """Number of the layer of `module`, and its entry in the table."""
    entry = within(module, [name for layer in LAYERS for name in layer])
    assert entry is not None, f"{module} is in no layer of docs/explanation/architecture.md"
    return next(number for number, layer in enumerate(LAYERS) if entry in layer), entry


def may_import(module: str, other: str) -> bool:
    layer, entry = place_of(module)
    if other == "":  # the package itself, which re-exports the client
        return entry in USES_PUBLIC_NAMES_ONLY
    other_layer, other_entry = place_of(other)
    return other_entry == entry or other_layer < layer


def violations(wrong: Callable[[str, ast.Module], set[str]]) -> dict[str, set[str]]:
    """What `wrong` finds in each module of the package, entry points apart."""
    found = {name: wrong(name, TREES[name]) for name in MODULES if name not in ("", "__main__")}
    return {name: names for name, names in found.items() if names}


def test_the_page_lists_all_modules_and_no_other() -> None:
    listed = [name for layer in LAYERS for name in layer]

    assert len(LAYERS) >= 8
    assert [name for name in listed if name not in MODULES] == []
    assert {name.split(".")[0] for name in listed} == {name.split(".")[0] for name in MODULES} - {
        "",
        "__main__",
    }


def test_a_module_imports_only_from_its_own_package_and_from_lower_layers() -> None:
    def wrong(module: str, tree: ast.Module) -> set[str]:
        return {other for other in own_imports(tree) if not may_import(module, other)}

    assert violations(wrong) == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: own_imports(tree) - {name} for name, tree in TREES.items()}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_functions_do_not_import_modules_of_the_package() -> None:
    def wrong(module: str, tree: ast.Module) -> set[str]:
        lazy = own_imports(in_functions(tree))
        return {other for other in lazy if (module.split(".")[0], other.split(".")[0]) not in LAZY}

    assert violations(wrong) == {}


def test_each_dependency_is_imported_in_its_place_only() -> None:
    def wrong(module: str, tree: ast.Module) -> set[str]:
        used = third_party(tree, at_run_time=True) & DEPENDENCIES.keys()
        return {name for name in used if within(module, DEPENDENCIES[name]) is None}

    assert violations(wrong) == {}


def test_pure_modules_import_no_clock_no_randomness_and_no_network() -> None:
    assert (
        violations(lambda module, tree: third_party(tree) & IMPURE if within(module, PURE) else set()) == {}
    )


def test_commands_and_adapters_import_public_names_only() -> None:
    def wrong(module: str, tree: ast.Module) -> set[str]:
        own = module.split(".")[0]
        if own not in USES_PUBLIC_NAMES_ONLY:
            return set()
        return {other for other in own_imports(tree) if other.split(".")[0] != own} - PUBLIC

    assert violations(wrong) == {}


@pytest.mark.parametrize("path", sorted((ROOT / "docs_tools").glob("*.py")), ids=lambda path: path.name)
def test_the_docs_tools_import_public_names_and_no_tests(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert own_imports(tree) <= PUBLIC | {"cli", "cli.commands"}
    assert "tests" not in third_party(tree)


def test_a_file_has_at_most_400_lines() -> None:
    lengths = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}

    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_the_package_root_has_at_most_12_entries() -> None:
    entries = {path.name for path in SOURCES.iterdir() if path.name != "__pycache__"}

    assert len(entries - {"__init__.py", "__main__.py", "py.typed"}) <= 12
