"""The page about language models as simulators knows their options."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from darkmatter.cli.main import main
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


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the folder that the page names; whose files a plan only looks at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return tmp_path


def test_the_commands_can_be_run(here, capsys):
    """Each command of the page is accepted as it stands, up to where the model would be loaded."""
    blocks = re.findall(r"^```(\w*)\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line) for line in lines]
    runs = [command for command in commands if command[:2] == ["darkmatter", "run"]]
    assert runs
    assert [command[0] for command in commands if command not in runs] == ["pip"]
    for command in runs:
        assert main(["plan", *command[2:]]) == 0, capsys.readouterr().err
        assert re.search("autointerp +make", capsys.readouterr().out)


def test_the_suite_can_be_run(here, capsys):
    """The part of a suite that the page shows is accepted in one."""
    (shown,) = re.findall(r"```yaml\n(.*?)\n```", PAGE, re.DOTALL)
    rest = {"model": "demo:model", "text": "demo:stories", "saes": {"topk": "demo:topk-w1024-k16"}}
    (here / "suite.yaml").write_text(yaml.safe_dump(rest) + shown)
    assert main(["plan", "suite.yaml"]) == 0, capsys.readouterr().err
    assert re.search("autointerp +make", capsys.readouterr().out)
