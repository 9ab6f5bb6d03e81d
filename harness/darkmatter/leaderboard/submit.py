"""``darkmatter leaderboard submit``: results of one's own, made ready to publish.

Everything is made and checked in a folder of its own first; the leaderboard is touched only when
nothing is wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.files.atomic import canonical_json, write_bytes, write_json
from darkmatter.leaderboard.board import BoardRow, read_board
from darkmatter.leaderboard.card import ModelCard, measured_on, write_card
from darkmatter.leaderboard.cells import cell_of, missing_controls
from darkmatter.leaderboard.check import rules, together
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.layout import (
    CARD,
    CONTROLS,
    check_owner,
    folder_of,
    is_card,
    place_of,
    sidecar_of,
)
from darkmatter.leaderboard.public import FREE_TEXT, why_private, without_paths
from darkmatter.plugins import PluginHost
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import StoredResult, read_result, result_checksum
from darkmatter.results.schema import Result


@dataclass(frozen=True)
class Stated:
    """What the submitter says in place of the paths in their results; references by the SAE's name."""

    references: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    text: str | None = None
    licence: str = ""


@dataclass
class Submission:
    """What was added to a leaderboard, what was there already, and what was left out and why."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def submit(
    results: Path, owner: str, to: Path, host: PluginHost, *, saes: Sequence[str] = (), stated: Stated
) -> Submission:
    """Copy finished results of SAEs, and the controls of their cells, into a leaderboard.

    Nothing is written where ``Submission.findings`` is not empty, apart from those on empty cards.
    """
    owner = check_owner(owner)
    found = ResultSet.read(results)
    made = Submission(left_out=[f"{problem.path}: {problem.reason}" for problem in found.problems])
    wanted = _wanted(found.stored, saes, stated, results)
    chosen = _with_controls(found.stored, wanted, host, made)
    if not any(not each.result.sae.is_control for each in chosen):
        message = f"{results} holds nothing to submit. {' '.join(made.left_out)}"
        raise UsageError(message)
    with tempfile.TemporaryDirectory(prefix="darkmatter-submit-") as name:
        staging = Path(name)
        for each in chosen:
            _write_row(staging, each, owner, stated)
        _write_cards(staging, to, owner, stated)
        board = read_board(staging)
        held = _held_controls(to)
        findings = {*board.findings, *rules(board, host), *_conflicts(board.rows, to, held)}
        if to.is_dir():
            findings |= {*_beside(board.rows, read_board(to).rows, held, host)}
        made.findings = sorted(findings)
        if all(is_card(finding.file) for finding in made.findings):
            _publish(staging, to, board.files, held, made)
    return made


def _wanted(stored: Sequence[StoredResult], saes: Sequence[str], stated: Stated, results: Path) -> set[str]:
    """The names of the SAEs to submit; all of the folder by default."""
    there = {each.result.sae.name for each in stored if not each.result.sae.is_control}
    there -= {each.result.sae.name for each in stored if each.result.sae.members}
    for name in [*saes, *stated.references]:
        if name not in there:
            message = f"{results} holds no results on an SAE {name!r}. {did_you_mean(name, there)}"
            raise UsageError(message)
    wanted = set(saes) or there
    private: dict[str, str] = {}
    for each in stored:
        sae = each.result.sae
        if sae.name in wanted and not sae.members and each.result.status == "ok":
            reason = why_private(stated.references.get(sae.name, sae.reference))
            if reason is not None:
                private[sae.name] = reason
    if private:
        name, reason = next(iter(private.items()))
        others = f" So with {', '.join(list(private)[1:])}." if len(private) > 1 else ""
        message = (
            f"{name}: {reason}.{others} Upload the weights, and state for each where they are: "
            f"--reference {name}=hf:ORG/REPO/FOLDER."
        )
        raise UsageError(message)
    return wanted


def _with_controls(
    stored: Sequence[StoredResult], wanted: set[str], host: PluginHost, made: Submission
) -> list[StoredResult]:
    """Finished results on the wanted SAEs and families, and the controls of their cells."""
    mine, controls = [], []
    for each in stored:
        result = each.result
        said = f"{result.sae.name} / {result.evaluator.name}"
        if result.sae.is_control:
            if result.status == "ok" and not result.unfinished:
                controls.append(each)
        elif result.status != "ok" and result.sae.name in wanted:
            made.left_out.append(f"{said}: {result.status} ({result.reason})")
        elif result.status == "ok" and (result.sae.name in wanted or _is_family_of(result, wanted)):
            if result.unfinished:
                why = f"unfinished ({result.unfinished}); the next run makes it again"
                made.left_out.append(f"{said}: {why}")
            else:
                mine.append(each)
    lacking = list(missing_controls([*mine, *controls], host.evaluators()))
    for each, kinds in lacking:
        result = each.result
        where = f"{result.sae.name} / {result.evaluator.name} at {result.sae.hook}"
        reason = f"no {' and no '.join(kinds)} was measured beside it; add them to `saes`, without a `hook`"
        made.left_out.append(f"{where}: {reason}")
    alone = {id(each) for each, _ in lacking}
    kept = [each for each in mine if id(each) not in alone]
    cells = {cell_of(each.result) for each in kept}
    return [*kept, *(each for each in controls if cell_of(each.result) in cells)]


def _is_family_of(result: Result, wanted: set[str]) -> bool:
    return bool(result.sae.members) and wanted.issuperset(result.sae.members)


def _write_row(staging: Path, stored: StoredResult, owner: str, stated: Stated) -> None:
    """One result under its public references, with its sidecar, in its place."""
    result = stored.result
    place = staging / place_of(result, owner)
    raw = published(result, stated)
    units = stored.units()
    if units is not None and raw["units"] is not None:
        raw["units"]["file"] = Path(sidecar_of(place.name)).name
        write_bytes(place.with_name(raw["units"]["file"]), units.to_bytes())
    raw["checksum"] = result_checksum(raw)
    write_json(place, raw)


def published(result: Result, stated: Stated) -> dict[str, Any]:
    """A result's JSON object as others may see it: no path of a machine, public references."""
    raw: dict[str, Any] = result.model_dump(mode="json", exclude={"checksum", "timings"})
    free = {name: raw[name] for name in FREE_TEXT}
    raw = without_paths(raw) | free
    sae = raw["sae"]
    if not sae["members"] and not sae["is_control"]:
        sae["reference"] = stated.references.get(sae["name"], result.sae.reference)
    for part, name, value in (("model", "name", stated.model), ("text", "path", stated.text)):
        if isinstance(raw["cache"].get(part), dict) and value is not None:
            raw["cache"][part][name] = value
    return raw


def _write_cards(staging: Path, to: Path, owner: str, stated: Stated) -> None:
    """The cards that are there, and a new one for each SAE without."""
    for row in read_board(staging).rows:
        sae = row.result.sae
        if sae.is_control or sae.members:
            continue
        card = f"{folder_of(owner, sae.name)}/{CARD}"
        if (staging / card).exists():
            continue
        if (to / card).is_file() and not (to / card).is_symlink():
            write_bytes(staging / card, (to / card).read_bytes())
            continue
        made = ModelCard(
            owner=owner,
            sae=sae.name,
            licence=stated.licence,
            weights=sae.reference,
            reference=sae.reference,
            **measured_on(row.result),
        )
        write_card(staging / card, made)


def _held_controls(to: Path) -> dict[str, str]:
    """Where the leaderboard has controls, by key: each run calls them as it likes, and one is enough."""
    return {
        path.stem: path.relative_to(to).as_posix() for path in sorted(to.glob(f"{CONTROLS}/*/*/*/*.json"))
    }


def _conflicts(rows: Sequence[BoardRow], to: Path, held: Mapping[str, str]) -> Iterator[Finding]:
    """Rows that the leaderboard has with other numbers."""
    for row in rows:
        there = to / (held.get(row.result.key, row.file) if row.result.sae.is_control else row.file)
        if not there.exists():
            continue
        known = read_result(there)
        if not isinstance(known, StoredResult) or _numbers(known.result) != _numbers(row.result):
            fix = "Keys are immutable: find out which is right; a correction needs another key or version."
            yield Finding(row.file, f"{there} has this key with other numbers", fix)


def _beside(
    rows: Sequence[BoardRow], there: Sequence[BoardRow], held: Mapping[str, str], host: PluginHost
) -> Iterator[Finding]:
    """What would be wrong with new rows beside those that the leaderboard has, of whatever owner."""
    old = {row.file for row in there}
    new = [row for row in rows if row.file not in old and not (row.owner is None and row.result.key in held)]
    files = {row.file for row in new}
    for finding in together([*there, *new], host, old):
        if finding.file in files:
            yield finding


def _numbers(result: Result) -> bytes:
    fields = {"metrics", "config", "analysis", "evaluator"}
    return canonical_json(result.model_dump(mode="json", include=fields))


def _publish(
    staging: Path, to: Path, files: Sequence[str], held: Mapping[str, str], made: Submission
) -> None:
    """Copy what is new, sidecars before the results that commit them."""
    for path in sorted(files, key=lambda path: (path.endswith(".json"), path)):
        there = to / path
        known = path.startswith(f"{CONTROLS}/") and there.name.partition(".")[0] in held
        if known or there.exists():
            if path.endswith(".json"):
                made.known.append(path)
            continue
        write_bytes(there, (staging / path).read_bytes())
        if path.endswith(".json"):
            made.added.append(path)
        elif is_card(path):
            made.cards.append(path)
