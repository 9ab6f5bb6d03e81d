"""Markdown that reads well in a terminal: pipe tables, then the notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from darkmatter import api

_SPECIAL = re.compile(r"[\\`*~<>&]|(?<![^\W_])_|_(?![^\W_])|(?<=\])[(\[]|^#(?=#*$)")
_LINE_START = re.compile(
    r"^(?=[+=-]+(?:\s|$)|\[[^\]]*\]:|\[[ x]\](?:\s|$))|^[0-9]{1,9}(?=[.)](?:\s|$))", re.IGNORECASE
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LIVE = re.compile(
    r"@.|#[0-9]|://|(?<![a-z0-9])(?:gh-[0-9]|www\.|(?:mailto|xmpp):)|:[a-z0-9_+-]+:|\$", re.IGNORECASE
)
"""Mentions and mail addresses, issues, links, emoji, formulas: GitHub looks for most of them in what it has
already rendered, where no backslash and no entity is left. It leaves code alone."""


def escape(text: str) -> str:
    """Text from a file that stays text on GitHub: no markup, HTML, list, link, mention or formula."""
    words = re.split(r"(\s+)", api.printable(text).strip())
    inline = "".join(_code(word) if _LIVE.search(word) else _plain(word) for word in words)
    return _LINE_START.sub(r"\g<0>\\", inline)


def _plain(word: str) -> str:
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), word)


def _code(word: str) -> str:
    """A code span; its fence is longer than any run of backticks inside."""
    fence = "`" * (1 + max(map(len, re.findall("`+", word)), default=0))
    room = " " if "`" in (word[0], word[-1]) else ""
    return f"{fence}{room}{word}{room}{fence}"


def escape_cell(text: str) -> str:
    """The same inside a table, where a pipe would begin another cell."""
    return escape(text).replace("|", "\\|")


def render(table: api.Table) -> str:
    """The whole table as Markdown."""
    parts = [f"# {escape(table.title)}"]
    for section in table.sections:
        parts.extend(_section(section))
    if not table.sections:
        parts.append("There are no results.")
    parts.extend(_list("Not measured", table.missing))
    parts.extend(_list("Files that were not used", table.problems))
    if table.footnotes:
        notes = [f"[{number}] {escape(note)}" for number, note in enumerate(table.footnotes, 1)]
        parts.append("**Notes**\n\n" + "  \n".join(notes))
    if table.sections:
        parts.extend(_list("How to read it", table.how_to_read))
        parts.extend(_list("What the columns mean", [f"{name}: {text}" for name, text in table.meanings]))
    return "\n\n".join(parts) + "\n"


def _section(section: api.Section) -> Iterator[str]:
    yield f"## {escape(section.title)}"
    if section.data:
        yield f"Measured on: {escape(section.data)}."
    if section.warnings:
        yield f"Not comparable with the table above ({escape('; '.join(section.warnings))})."
    for block in section.blocks:
        yield f"**{escape(block.title)}**"
        yield _block(block)


def _block(block: api.Block) -> str:
    headers = [block.heading, *(escape_cell(column.title) for column in block.columns)]
    body = [
        [
            escape_cell(row.name) + (" (control)" if row.is_control else ""),
            *(_cell(cell) for cell in row.cells),
        ]
        for row in block.rows
    ]
    aligned = ["left", *("left" if column.words else "right" for column in block.columns)]
    return tabulate(body, headers, tablefmt="pipe", colalign=aligned, disable_numparse=True)


def _cell(cell: api.Cell) -> str:
    text = escape_cell(cell.text)
    if cell.mark == "best":
        text = f"**{text}**"
    elif cell.mark == "tie":
        text = f"{text} ="
    return text + "".join(f" [{note}]" for note in cell.notes)


def _list(title: str, lines: Sequence[str]) -> list[str]:
    """A titled list, or nothing."""
    return [f"**{title}**\n\n" + "\n".join(f"- {escape(line)}" for line in lines)] if lines else []
