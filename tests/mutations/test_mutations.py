"""Every seeded bug is caught by a test: tests that cannot fail would protect nothing."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

FIFTEEN = (
    "sign", "train rows", "missing intercept", "wrong norm power", "mean over dims for pooled",
    "un-clamped pursuit", "shifted tokens in CE", "patched position off by one", "KL direction",
    "source misaligned by one token", "Adam-style bad fit", "0 for undefined", "probe from all rows",
    "control not shuffled", "L0 not matched",
)  # fmt: skip


def script():
    """``mutations.py`` beside this file, which is no package."""
    name = "darkmatter_mutations"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "mutations.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


mutations = script()
BY_NAME = {each.name: each for each in mutations.MUTATIONS}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The sources, where they may be broken."""
    return mutations.Copy(tmp_path_factory.mktemp("copy"))


def test_the_fifteen_bugs_are_all_there():
    """The list that was agreed on, and each name once."""
    assert tuple(BY_NAME)[:15] == FIFTEEN
    assert len(BY_NAME) == len(mutations.MUTATIONS)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_bug_fits_the_code_as_it_is(name):
    """Its old text stands once in its file, and what it becomes is Python: else the code moved."""
    ast.parse(mutations.mutated(BY_NAME[name]))


def test_a_bug_whose_place_has_moved_is_an_error(tmp_path):
    """A mutation that no longer applies must not pass for one that is caught."""
    (tmp_path / "file.py").write_text("twice = 1\ntwice = 1\n")
    for old, count in (("twice", 2), ("never", 0)):
        moved = mutations.Mutation("moved", "file.py", old, "new", ())
        with pytest.raises(mutations.MutationError, match=f"stands {count} times.*update the mutation"):
            mutations.mutated(moved, tmp_path)


@pytest.mark.slow
def test_the_untouched_copy_passes_them_all(copy):
    """What fails below fails because of the bug alone."""
    outcome = copy.run(sorted({test for each in BY_NAME.values() for test in each.tests}))

    assert outcome.failed is None, outcome.message
    assert outcome.passed >= 15


@pytest.mark.slow
def test_an_error_on_the_way_is_no_catch(copy):
    """Code that cannot be run fails every test, and says nothing of what they check."""
    sign = BY_NAME["sign"]
    for new in ("return missing_name", "return ("):
        broken = mutations.Mutation("broken", sign.file, sign.old, new, sign.tests)
        with copy.seeded(broken), pytest.raises(mutations.MutationError):
            copy.run(broken.tests)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_every_bug_is_caught(copy, name):
    """With the bug in the copy, a test fails by an assertion."""
    with copy.seeded(BY_NAME[name]):
        outcome = copy.run(BY_NAME[name].tests)

    assert outcome.failed is not None, f"{name!r} survives {BY_NAME[name].tests}"
