"""``closed_forms.md`` names a test for every check, and the tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
FILES = {
    path.stem.removeprefix("test_"): path
    for folder in ("darkmatter", "darkmatter_plugins", "darkmatter_plugins/evaluators")
    for path in (TESTS / folder).glob("test_*.py")
}
SIZES = {"A": 12, "B": 1, "C": 3, "D": 5, "E": 2, "F": 5, "G": 7}


def rows() -> dict[str, list[tuple[str, str]]]:
    """By check, the file and name of each of its tests."""
    page = (TESTS / "closed_forms.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([A-G]\d+) \|(.*)$", page, re.MULTILINE)
    return {check: re.findall(r"`(\w+)::(\w+)`", rest) for check, rest in found}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_check_has_a_test_of_its_name():
    """A1 to G7 in order, each with at least one test, which carries the check's letter and number."""
    table = rows()

    assert list(table) == [f"{letter}{i + 1}" for letter, size in SIZES.items() for i in range(size)]
    for check, tests in table.items():
        assert tests, check
        assert [name for _, name in tests if not name.startswith(f"test_{check.lower()}_")] == [], check


def test_every_named_test_exists():
    """The page points at no test that was renamed or removed."""
    named = {(file, name) for tests in rows().values() for file, name in tests}

    assert {(file, name) for file, name in named if name not in functions(FILES[file])} == set()
