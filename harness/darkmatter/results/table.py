"""A table as pure data: what reporters render. ``darkmatter.results.build`` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from darkmatter.results.schema import Result

UNDEFINED = "\N{EN DASH}"
"""What stands in the place of a value that does not exist."""

Mark = Literal["", "best", "tie"]


@dataclass(frozen=True)
class Cell:
    """One value as text, how it compares, and the numbers of its footnotes."""

    text: str = ""
    mark: Mark = ""
    notes: tuple[int, ...] = ()
    value: float | None = None
    """The number behind the text, for what sorts; None where there is none."""


@dataclass(frozen=True)
class Column:
    """One metric of one evaluator (with its version and configuration)."""

    evaluator: str
    metric: str
    title: str
    """What stands above the column: name, unit, and an arrow in the better direction."""
    words: bool = False
    """Whether the cells are words, which stand left, and no numbers."""


@dataclass(frozen=True)
class TableRow:
    """One SAE (in a comparison, one metric)."""

    name: str
    is_control: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Columns that stand side by side, narrow enough for a terminal."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    heading: str = "SAE"
    """What stands above the names of the rows."""


@dataclass(frozen=True)
class Section:
    """Results that may be compared: one hook point, one set of activations, one analysis."""

    title: str
    data: str
    """What the numbers were measured on."""
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...] = ()
    """Why this section is not comparable with the first one."""
    results: tuple[tuple[str, Result], ...] = ()
    """The results behind the rows, by the names of the rows; nothing in a comparison."""


@dataclass(frozen=True)
class Table:
    """Everything that a reporter may show.

    Attributes:
        title: what this is.
        sections: the tables.
        how_to_read: what brackets, bold and signs mean.
        meanings: (column, one line of meaning) for every column.
        footnotes: reasons behind numbered cells, in order.
        missing: what failed or was skipped, with the reason.
        problems: files that were not trusted, with the reason.
        rows: the same content as tidy rows (see ``darkmatter.results.rows.ROW_COLUMNS``).
    """

    title: str
    sections: tuple[Section, ...]
    how_to_read: tuple[str, ...] = ()
    meanings: tuple[tuple[str, str], ...] = ()
    footnotes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
