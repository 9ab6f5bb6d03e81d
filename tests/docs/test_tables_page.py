"""What docs/tables.md tells a reader to type exists."""

import re
import shlex
from pathlib import Path

import click

from darkmatter.cli.main import cli
from darkmatter.plugins import host
from darkmatter.results.pivot import TRAITS, axes_of

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")


def commands():
    """Every command line of the page, split into words."""
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        yield from (shlex.split(line.partition(" >")[0]) for line in block.splitlines())


def test_commands_options_and_traits_exist():
    """Every command parses, and every pivot on the page has axes."""
    seen = set()
    for words in commands():
        command = cli.get_command(click.Context(cli), words[1])
        context = command.make_context(words[1], words[2:], resilient_parsing=False)
        seen.add(words[1])
        if context.params.get("pivot"):
            axes_of(context.params["pivot"])

    assert seen == {"table", "compare", "plot"}
    assert [trait for trait in TRAITS if f"`{trait}`" not in PAGE] == []


def test_every_option_of_the_table_is_explained():
    """An option that is added to the command is added to the page."""
    command = cli.get_command(click.Context(cli), "table")
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}

    assert [option for option in options if option not in PAGE] == []


def test_the_figure_exists():
    """The page names a figure that is installed."""
    assert "pareto" in host().figures()
