"""What a card is made of: sections with facts, tables, bars and pieces of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Names and what there is to say of each."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Bars:
    """A histogram: label, height and text of every bar."""

    heading: tuple[str, str]
    rows: Sequence[tuple[str, int, str]]


@dataclass(frozen=True)
class Columns:
    """A small table of texts."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Fragments:
    """Pieces of text: a label, and tokens with their activation as a share of the latent's largest."""

    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to show."""

    reason: str


Part = Facts | Bars | Columns | Fragments | Missing


@dataclass(frozen=True)
class CardSection:
    """One thing to know of a latent, with a sentence on how to read it."""

    title: str
    part: Part
    note: str = ""


@dataclass(frozen=True)
class Card:
    """All there is to say of one latent."""

    sae: str
    latent: int
    subtitle: str
    sections: Sequence[CardSection]
    measured_on: str = ""

    @property
    def title(self) -> str:
        """What the card is about."""
        return f"{self.sae}, latent {self.latent}"
