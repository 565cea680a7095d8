"""The public names have docstrings, and `import` loads neither the command nor the simulator."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import dashscope_ft_async
import dashscope_ft_async.testing

MODULES = (dashscope_ft_async, dashscope_ft_async.testing)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_lists_the_public_names(module: ModuleType) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    # The order of the linter: constants, then classes, then the others.
    assert list(module.__all__) == sorted(
        set(module.__all__), key=lambda name: (not name.isupper(), not name[:1].isupper(), name)
    )
    assert set(module.__all__) - {"__version__"} == public


def documented() -> dict[str, object]:
    """All public classes and their public methods."""
    classes = {
        name: getattr(module, name)
        for module in MODULES
        for name in module.__all__
        if inspect.isclass(getattr(module, name))
    }
    methods = {
        f"{name}.{attribute}": member
        for name, value in classes.items()
        for attribute, member in inspect.getmembers(value, inspect.isfunction)
        if not attribute.startswith("_") and member.__module__.startswith("dashscope_ft_async")
    }
    return {**classes, **methods}


def test_every_public_class_and_method_has_a_docstring() -> None:
    assert [name for name, value in documented().items() if not inspect.getdoc(value)] == []


def test_importing_the_library_loads_neither_the_command_nor_the_simulator() -> None:
    code = (
        "import sys, dashscope_ft_async;"
        "unwanted = {'click', 'rich', 'dashscope_ft_async.testing', 'dashscope_ft_async.cli'};"
        "print(unwanted & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )

    assert ran.stdout.strip() == "set()"
