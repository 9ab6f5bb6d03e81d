"""What docs/tables.md tells a reader to type exists."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from darkmatter.cli.main import cli, main
from darkmatter.plugins import host
from darkmatter.results.pivot import TRAITS, axes_of
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units
from darkmatter_plugins.world.catalogue import SAES

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")


SAMPLES = Path(__file__).parents[1] / "darkmatter" / "results" / "saebench_samples"


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


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folders that the page names, with SAEs that are called as the demo calls them."""
    monkeypatch.chdir(tmp_path)
    known = {sae.name for sae in SAES}
    for folder, worse in (("results", 1.0), ("before", 1.0), ("after", 1.1)):
        with ResultStore.open(tmp_path / folder) as store:
            for name, fvu in (("topk-w512-k16", 0.02), ("topk-w1024-k16", 0.017)):
                assert name in known
                values = {"fvu": fvu * worse, "fvu_nonlinear": fvu, "l0": 16.0, "share.linear": 0.1}
                stored = sample_result(name, units=sample_units(values))
                sae = stored.result.sae.model_copy(update={"l0": 8.0 if "512" in name else 16.0})
                store.write(stored.result.model_copy(update={"sae": sae}), stored.units())
    shutil.copytree(SAMPLES, tmp_path / "eval_results")
    return tmp_path


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_works_as_it_stands(folders, words, capsys):
    """A reader who copies a command on the results of the demo gets what it promises."""
    assert main(words[1:]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


def test_every_option_of_the_table_is_explained():
    """An option that is added to the command is added to the page."""
    command = cli.get_command(click.Context(cli), "table")
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}

    assert [option for option in options if option not in PAGE] == []


def test_the_figure_exists():
    """The page names a figure that is installed."""
    assert "pareto" in host().figures()
