"""Conventions that hold for the whole tree."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = ("darkmatter.api", "darkmatter.sources", "darkmatter.stats", "darkmatter.testing")
"""What plugins may import of the core; docs/plugins.md lists what is in each."""
SOURCES = sorted([*(ROOT / "harness").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


def test_layers_point_one_way():
    """The core imports no plugin: plugins import the harness, never the reverse."""
    core = [path for path in SOURCES if "harness" in path.relative_to(ROOT).parts]
    core = [path for path in core if path.name != "doctor.py"]  # asks only whether they are installed
    wrong = [str(p) for p in core if any(name.startswith("darkmatter_plugins") for name in imported(p))]

    assert wrong == []


def imported_from_core(path: Path) -> set[str]:
    """The modules of the core that a file imports, and what it takes from the package ``darkmatter``."""
    names = {name for name in imported(path) if name == "darkmatter" or name.startswith("darkmatter.")}
    names.discard("darkmatter")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "darkmatter":
            names.update(f"darkmatter.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            # Whoever has the package itself has its private modules as attributes.
            names.update(alias.name for alias in node.names if alias.name == "darkmatter")
    return names


def reexported(module: str) -> dict[str, str]:
    """The public names of a module, ``import X as X``, and where each comes from."""
    path = Path(importlib.import_module(module).__file__)
    return {
        alias.name: node.module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


PLUGIN_FILES = [path for path in SOURCES if "darkmatter_plugins" in path.parts]
PLUGIN_FILES += sorted((ROOT / "tests" / "example_plugin" / "src").rglob("*.py"))


def test_plugins_import_only_what_is_public():
    """Whatever a built-in or the example can do, a third party's plugin can do."""
    used = {path: imported_from_core(path) for path in PLUGIN_FILES}

    assert {str(path): names - set(PUBLIC) for path, names in used.items() if names - set(PUBLIC)} == {}
    assert {"darkmatter.api", "darkmatter.sources", "darkmatter.stats"} <= set().union(*used.values())


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_documented(module):
    """Public classes and functions have docstrings of their own; constants stand in docs/plugins.md."""
    public = importlib.import_module(module)
    silent = []
    for name in reexported(module):
        found = getattr(public, name)
        doc = vars(found).get("__doc__") if inspect.isclass(found) else found.__doc__
        # A dataclass without a docstring is given its signature.
        is_code = inspect.isclass(found) or inspect.isfunction(inspect.unwrap(found))
        if is_code and (not doc or doc.startswith(f"{name}(")):
            silent.append(name)

    assert reexported(module)
    assert silent == []


def test_the_api_promises_stability():
    """Its docstring names every public module and says how long a name stays."""
    doc = importlib.import_module("darkmatter.api").__doc__

    assert [name for name in PUBLIC[1:] if f"``{name}``" not in doc] == []
    assert "stable" in doc
    assert "API_VERSION" in doc


def test_no_public_name_has_two_homes():
    """Each public name is exported by one public module, so there is one way to import it."""
    names = [name for module in PUBLIC for name in reexported(module)]

    assert sorted(names) == sorted(set(names))


def test_the_lazy_names_of_the_api_are_those_a_type_checker_sees():
    """What needs torch stands in the api twice, for type checkers and for use: both say the same."""
    api = importlib.import_module("darkmatter.api")
    seen = {name: home for name, home in reexported("darkmatter.api").items() if name not in vars(api)}

    assert seen == api._WITH_TORCH


@pytest.mark.parametrize("module", ["darkmatter.api", "darkmatter.sources", "darkmatter.testing"])
def test_public_modules_are_light(module):
    """Importing them loads neither torch nor a model or table library."""
    heavy = ("torch", "pandas", "transformers", "scipy")
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_nothing_unpickles_or_loads_through_torch():
    """Strangers' files are read by our own restricted reader; torch.load and pickle.load never are."""
    banned = {"torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler"}
    calls = [
        f"{path.name}: {ast.unparse(node.func)}"
        for path in (p for p in SOURCES if "testing" not in p.parts)  # pickles what it made itself
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in banned
    ]

    assert calls == []


def test_every_test_says_what_it_protects():
    """Each test function has a docstring."""
    silent = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            if is_test and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}::{node.name}")

    assert silent == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_stay_small(path):
    """One idea per file: none has more than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
