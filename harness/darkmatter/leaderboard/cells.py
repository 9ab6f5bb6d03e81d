"""What rows must satisfy together: each key once, controls beside every SAE, sums where others have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from darkmatter.descriptors import Evaluator, Requirement
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.findings import AGAIN, Finding
from darkmatter.references import parse_reference
from darkmatter.results.comparable import place_of, source_of
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Result

CONTROLS_WANTED = (("mean", "zero"), ("pca",))
"""Of each of these groups of baselines, one must stand beside every SAE."""

Cell = tuple[Any, ...]

Row = TypeVar("Row", BoardRow, StoredResult)
"""A result on a leaderboard, or one that may be submitted to it."""


def shared_findings(rows: Sequence[BoardRow], evaluators: Mapping[str, Evaluator]) -> Iterator[Finding]:
    """Everything that is wrong with rows beside each other."""
    yield from _duplicates(rows)
    yield from _without_sums(rows)
    yield from _other_sums(rows)
    for row, lacking in missing_controls(rows, evaluators):
        reason = f"missing controls in its cell ({row.result.sae.hook}): no {' and no '.join(lacking)}"
        fix = "Run the suite with `controls: true`, and submit the controls with the SAE."
        yield Finding(row.file, reason, fix)


def cell_of(result: Result) -> Cell:
    """Equal for rows that stand in one column of one table."""
    return place_of(result), source_of(result)


def missing_controls(
    rows: Sequence[Row], evaluators: Mapping[str, Evaluator]
) -> Iterator[tuple[Row, list[str]]]:
    """Rows on SAEs that lack controls in their cell, and which kinds they lack."""
    present: dict[Cell, set[str]] = defaultdict(set)
    for row in rows:
        if row.result.sae.is_control:
            present[cell_of(row.result)].add(_baseline(row.result.sae.reference))
    for row in rows:
        wanted = _controls_for(evaluators.get(row.result.evaluator.name))
        if row.result.sae.is_control or not wanted:
            continue
        found = present[cell_of(row.result)]
        lacking = [" or ".join(group) for group in wanted if found.isdisjoint(group)]
        if lacking:
            yield row, lacking


def _controls_for(evaluator: Evaluator | None) -> tuple[tuple[str, ...], ...]:
    """The controls that say something beside an SAE, of each group one.

    None where the evaluator trains, which costs too much, or looks at other SAEs, which has controls of its
    own. The mean and zero have no decoder, so they cannot be there where one is needed.
    """
    if evaluator is None or evaluator.scope == "family" or evaluator.sees or not evaluator.controls:
        return ()
    if Requirement.TRAINING in evaluator.requires:
        return ()
    if Requirement.DECODER in evaluator.requires:
        return CONTROLS_WANTED[1:]
    return CONTROLS_WANTED


def _baseline(reference: str) -> str:
    return parse_reference(reference).target if reference.startswith("baseline:") else ""


def _duplicates(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    first: dict[str, BoardRow] = {}
    for row in rows:
        known = first.setdefault(row.result.key, row)
        if known is not row:
            yield Finding(row.file, f"duplicate key: {known.file} has it already", "Remove one of the two.")


def _without_sums(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    """Rows that hide from comparison: others have an interval and per-unit sums where they have a value."""
    having: dict[tuple[str, int, str], str] = {}
    lacking: list[tuple[BoardRow, tuple[str, int, str]]] = []
    for row in rows:
        estimators = row.result.units.estimators if row.result.units else {}
        for metric in row.result.metrics:
            place = (row.result.evaluator.name, row.result.evaluator.version, metric.name)
            if metric.name in estimators:
                having.setdefault(place, row.file)
            elif metric.value is not None:
                lacking.append((row, place))
    for row, place in lacking:
        if place in having:
            reason = f"{place[2]}: has no per-unit sums, which {having[place]} has"
            yield Finding(row.file, reason, AGAIN)


def _other_sums(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    """Rows that call another ratio by a metric's name; controls, which are nobody's, say which is meant."""
    first: dict[tuple[Cell, str], BoardRow] = {}
    for row in rows:
        cell = cell_of(row.result)
        for name, estimator in (row.result.units.estimators if row.result.units else {}).items():
            known = first.setdefault((cell, name), row)
            assert known.result.units is not None
            if known.result.units.estimators[name] != estimator:
                reason = f"{name}: follows from other sums than in {known.file}, in the same cell"
                yield Finding(row.file, reason, AGAIN)
