"""What the pages tell a reader to type exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from darkmatter.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/ci.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page, language):
    """The contents of a page's code blocks in one language; shell blocks name none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [content for name, content in BLOCK.findall(text) if name == language]


def commands(page):
    """Every command line in the shell blocks of a page, split into words, comments left out."""
    for line in (line for block in blocks(page, "") for line in block.splitlines()):
        for part in re.split(r"&&|\|", line.partition("#")[0]):
            words = shlex.split(part.partition(" >")[0])
            if words:
                yield words


ALL = [(page, words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), ALL, ids=lambda value: " ".join(value)[:60])
def test_commands_and_options_exist(page, words):
    """A page never names a subcommand, an option or a make target that does not exist."""
    if words[0] == "darkmatter":
        context = click.Context(cli)
        command = cli.get_command(context, words[1])
        assert command is not None
        if isinstance(command, click.Group):
            command = command.commands[words[2]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words[2:] if word.startswith("--")} <= known
    elif words[0] == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    else:
        assert words[0] in {".", "git", "cd", "python", "python3", "pip"}


def test_python_blocks_parse():
    """The Python examples of the README are Python."""
    examples = blocks("README.md", "python")
    assert examples
    for block in examples:
        compile(block, "README.md", "exec")


def test_links_to_files_exist():
    """Relative links of the pages point to files of the repository."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_readme_is_short_and_shows_a_command_first():
    """The README has at most 200 lines besides its blocks, and the first block holds the two commands."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(BLOCK.sub("", text).splitlines()) <= 200
    first = blocks("README.md", "")[0]
    assert [line.split()[:2] for line in first.splitlines()] == [["make", "demo"], ["make", "test"]]
    assert text.index("```") < 400
