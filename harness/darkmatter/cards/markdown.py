"""Cards as Markdown that reads well in a terminal: what comes from files stands in code blocks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from darkmatter.cards.parts import Bars, Card, Columns, Facts, Fragments, Missing, Part
from darkmatter.printable import printable

WIDTH = 100
"""Characters of a line of prose in a code block, which nobody wraps."""

BAR = 24
"""Characters of the longest bar."""

FIRES = 0.05
"""Tokens below this share of the largest activation are not marked."""


def render(cards: Sequence[Card]) -> str:
    """All cards, one after another."""
    return "\n".join(_card(card) for card in cards)


def _card(card: Card) -> str:
    blocks = [f"# Latent {card.latent}", _fenced(_head(card))]
    for section in card.sections:
        blocks.append(f"## {_inline(section.title)}")
        if section.note:
            blocks.append(section.note + (_LEGEND if isinstance(section.part, Fragments) else ""))
        blocks.append(_fenced(_lines(section.part)))
    return "\n\n".join(blocks) + "\n"


def _head(card: Card) -> list[str]:
    on = textwrap.wrap(f"Measured on {card.measured_on}", WIDTH) if card.measured_on else []
    return [card.title, card.subtitle, *on]


_LEGEND = " A number behind «a token» is its activation in tenths of the largest."


def _inline(text: str) -> str:
    """A title that holds an evaluator's name: letters, digits and what no markup is made of."""
    return "".join(char if char.isalnum() or char in " ,.-" else "\\" + char for char in printable(text))


def _fenced(lines: Sequence[str]) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    clean = [printable(line).rstrip() for line in lines]
    longest = run = 0
    for char in "\n".join(clean):
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *clean, fence])


def _lines(part: Part) -> list[str]:
    if isinstance(part, Missing):
        return [f"not measured: {part.reason}"]
    if isinstance(part, Facts):
        return _aligned([[name, value] for name, value in part.rows])
    if isinstance(part, Columns):
        return _aligned([list(part.headings), *map(list, part.rows)])
    if isinstance(part, Bars):
        most = max(count for _, count, _ in part.rows) or 1
        bars = [[label, str(count), "█" * -(-count * BAR // most), text] for label, count, text in part.rows]
        return _aligned([[part.heading[0], "rows", "", part.heading[1]], *bars])
    return _aligned([[label, " ".join(map(_marked, tokens))] for label, tokens in part.rows])


def _marked(token: tuple[str, float]) -> str:
    text, share = token
    return f"«{text}»{round(10 * share)}" if share >= FIRES else text


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]
