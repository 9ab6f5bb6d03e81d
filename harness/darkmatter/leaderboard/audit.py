"""``darkmatter leaderboard audit``: make rows again from what they record, and compare.

Only public references are followed: nothing that a stranger wrote makes this read a path of the
machine, use a network, spend money or run code. What they name must be on the machine already.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darkmatter.descriptors import Evaluator, Requirement
from darkmatter.embedded import is_embedded
from darkmatter.errors import DarkmatterError
from darkmatter.fetching.record import records_folder
from darkmatter.leaderboard.board import Board, BoardRow
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.layout import sidecar_of
from darkmatter.leaderboard.public import why_private
from darkmatter.leaderboard.reach import refuse_reaching
from darkmatter.plugins import PluginHost
from darkmatter.progress import Progress
from darkmatter.references import parse_reference
from darkmatter.results.comparable import data_signature, is_unread
from darkmatter.results.schema import MetricValue, Result
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.job import Job
from darkmatter.runs.keys import provenance
from darkmatter.runs.suite import make_suite

HERE, ELSEWHERE = (1e-9, 1e-12), (1e-6, 1e-9)
"""Relative and absolute tolerance: on the class of machine and the libraries that made a row, or not."""

_NUMBERS = ("value", "ci_low", "ci_high")
_TEXT = ("path", "field", "context_length", "bos", "packing", "document_limit", "contexts_requested")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)
_CLASS = ("torch", "numpy", "transformers", "transformer_lens")


@dataclass(frozen=True)
class Verdict:
    """What came of one row."""

    file: str
    outcome: Literal["same", "differs", "exempt", "not recomputed"]
    said: str = ""


class _CannotError(Exception):
    """Why a row cannot be made again here."""


def without_findings(board: Board, findings: Sequence[Finding]) -> list[BoardRow]:
    """The rows of which, and of whose sidecars, ``check`` says nothing: what it faults is not followed."""
    faulty = {finding.file for finding in findings}
    return [row for row in board.rows if not {row.file, sidecar_of(row.file)} & faulty]


def audit(rows: Sequence[BoardRow], host: PluginHost, n: int, seed: int) -> Iterator[Verdict]:
    """Make ``n`` rows again, drawn by the seed; activations are kept in between, and no longer.

    ``rows`` are those without findings.
    """
    with _offline(), _temporary_cache():
        for row in sorted(drawn(rows, n, seed), key=lambda row: row.file):
            yield _verdict(row, rows, host)


def drawn(rows: Sequence[BoardRow], n: int, seed: int) -> list[BoardRow]:
    """Rows of as many evaluators as there can be among ``n``: the common ones do not crowd out the others."""
    draw = random.Random(seed)  # noqa: S311 - a draw, not a secret
    of_evaluator: dict[str, list[BoardRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.file):
        of_evaluator[row.result.evaluator.name].append(row)
    piles = [draw.sample(pile, len(pile)) for _, pile in sorted(of_evaluator.items())]
    found: list[BoardRow] = []
    while len(found) < min(n, len(rows)):
        left = [pile for pile in piles if pile]
        found += [pile.pop() for pile in draw.sample(left, len(left))]
    return found[:n]


def _verdict(row: BoardRow, rows: Sequence[BoardRow], host: PluginHost) -> Verdict:
    evaluator = host.evaluators().get(row.result.evaluator.name)
    if evaluator is None or evaluator.version != row.result.evaluator.version:
        said = f"{row.result.evaluator.name} {row.result.evaluator.version} is not installed"
        return Verdict(row.file, "not recomputed", said)
    if Requirement.TRAINING in evaluator.requires:
        return Verdict(row.file, "exempt", "it trains: training rounds differently from machine to machine")
    try:
        _refuse_reaching(row.result, host)
        made = _made_again(row.result, _suite(row, rows, evaluator), host)
    except _CannotError as error:
        return Verdict(row.file, "not recomputed", str(error))
    if evaluator.sees and _was_beside_others(row.result, made):
        said = "it was made beside other SAEs than those whose references the leaderboard has"
        return Verdict(row.file, "not recomputed", said)
    relative, absolute = HERE if _same_machine(row.result, made) else ELSEWHERE
    for reason in _differences(row.result, made, relative, absolute):
        return Verdict(row.file, "differs", reason)
    return Verdict(row.file, "same", f"{len(made.metrics)} metrics within {relative:g} relative")


def _refuse_reaching(result: Result, host: PluginHost) -> None:
    """Whatever plugin a row names, with its options, stays within the run."""
    try:
        choose_evaluators(host, {result.evaluator.name: result.config}, judge=refuse_reaching)
        if result.sae.is_control:
            reference = parse_reference(result.sae.reference)
            refuse_reaching(host.get("baselines", reference.target), reference.fields)
    except DarkmatterError as error:
        raise _CannotError(str(error)) from error


# -- from a row to a suite ------------------------------------------------------------------------


def _suite(row: BoardRow, rows: Sequence[BoardRow], evaluator: Evaluator) -> dict[str, Any]:
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
    """A row on each SAE that shapes the result, by name: itself, its family, or all of its owner's."""
    result = row.result
    found = {} if result.sae.members else {result.sae.name: result}
    if evaluator.scope == "sae" and not evaluator.sees:
        return found
    for other in rows:
        sae = other.result.sae
        beside = sae.name in result.sae.members if result.sae.members else not sae.members
        same = other.owner == row.owner and data_signature(other.result) == data_signature(result)
        if same and beside and not sae.is_control:
            found.setdefault(sae.name, other.result)
    lacking = sorted(set(result.sae.members) - found.keys())
    if lacking:
        message = (
            f"the leaderboard has no row on its members {', '.join(lacking)}, which would say where they are"
        )
        raise _CannotError(message)
    return found


def _spec(result: Result) -> dict[str, Any]:
    """One SAE as a suite names it."""
    sae = result.sae
    if sae.is_control:
        return {"ref": sae.reference, "hook": sae.hook}
    reason = why_private(sae.reference)
    if reason is not None:
        raise _CannotError(reason)
    return {**sae.overrides, "ref": sae.reference, **({"adapter": sae.adapter} if sae.adapter else {})}


def _model(result: Result) -> dict[str, Any]:
    described = result.cache.get("model")
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        message = "its activations were given as a file, and only their hash is known"
        raise _CannotError(message)
    kept = {name: described.get(name) for name in ("name", "dtype", "processing")}
    if is_embedded(described["name"]):
        return {**kept, "device": "cpu"}
    name = described["name"].removeprefix("hf:")
    if name.startswith(("/", ".", "~")):
        message = f"its model {name!r} is a path"
        raise _CannotError(message)
    if "/" not in described["name"]:
        message = f"its model {name!r} is known by a folder's name alone"
        raise _CannotError(message)
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
    raise _CannotError(message)


def _text(result: Result) -> dict[str, Any]:
    described = result.cache.get("text")
    if not isinstance(described, dict) or (lacking := [name for name in _TEXT if name not in described]):
        message = f"its account of the text lacks {', '.join(lacking)}" if described else "it names no text"
        raise _CannotError(message)
    path = described["path"]
    if not isinstance(path, str) or not (is_embedded(path) or path.startswith("hf:")):
        message = f"its text {path!r} is known by a file's name and its hash alone"
        raise _CannotError(message)
    kept = {name: described[name] for name in _TEXT if name != "contexts_requested"}
    return {**kept, "contexts": described["contexts_requested"]}


# -- making it again ------------------------------------------------------------------------------


def _made_again(result: Result, fields: dict[str, Any], host: PluginHost) -> Result:
    try:
        outcome = Job.of(make_suite(fields), host, Progress(), 1).run(None)
    except DarkmatterError as error:
        raise _CannotError(str(error)) from error
    for made in outcome.results:
        if made.sae.name == result.sae.name and made.evaluator.name == result.evaluator.name:
            if is_unread(made):
                raise _CannotError(made.reason or "its SAE cannot be read")
            return made
    reasons = "; ".join(failure.reason for failure in outcome.failures)
    message = f"a run of its references gives no such row. {reasons}".strip()
    raise _CannotError(message)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The Hub's libraries find what is on the machine; they read this when they are first imported."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _temporary_cache() -> Iterator[None]:
    """An activation cache of one's own: nothing that is there already is believed."""
    before = os.environ.get("DARKMATTER_CACHE")
    fetched = records_folder()
    with tempfile.TemporaryDirectory(prefix="darkmatter-audit-") as folder:
        # What was fetched is checked by its own hashes, and downloading it again would be a waste.
        (Path(folder) / fetched.name).symlink_to(fetched.absolute())
        os.environ["DARKMATTER_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["DARKMATTER_CACHE"]
            else:
                os.environ["DARKMATTER_CACHE"] = before


def _was_beside_others(old: Result, new: Result) -> bool:
    """Whether other SAEs shaped a row than were at hand now; on equal activations its key tells."""
    if new.status != "ok" or {m.name for m in old.metrics} != {m.name for m in new.metrics}:
        return True
    return old.cache.get("key") == new.cache.get("key") and old.key != new.key


# -- comparing ------------------------------------------------------------------------------------


def _same_machine(old: Result, new: Result) -> bool:
    """Whether the class of machine and the libraries are those that made the row."""
    then, now = old.provenance, provenance([])
    packages = then.get("packages")
    known = isinstance(packages, dict) and all(packages.get(n) == now["packages"].get(n) for n in _CLASS)
    return (
        known and then.get("system") == now["system"] and old.analysis.get("device") == new.analysis["device"]
    )


def _differences(old: Result, new: Result, relative: float, absolute: float) -> Iterator[str]:
    """What differs beyond the tolerance, in words."""
    if new.status != "ok":
        yield f"made again, it is {new.status}: {new.reason}"
        return
    before, after = old.sae.fingerprint, new.sae.fingerprint
    if before != after and not old.sae.members and not old.sae.is_control:
        yield f"the weights at {old.sae.reference} are others: {after}, not {before}"
        return
    left, right = ({metric.name: metric for metric in each.metrics} for each in (old, new))
    if left.keys() != right.keys():
        yield f"made again, it has other metrics: {', '.join(sorted(left.keys() ^ right.keys())[:3])}"
    for name in sorted(left.keys() & right.keys()):
        for number in _NUMBERS:
            a, b = _number(left[name], number), _number(right[name], number)
            if not _close(a, b, relative, absolute):
                yield f"{name}: {number} is {a!r}, made again {b!r}"


def _number(metric: MetricValue, field: str) -> float | None:
    value: float | None = getattr(metric, field)
    return value


def _close(a: float | None, b: float | None, relative: float, absolute: float) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
