"""The page about language models as simulators knows their options."""

import re
from pathlib import Path

import pytest

from darkmatter_plugins.simulators import SIMULATORS

PAGE = (Path(__file__).parents[2] / "docs" / "autointerp.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["local", "endpoint"])
def test_every_option_is_in_the_table(name):
    """No option is added, renamed or removed without the page, and defaults that it gives are right."""
    (config,) = [each.config for each in SIMULATORS if each.name == name]
    section = PAGE.partition(f"\n## `{name}`")[2].partition("\n## ")[0]
    rows = [row.split("|")[1:3] for row in section.splitlines() if row.startswith("| `")]
    named = {
        option: given
        for options, defaults in rows
        for option, given in zip(
            re.findall(r"`(\w+)`", options), [*defaults.split(","), *[""] * 9], strict=False
        )
    }

    assert set(named) == set(config.model_fields)
    for option, given in named.items():
        default = config.model_fields[option].default
        if re.fullmatch(r"[`\w. ]+", given) and type(default) in {int, float, str}:
            assert given.strip().strip("`").removesuffix(" s") == str(default)
