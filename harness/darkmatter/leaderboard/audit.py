"""``darkmatter leaderboard audit``: make rows again from what they record, and compare.

Only public references are followed: nothing that a stranger wrote makes this read a path of the
machine, use a network, spend money or run code. What they name must be on the machine already.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darkmatter.descriptors import Requirement
from darkmatter.errors import DarkmatterError
from darkmatter.fetching.record import records_folder
from darkmatter.leaderboard.again import CannotError, called, suite_of
from darkmatter.leaderboard.agreement import close
from darkmatter.leaderboard.board import Board, BoardRow
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.layout import sidecar_of
from darkmatter.leaderboard.reach import refuse_reaching
from darkmatter.plugins import PluginHost
from darkmatter.progress import Progress
from darkmatter.references import parse_reference
from darkmatter.results.comparable import is_unread
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue, Result
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.job import Job
from darkmatter.runs.keys import provenance
from darkmatter.runs.suite import make_suite

HERE, ELSEWHERE = (1e-9, 1e-12), (1e-6, 1e-9)
"""Relative and absolute tolerance: on the class of machine and the libraries that made a row, or not."""

_OF_LARGEST = 1e-3
"""How far the sum of one unit may be off, as a share of the largest: single rows round less evenly."""
_ROUND_OFF = 1e-12
"""Sums so small beside the largest of all are round-off, and others on each machine."""

_NUMBERS = ("value", "ci_low", "ci_high")
_CLASS = ("torch", "numpy", "transformers", "transformer_lens")


Outcome = Literal["same", "differs", "exempt", "not recomputed"]
_IN_WORDS = {"same": "the same", "differs": "different", "exempt": "exempt"}


@dataclass(frozen=True)
class Verdict:
    """What came of one row."""

    file: str
    outcome: Outcome
    said: str = ""


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether rows were made again, and all of those are the same: what was not made again says nothing."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return not outcomes or ("same" in outcomes and "differs" not in outcomes)


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many rows came to what, those that were not made again apart from those that were."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    order: tuple[Outcome, ...] = ("same", "differs", "exempt", "not recomputed")
    shown = [f"{counts[name]} {_IN_WORDS.get(name, name)}" for name in order if counts[name]]
    return f"{len(verdicts)} drawn: {', '.join(shown)}" if shown else "0 drawn"


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
        stored = _made_again(row.result, suite_of(row, rows, evaluator), host)
        made = stored.result
    except CannotError as error:
        return Verdict(row.file, "not recomputed", str(error))
    if evaluator.sees and _was_beside_others(row.result, made):
        said = "it was made beside other SAEs than those whose references the leaderboard has"
        return Verdict(row.file, "not recomputed", said)
    relative, absolute = HERE if _same_machine(row.result, made) else ELSEWHERE
    differences = _differences(row.result, made, relative, absolute)
    for reason in itertools.chain(differences, _other_sums(row.stored, stored)):
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
        raise CannotError(str(error)) from error


# -- making it again ------------------------------------------------------------------------------


def _made_again(result: Result, fields: dict[str, Any], host: PluginHost) -> StoredResult:
    try:
        outcome = Job.of(make_suite(fields), host, Progress(), 1).run(None)
    except DarkmatterError as error:
        raise CannotError(str(error)) from error
    for stored in outcome.results.stored:
        made = stored.result
        if made.sae.name == called(result) and made.evaluator.name == result.evaluator.name:
            if is_unread(made):
                raise CannotError(made.reason or "its SAE cannot be read")
            return stored
    reasons = "; ".join(failure.reason for failure in outcome.failures)
    message = f"a run of its references gives no such row. {reasons}".strip()
    raise CannotError(message)


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
    for name, was, now in _described(old, new):
        if was != now:
            yield f"the {name} of its SAE is {was!r}, made again {now!r}"
    if not close(old.sae.l0, new.sae.l0, relative, absolute):
        yield f"the l0 of its SAE is {old.sae.l0!r}, made again {new.sae.l0!r}"
    left, right = ({metric.name: metric for metric in each.metrics} for each in (old, new))
    if left.keys() != right.keys():
        yield f"made again, it has other metrics: {', '.join(sorted(left.keys() ^ right.keys())[:3])}"
    for name in sorted(left.keys() & right.keys()):
        for number in _NUMBERS:
            a, b = _number(left[name], number), _number(right[name], number)
            if not close(a, b, relative, absolute):
                yield f"{name}: {number} is {a!r}, made again {b!r}"


def _other_sums(old: StoredResult, new: StoredResult) -> Iterator[str]:
    """Sums that are of other units: in another order they give the same values, and other comparisons."""
    try:
        left, right = old.units(), new.units()
    except ValueError as error:
        yield f"its sidecar cannot be used: {error}"
        return
    if left is None or right is None:
        if left is not right:
            yield "made again, it has a sidecar" if left is None else "made again, it has no sidecar"
        return
    largest = max((float(abs(column).max()) for column in right.columns.values()), default=0.0)
    for name in sorted(left.columns):
        a, b = left.columns[name], right.columns.get(name)
        if b is None or a.shape != b.shape:
            yield f"{name}: made again, its sidecar has no such sums of as many units"
        elif not abs(a - b).max() <= _OF_LARGEST * abs(b).max() + _ROUND_OFF * largest:
            yield f"{name}: the sums of single units in its sidecar are others, made again"


def _described(old: Result, new: Result) -> Iterator[tuple[str, Any, Any]]:
    """What tables say of an SAE beside its numbers."""
    yield "d_in", old.sae.d_in, new.sae.d_in
    yield "d_sae", old.sae.d_sae, new.sae.d_sae
    yield "architecture", old.sae.metadata.get("architecture"), new.sae.metadata.get("architecture")


def _number(metric: MetricValue, field: str) -> float | None:
    value: float | None = getattr(metric, field)
    return value
