"""``darkmatter leaderboard check``: every rule, over one folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from darkmatter.errors import DarkmatterError, UsageError
from darkmatter.leaderboard.agreement import agreement_findings
from darkmatter.leaderboard.board import Board, BoardRow, read_board
from darkmatter.leaderboard.card import MEASURED_ON, measured_on
from darkmatter.leaderboard.cells import shared_findings
from darkmatter.leaderboard.findings import AGAIN, Finding
from darkmatter.leaderboard.history import Base, history_findings, read_base
from darkmatter.leaderboard.layout import CARD, CONTROLS, check_owner, folder_of, owner_of
from darkmatter.leaderboard.pages import page_findings
from darkmatter.leaderboard.public import why_private
from darkmatter.leaderboard.row_rules import row_findings
from darkmatter.leaderboard.sums import sums_findings
from darkmatter.plugins import PluginHost
from darkmatter.references import parse_reference
from darkmatter.results.schema import Result
from darkmatter.runs.controls import baseline_item

_ADDRESS = re.compile(r"https://[\w.-]+(/[\w./@%+~=&?-]*)?", re.ASCII)


def check(
    folder: Path, host: PluginHost, base: str | None = None, author: str | None = None
) -> tuple[Board, list[Finding]]:
    """The leaderboard and all that is wrong with it, by file; changes only against a ``base``."""
    board = read_board(folder)
    before = None if base is None else read_base(folder, base)
    findings = {*board.findings, *rules(board, host, () if before is None else before.blobs)}
    if not findings:  # what follows from faulty rows is not drawn
        findings |= {*page_findings(board, host, before)}
    if before is not None:
        findings |= {*history_findings(board, before, author), *_outdated(board, before, host)}
        findings |= set(_other_controls(board, before, host))
    return board, sorted(findings)


def rules(board: Board, host: PluginHost, old: Container[str] = ()) -> Iterator[Finding]:
    """What is wrong with the rows and cards that could be read."""
    evaluators = host.evaluators()
    for row in board.rows:
        yield from row_findings(row, host)
        yield from sums_findings(row, evaluators)
    yield from together(board.rows, host, old)
    yield from _cards(board)
    yield from _without_card(board)


def together(rows: Sequence[BoardRow], host: PluginHost, old: Container[str]) -> Iterator[Finding]:
    """What is wrong with rows beside each other.

    Where they contradict each other, controls, which are nobody's, say what is meant, then those in ``old``
    files: who was there first is not accused of what others bring.
    """
    ranked = sorted(rows, key=lambda row: (row.owner is not None, row.file not in old))
    yield from shared_findings(ranked, host.evaluators())
    yield from agreement_findings(ranked, host.evaluators())


def _cards(board: Board) -> Iterator[Finding]:
    """A card speaks of the SAE in its folder, and of what its rows were measured on."""
    rows: dict[str, list[Result]] = defaultdict(list)
    for row in board.rows:
        rows[row.file.partition("/")[0]].append(row.result)
    for folder, card in board.cards.items():
        file = f"{folder}/{CARD}"
        if card.owner != owner_of(folder) or folder != folder_of(card.owner, card.sae):
            yield Finding(file, f"speaks of {card.sae!r} of {card.owner!r}", "Correct `owner` and `sae`.")
        for name in card.missing:
            yield Finding(file, f"its field {name!r} is empty", f"Fill in `{name}:`.")
        weights = card.weights.strip()
        if weights and not _ADDRESS.fullmatch(weights) and why_private(weights) is not None:
            reason = f"its weights are at {weights!r}, which nobody can follow"
            yield Finding(file, reason, "Name a public reference such as hf:ORG/REPO, or an https address.")
        if not rows[folder]:
            yield Finding(file, "is a card without any row", "Submit the rows with it, or remove it.")
            continue
        for name in MEASURED_ON:
            known = sorted({measured_on(result)[name] for result in rows[folder]})
            if getattr(card, name) not in known:
                reason = (
                    f"its {name} is {getattr(card, name)!r}, that of its rows {' or '.join(map(repr, known))}"
                )
                yield Finding(file, reason, f"Correct `{name}:`; a comment belongs in `description:`.")


def _without_card(board: Board) -> Iterator[Finding]:
    """Every SAE has an owner, and a card with its reference."""
    lacking = {}
    for row in board.rows:
        folder = row.file.partition("/")[0]
        if folder == CONTROLS:
            continue
        try:
            if check_owner(row.owner or "") != row.owner:
                reason = f"its owner is written {row.owner!r}; on a leaderboard, in lower case"
                yield Finding(row.file, reason, "Submit it with `darkmatter leaderboard submit`.")
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


def _other_controls(board: Board, base: Base, host: PluginHost) -> Iterator[Finding]:
    """New controls that are not what their reference makes of their activations.

    Old ones may be of older versions of a baseline, which no row records.
    """
    for row in board.rows:
        sae = row.result.sae
        if row.file in base.blobs or not sae.is_control or not sae.reference.startswith("baseline:"):
            continue
        if sae.fingerprint != _recipe(row.result, host):
            reason = f"is not what {sae.reference!r} makes of its activations (its fingerprint is another)"
            yield Finding(row.file, reason, AGAIN)


def _recipe(result: Result, host: PluginHost) -> str | None:
    """The fingerprint of a control that follows from its reference and its activations."""
    try:
        reference = parse_reference(result.sae.reference)
        item = baseline_item(host, reference.target, result.sae.name, reference.fields)
    except DarkmatterError:
        return None
    rows = {name: result.analysis.get(name) for name in ("split", "skip_first", "skip_last", "seed")}
    return item.recipe(result.cache.get("key"), (result.sae.hook, result.sae.hook_out), rows)
