"""The table and the page of a leaderboard: pure functions of its rows and cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from darkmatter.leaderboard.board import Board, BoardRow
from darkmatter.leaderboard.card import ModelCard
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.history import Base, is_as_before
from darkmatter.leaderboard.layout import BUILT, README, SITE
from darkmatter.plugins import PluginHost
from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.render import render_table
from darkmatter.results.table import Block, Cell, Column, Section, Table, TableRow

TITLE = "darkmatter leaderboard"

_HOW = (
    "An SAE is called OWNER/NAME; the model cards at the end say where it is.",
    "darkmatter leaderboard build writes this page, from rows that darkmatter leaderboard check passes.",
)
_CARD_FIELDS = ("licence", "reference", "weights", "description", "suite")
"""What the tables do not say already."""


def pages(board: Board, host: PluginHost) -> dict[str, bytes]:
    """The bytes of each, by path relative to the leaderboard; of rows without findings alone."""
    table = _table(board, host)
    return {
        path: render_table(table, reporter).encode() for path, reporter in ((README, "md"), (SITE, "html"))
    }


def stale(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Which of the pages are not in the folder as they should be."""
    return [path for path, data in files.items() if not _is(folder / path, data)]


def page_findings(board: Board, host: PluginHost, base: Base | None) -> Iterator[Finding]:
    """Pages that are there and are neither what ``build`` writes nor what they were.

    Those that the base has too need not follow each submission: whoever builds next brings them up to date.
    """
    there = [path for path in BUILT if path in board.files]
    for path in BUILT:
        if base is not None and path in base.blobs and path not in there:
            fix = f"`darkmatter leaderboard build {board.folder}` writes it."
            yield Finding(path, f"was removed since {base.commit[:12]}", fix)
    if there and (behind := set(stale(board.folder, pages(board, host)))):
        for path in there:
            if path in behind and not (base is not None and is_as_before(board, base, path)):
                reason = "is not what `build` writes from the rows and cards that are there"
                fix = f"`darkmatter leaderboard build {board.folder}` writes it; nobody edits it."
                yield Finding(path, reason, fix)


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == data


def _table(board: Board, host: PluginHost) -> Table:
    """All rows, under their owners' names, and then the cards."""
    table = build_table(ResultSet([_named(row) for row in board.rows]), evaluators=host.evaluators())
    cards = sorted(board.cards.values(), key=lambda card: natural_key(f"{card.owner}/{card.sae}"))
    sections = (*table.sections, _card_section(cards)) if cards else table.sections
    return replace(table, title=TITLE, sections=sections, how_to_read=(*_HOW, *table.how_to_read))


def _named(row: BoardRow) -> StoredResult:
    """A row under the name by which the leaderboard shows it: two owners may have SAEs of one name."""
    if row.owner is None:
        return row.stored
    sae = row.result.sae
    named = sae.model_copy(update={"name": f"{row.owner}/{sae.name}"})
    return replace(row.stored, result=row.result.model_copy(update={"sae": named}))


def _card_section(cards: Sequence[ModelCard]) -> Section:
    """Who made what, and where it is."""
    fields = [name for name in _CARD_FIELDS if any(getattr(card, name) for card in cards)]
    columns = tuple(Column("model cards", name, name) for name in fields)
    rows = tuple(
        TableRow(
            f"{card.owner}/{card.sae}",
            is_control=False,
            cells=tuple(Cell(getattr(card, name)) for name in fields),
        )
        for card in cards
    )
    return Section("Model cards", "", (Block("Who made it, and where it is", columns, rows),))
