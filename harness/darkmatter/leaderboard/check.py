"""``darkmatter leaderboard check``: every rule, over one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from darkmatter.errors import UsageError
from darkmatter.leaderboard.board import Board, read_board
from darkmatter.leaderboard.cells import shared_findings
from darkmatter.leaderboard.findings import AGAIN, Finding
from darkmatter.leaderboard.history import Base, history_findings, read_base
from darkmatter.leaderboard.layout import CARD, CONTROLS, check_owner, folder_of
from darkmatter.leaderboard.pages import page_findings
from darkmatter.leaderboard.row_rules import row_findings
from darkmatter.leaderboard.sums import sums_findings
from darkmatter.plugins import PluginHost


def check(
    folder: Path, host: PluginHost, base: str | None = None, author: str | None = None
) -> tuple[Board, list[Finding]]:
    """The leaderboard and all that is wrong with it, by file; changes only against a ``base``."""
    board = read_board(folder)
    before = None if base is None else read_base(folder, base)
    findings = {*board.findings, *rules(board, host)}
    if not findings:  # what follows from faulty rows is not drawn
        findings |= {*page_findings(board, host, before)}
    if before is not None:
        findings |= {*history_findings(board, before, author), *_outdated(board, before, host)}
    return board, sorted(findings)


def rules(board: Board, host: PluginHost) -> Iterator[Finding]:
    """What is wrong with the rows and cards that could be read."""
    for row in board.rows:
        yield from row_findings(row, host)
        yield from sums_findings(row)
    yield from shared_findings(board.rows, host.evaluators())
    yield from _cards(board)


def _cards(board: Board) -> Iterator[Finding]:
    """Every SAE has a card that speaks of it."""
    for folder, card in board.cards.items():
        file = f"{folder}/{CARD}"
        if folder != folder_of(card.owner, card.sae):
            yield Finding(file, f"speaks of {card.sae!r} of {card.owner!r}", "Correct `owner` and `sae`.")
        for name in card.missing:
            yield Finding(file, f"its field {name!r} is empty", f"Fill in `{name}:`.")
    lacking = {}
    for row in board.rows:
        folder = row.file.partition("/")[0]
        if folder == CONTROLS:
            continue
        try:
            check_owner(row.owner or "")
        except UsageError as error:
            yield Finding(row.file, str(error), "Name the folder OWNER__SAE.")
        card_file = f"{folder}/{CARD}"
        if row.result.sae.members:
            continue
        if folder not in board.cards:
            if card_file not in board.files:
                lacking[folder] = Finding(card_file, "is missing", "Write it as docs/leaderboard.md shows.")
        elif board.cards[folder].reference != row.result.sae.reference:
            reason = f"its reference is {row.result.sae.reference!r}, its model card's another"
            yield Finding(row.file, reason, f"State the same reference in {card_file}.")
    yield from lacking.values()


def _outdated(board: Board, base: Base, host: PluginHost) -> Iterator[Finding]:
    """Old rows may be of older versions of an evaluator; a new one may not."""
    installed = host.evaluators()
    for row in board.rows:
        record = row.result.evaluator
        descriptor = installed.get(record.name)
        if row.file not in base.blobs and descriptor is not None and record.version < descriptor.version:
            reason = (
                f"is new, but of version {record.version} of {record.name}, which is at {descriptor.version}"
            )
            yield Finding(row.file, reason, AGAIN)
