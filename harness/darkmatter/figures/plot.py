"""Draw every figure that a folder of results has the numbers for, and say why the others are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from darkmatter.figures.grouping import groups
from darkmatter.figures.measured import Drawing, FigureResults, NothingToDraw
from darkmatter.figures.saving import add_caption, look, to_bytes
from darkmatter.files.atomic import slug

if TYPE_CHECKING:
    from darkmatter.descriptors import Figure
    from darkmatter.results.collection import ResultSet


@dataclass
class Outcome:
    """What became of one figure: its pictures, by the names of their files, and what went wrong."""

    name: str
    pictures: dict[str, str] = field(default_factory=dict)
    """File name without suffix -> the words below the picture."""
    reasons: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Why something is missing, each reason once; empty where nothing is."""
        return "; ".join(dict.fromkeys(self.reasons))


Save = Callable[[str, bytes], None]
"""Takes the name and the content of a file."""


def plot(
    results: ResultSet, figures: Mapping[str, Figure], formats: Sequence[str], save: Save
) -> Iterator[Outcome]:
    """Draw figures one after another, give every file to ``save``, and tell of each figure."""
    for name, figure in figures.items():
        outcome = Outcome(name)
        with look():
            for stem, drawing in _drawings(name, results, figure, outcome):
                for format_name in formats:
                    save(f"{stem}.{format_name}", to_bytes(drawing, format_name))
        yield outcome


def _drawings(
    name: str, results: ResultSet, figure: Figure, outcome: Outcome
) -> Iterator[tuple[str, Drawing]]:
    """All pictures of one figure with their captions, under the names of their files."""
    try:
        for group in groups(results, figure):
            for drawing in _drawn(figure, group, outcome):
                stem = _free(slug("-".join(filter(None, (name, group.hook, drawing.part)))), outcome.pictures)
                options = f"Options: {group.options}" if group.options else ""
                where = f" at {group.hook}" if group.hook else ""
                outcome.pictures[stem] = add_caption(drawing, options, f"Measured{where}: {group.data}")
                yield stem, drawing
    except NothingToDraw as nothing:
        outcome.reasons.append(str(nothing))


def _drawn(figure: Figure, group: FigureResults, outcome: Outcome) -> list[Drawing]:
    """The pictures of one group; what a plugin or a forged file breaks is this picture alone."""
    try:
        return list(figure.resolve()(group))
    except NothingToDraw as nothing:
        outcome.reasons.append(str(nothing))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, a file may hold anything
        outcome.reasons.append(f"could not be drawn: {type(error).__name__}: {error}")
    return []


def _free(stem: str, taken: Mapping[str, str]) -> str:
    """The name, numbered where the same was measured on other data or with other options."""
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
