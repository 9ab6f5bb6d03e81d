"""From a row to the suite that makes it again, by public references alone: no path of any machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from darkmatter.descriptors import Evaluator
from darkmatter.embedded import is_embedded
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.public import why_private
from darkmatter.references import parse_reference
from darkmatter.results.comparable import data_signature
from darkmatter.results.schema import Result
from darkmatter.runs.analysis import Analysis

_TEXT = ("path", "field", "context_length", "bos", "packing", "document_limit", "contexts_requested")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)


class CannotError(Exception):
    """Why a row cannot be made again here."""


def suite_of(row: BoardRow, rows: Sequence[BoardRow], evaluator: Evaluator) -> dict[str, Any]:
    """The fields of a suite that makes the row, from its references alone."""
    result = row.result
    members = _shaping(row, rows, evaluator)
    alone = evaluator.scope == "sae" and not result.sae.is_control
    analysis = {name: result.analysis[name] for name in Analysis.model_fields if name in result.analysis}
    return {
        "model": _model(result),
        "text": _text(result),
        "hooks": sorted({hook for sae in members.values() for hook in (sae.sae.hook, sae.sae.hook_out)}),
        "saes": {name: _spec(member) for name, member in members.items()},
        "evaluators": {result.evaluator.name: result.config},
        "only": {result.evaluator.name: [result.sae.name]} if alone else {},
        "analysis": analysis,
        "seed": analysis.get("seed", 0),
        "controls": False,
    }


def _shaping(row: BoardRow, rows: Sequence[BoardRow], evaluator: Evaluator) -> dict[str, Result]:
    """A row on each SAE that shapes the result, by name: itself, and whom it names or all of its owner's."""
    result = row.result
    found = {} if result.sae.members else {called(result): result}
    if evaluator.scope == "sae" and not evaluator.sees:
        return found
    named = result.sae.members or result.beside
    for other in rows:
        sae = other.result.sae
        beside = not sae.members if named is None else sae.name in named
        # A control is nobody's: whom it names was beside it, whoever owns them.
        own = other.owner == row.owner or (row.owner is None and named is not None)
        same = own and data_signature(other.result) == data_signature(result)
        if same and beside and not sae.is_control:
            found.setdefault(sae.name, other.result)
    lacking = sorted({*(named or ())} - found.keys())
    if lacking:
        message = f"the leaderboard has no row on {', '.join(lacking)}, which would say where they are"
        raise CannotError(message)
    return found


def called(result: Result) -> str:
    """A result's name in a suite: a run adds the hook point to a control's, here it stands beside it."""
    return result.sae.name.partition("@")[0] if result.sae.is_control else result.sae.name


def _spec(result: Result) -> dict[str, Any]:
    """One SAE as a suite names it."""
    sae = result.sae
    if sae.is_control:
        if parse_reference(sae.reference).kind != "baseline":
            message = f"it says that {sae.reference!r} is a control"
            raise CannotError(message)
        return {"ref": sae.reference, "hook": sae.hook}
    reason = why_private(sae.reference)
    if reason is not None:
        raise CannotError(reason)
    return {**sae.overrides, "ref": sae.reference, **({"adapter": sae.adapter} if sae.adapter else {})}


def _model(result: Result) -> dict[str, Any]:
    described = result.cache.get("model")
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        message = "its activations were given as a file, and only their hash is known"
        raise CannotError(message)
    kept = {name: described.get(name) for name in ("name", "dtype", "processing")}
    if is_embedded(described["name"]):
        return {**kept, "device": "cpu"}
    name = described["name"].removeprefix("hf:")
    if name.startswith(("/", ".", "~")):
        message = f"its model {name!r} is a path"
        raise CannotError(message)
    if name == described["name"] and "/" not in name:
        message = f"its model {name!r} is known by a folder's name alone"
        raise CannotError(message)
    # With hf: it is the Hub's, even where the submission has a folder of that name.
    return {**kept, "name": f"hf:{name}", "revision": _revision(described), "device": "cpu"}


def _revision(described: dict[str, Any]) -> str | None:
    """The commit that was read, where it is known; else what was asked for."""
    fingerprint, revision = described.get("fingerprint"), described.get("revision")
    if isinstance(fingerprint, str) and _COMMIT.fullmatch(fingerprint):
        return fingerprint
    if revision is None or (isinstance(revision, str) and _REVISION.fullmatch(revision)):
        return revision
    message = f"its model's revision {revision!r} is no branch, tag or commit"
    raise CannotError(message)


def _text(result: Result) -> dict[str, Any]:
    described = result.cache.get("text")
    if not isinstance(described, dict):
        message = "it names no text"
        raise CannotError(message)
    if lacking := [name for name in _TEXT if name not in described]:
        message = f"its account of the text lacks {', '.join(lacking)}"
        raise CannotError(message)
    path = described["path"]
    if not isinstance(path, str) or not (is_embedded(path) or path.startswith("hf:")):
        message = f"its text {path!r} is known by a file's name and its hash alone"
        raise CannotError(message)
    kept = {name: described[name] for name in _TEXT if name != "contexts_requested"}
    return {**kept, "contexts": described["contexts_requested"]}
