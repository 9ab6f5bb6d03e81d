"""The page for plugin authors is complete, and its code is that of the example plugin."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from darkmatter import api, hookspecs, testing

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "tests" / "example_plugin"
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("darkmatter_"))


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_heading_with_its_arguments(name):
    """A hook, or an argument of one, cannot be added without documenting it."""
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"\n### `{name}({arguments})`\n" in PAGE


def test_every_hook_has_an_example():
    """The example plugin implements every hook, and the page shows each implementation."""
    hooks = (EXAMPLE / "src" / "darkmatter_example" / "__init__.py").read_text(encoding="utf-8")
    assert [name for name in HOOKS if f"def {name}(" not in hooks or f"def {name}(" not in PAGE] == []


def test_the_code_on_the_page_is_the_example_plugins():
    """What the page shows is tested, because it stands in the example plugin word for word."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLE.rglob("*.py"))
    sources += (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:python|toml)\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(blocks) > 10
    assert [block for block in blocks if block not in sources] == []


def test_what_the_page_names_exists():
    """Every `api.Name` and every check on the page is there."""
    names = set(re.findall(r"\bapi\.([A-Za-z_]+)", PAGE))
    assert [name for name in sorted(names) if not hasattr(api, name)] == []
    assert [name for name in set(re.findall(r"\bcheck_[a-z]+", PAGE)) if not hasattr(testing, name)] == []


@pytest.mark.parametrize("module", ["api", "sources", "stats", "testing"])
def test_the_tables_list_the_public_surface(module):
    """Every public name stands in its module's table once, and nothing else does."""
    source = Path(importlib.import_module(f"darkmatter.{module}").__file__).read_text(encoding="utf-8")
    public = re.findall(r"^ *from [\w.]+ import (\w+) as \1$", source, re.MULTILINE)
    rows = PAGE.partition(f"| for | `darkmatter.{module}` |\n")[2].partition("\n\n")[0]
    assert public
    listed = [name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[2])]
    assert sorted(listed) == sorted(public)


def test_everything_lazy_in_the_api_can_be_imported():
    """Names that are imported on first use lead somewhere."""
    lazy = api._WITH_TORCH
    assert [name for name in lazy if not hasattr(api, name)] == []
    with pytest.raises(AttributeError, match="nothing_like_it"):
        api.nothing_like_it  # noqa: B018 - the access is what is tested
