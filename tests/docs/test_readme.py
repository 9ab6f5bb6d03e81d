"""README.md says what is true."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from darkmatter.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


@pytest.mark.slow
def test_demo_output_in_the_readme_is_what_the_demo_prints(demo):
    """The demo runs from an empty cache and its numbers are those of README.md to 1%."""
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "docs" / "make_readme.py")
    make_readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_readme)
    printed = make_readme.excerpt(demo[0])
    shown = README.partition(make_readme.START)[2].partition(make_readme.END)[0]

    assert [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")] == [
        line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")
    ]
    assert numbers(printed) == pytest.approx(numbers(shown), rel=1e-2, abs=1e-3)


def test_every_command_in_the_readme_exists():
    """Commands and options that README.md shows are there."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    blocks = "\n".join(content for language, content in fenced if not language)
    commands = set(re.findall(r"^darkmatter (\w+)", blocks, flags=re.MULTILINE))
    options = set(re.findall(r"(--[a-z][a-z-]+)", README))
    known = set()
    for name in cli.lazy:
        command = cli.get_command(None, name)
        for each in (command, *getattr(command, "commands", {}).values()):
            known.update(option for parameter in each.params for option in parameter.opts)

    assert {"inspect", "run"} <= commands
    assert commands <= set(cli.lazy)
    assert options - known <= {"--index-url", "--extra-index-url"}
