"""The picture in docs/explanation/architecture.md, held: floors, and one door per dependency."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = "dashscope_ft_async"
SOURCES = ROOT / PACKAGE

FLOORS = (
    {"_text", "_version"},
    {"errors"},
    {"models"},
    {"_checks", "hooks"},
    {"_wire", "policy", "_settings", "_tail"},
    {"gate", "_journal", "_roster", "_watch"},
    {"session", "_retrying", "_lister", "_turns"},
    {"hub", "_telling"},
    {"_crowd", "_follow"},
    {"client"},
    {"testing", "otel", "airflow", "_airflow_provider", "temporal"},
    {"cli"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

DOORS = {
    "aiohttp": {"session", "testing"},
    "cattrs": {"_wire"},
    "orjson": {"_wire"},
    "tenacity": {"policy", "_retrying", "_telling"},
    "click": {"cli"},
    "rich": {"cli"},
    "jinja2": {"cli"},
    "vl_convert": {"cli"},
    "airflow": {"airflow"},
    "opentelemetry": {"otel"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
    "temporalio": {"temporal"},
}
PURE = {"models", "hooks", "_text", "_checks", "errors", "_wire", "policy", "gate", "_roster", "_tail"}
CLOCKS_AND_CHANCE = {"asyncio", "time", "random", "socket"}

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Full names of the modules imported when this one is, type-checking apart."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.Import(names=names):
                found.update(name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                found.update(f"{module}.{name.name}" for name in names)
            case _:
                pass
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith(f"{PACKAGE}.")}

    not_below = {
        room
        for room in ours - {room_of(path)}
        if room not in FLOOR_OF or FLOOR_OF[room] >= FLOOR_OF[room_of(path)]
    }

    assert not_below == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_dependency_has_one_door(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports_of(path)}

    wrong_door = {name for name in outside & DOORS.keys() if room_of(path) not in DOORS[name]}

    assert wrong_door == set()


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in PURE], ids=name_of)
def test_a_pure_module_knows_no_clock_no_chance_and_no_network(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports_of(path)}

    assert outside & CLOCKS_AND_CHANCE == set()


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in MODULES} == FLOOR_OF.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
