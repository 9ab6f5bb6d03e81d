"""Conventions that hold for the whole tree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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
