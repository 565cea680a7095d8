"""What a user can reach: names, docstrings, and what an import brings along."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import dashscope_ft_async
import dashscope_ft_async.testing


@pytest.mark.parametrize(
    "module", [dashscope_ft_async, dashscope_ft_async.testing], ids=lambda m: m.__name__
)
def test_all_is_sorted_and_exactly_the_public_names(module: ModuleType) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) - {"__version__"} == public


def documented() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for module in (dashscope_ft_async, dashscope_ft_async.testing):
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.isclass(value):
                continue
            found.append((name, value))
            for attribute, member in inspect.getmembers(value, inspect.isfunction):
                if not attribute.startswith("_") and member.__module__.startswith("dashscope_ft_async"):
                    found.append((f"{name}.{attribute}", member))
    return found


@pytest.mark.parametrize(
    ("name", "value"), documented(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_class_and_method_has_a_docstring(name: str, value: object) -> None:
    assert inspect.getdoc(value), name


@pytest.mark.parametrize(
    ("name", "value"), documented(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_whoever_takes_a_time_says_its_unit(name: str, value: object) -> None:
    if not callable(value) or "timeout" not in inspect.signature(value).parameters:
        return
    text = inspect.getdoc(value) or ""
    assert "second" in text.lower() or "wait_for_terminal" in text or "as_completed" in text, name


def test_importing_the_library_brings_neither_command_nor_simulator() -> None:
    code = (
        "import sys, dashscope_ft_async as d;"
        "print(sorted({'click', 'rich', 'dashscope_ft_async.testing', 'dashscope_ft_async.cli',"
        " 'aiohttp.web'} & set(sys.modules) - {'aiohttp.web'}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )

    assert ran.stdout.strip() == "[]"
