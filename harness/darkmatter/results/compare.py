"""Paired comparisons: two SAEs on the same data, or one suite before and after a change.

Differences are B - A over the same resampling units. Their intervals are Holm-adjusted: the headline
metrics of a comparison are one family, the others another, so that among the metrics that one looks
at the chance of any false difference is 5%, and the many that are not shown cost them no power.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import Place, config_text, hardware_notes, place_of, why_not_comparable
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.table import Table
from darkmatter.results.ties import PairedUnits
from darkmatter.stats.paired import Difference, holm_intervals

DraftRow = tuple["ComparedMetric", Difference | None]
"""A row, and the difference that the family's adjustment still has to judge."""

Drafted = tuple[list[DraftRow], list[str]]
"""Rows and notes of two results or sets of results."""

Verdict = Literal["better", "worse", "tie", "differs", "no interval", "undefined", "not comparable"]


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of A and B; ``difference`` is B - A."""

    sae_a: str
    sae_b: str
    hook: str
    hook_out: str
    evaluator: str
    config: str
    metric: str
    value_a: float | None
    value_b: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: Verdict
    reason: str | None
    ci_method: str | None
    unit: str
    higher_is_better: bool | None
    primary: bool

    @property
    def where(self) -> str:
        """The hook points for a heading."""
        return Place(self.hook, self.hook_out or self.hook, "", "").title


@dataclass(frozen=True)
class Comparison:
    """What two SAEs, or two folders, have in common and where they differ."""

    a: str
    b: str
    metrics: tuple[ComparedMetric, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def rows(self, *, all_metrics: bool = True) -> list[dict[str, Any]]:
        """Tidy rows."""
        return [asdict(metric) for metric in self.metrics if all_metrics or metric.primary]

    def to_table(self, *, all_metrics: bool = False) -> Table:
        """The comparison as a table that every reporter can render."""
        from darkmatter.results.compare_table import comparison_table

        return comparison_table(self, all_metrics=all_metrics)


def compare_saes(results: ResultSet, a: str, b: str) -> Comparison:
    """Compare two SAEs of one set of results, evaluator by evaluator.

    ``b`` may be a pattern: then each SAE that it names is compared with ``a``, and all these comparisons are
    one family.
    """
    known = {*results.names, *(result.sae.name for result in results)}
    if a not in known:
        message = f"there is no SAE {a!r} among these results. {did_you_mean(a, known)}"
        raise UsageError(message)
    own = {result.sae.name for result in results} - {a}
    others = [b] if b in known else sorted((n for n in own if fnmatchcase(n, b)), key=natural_key)
    if not others:
        message = f"there is no SAE {b!r} to compare with {a!r}. {did_you_mean(b, known - {a})}"
        raise UsageError(message)
    reference = _called(results, a)
    compared = [_drafted(reference, _called(results, other), by_name=False) for other in others]
    return replace(_comparison(a, b, compared), problems=tuple(results.problems))


def compare_folders(folder_a: Path, folder_b: Path) -> Comparison:
    """Compare what two results folders say of SAEs of the same name."""
    first, second = ResultSet.read(folder_a), ResultSet.read(folder_b)
    compared = [_drafted(first.stored, second.stored, by_name=True)]
    made = _comparison(str(folder_a), str(folder_b), compared)
    return replace(made, problems=(*first.problems, *second.problems))


def _called(results: ResultSet, name: str) -> list[StoredResult]:
    pairs = zip(results.names, results.stored, strict=True)
    return [entry for label, entry in pairs if name in {label, entry.result.sae.name}]


# -- matching -------------------------------------------------------------------------------------


def _drafted(first: Sequence[StoredResult], second: Sequence[StoredResult], *, by_name: bool) -> Drafted:
    """All metrics of results that match, with notes on what does not."""
    paired = PairedUnits()
    called = _titles([*first, *second])
    drafts: list[DraftRow] = []
    notes: dict[str, None] = {}
    partners = _partners(first, second, by_name=by_name)
    for index, entry in enumerate(first):
        if index not in partners:
            notes[f"only in A: {called[id(entry)]}"] = None
            continue
        partner = second[partners[index]]
        for note in hardware_notes(entry.result, partner.result):
            notes[f"{called[id(entry)]}: {note}"] = None
        drafts.extend(_compare_results(entry, partner, paired))
        paired.forget_spreads()
    used = set(partners.values())
    unmatched = [entry for index, entry in enumerate(second) if index not in used]
    notes.update((f"only in B: {called[id(entry)]}", None) for entry in unmatched)
    return drafts, list(notes)


def _comparison(a: str, b: str, compared: Sequence[Drafted]) -> Comparison:
    """Several comparisons as one: their metrics are one family."""
    drafts = [draft for found, _ in compared for draft in found]
    notes = dict.fromkeys(note for _, found in compared for note in found)
    return Comparison(a, b, tuple(_judged(drafts)), tuple(notes))


def _partners(
    first: Sequence[StoredResult], second: Sequence[StoredResult], *, by_name: bool
) -> dict[int, int]:
    """For each result of A the one of B to compare with, by their places in the lists.

    Pairs on the same data with the same options come first, wherever they stand; of what is left, the
    nearest. Among equals those of the same weights go together, then those of the same hardware.
    """
    candidates: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, entry in enumerate(second):
        candidates[_subject(entry, by_name=by_name)].append(place)
    pairs = sorted(
        (*_distance(entry, second[other]), place, other)
        for place, entry in enumerate(first)
        for other in candidates[_subject(entry, by_name=by_name)]
    )
    found: dict[int, int] = {}
    used: set[int] = set()
    for *_, place, other in pairs:
        if place not in found and other not in used:
            found[place] = other
            used.add(other)
    return found


def _subject(entry: StoredResult, *, by_name: bool) -> tuple[str, str]:
    """What a partner must share: the evaluator, and the SAE's name where that says who belongs together."""
    return entry.result.evaluator.name, entry.result.sae.name if by_name else ""


def _distance(a: StoredResult, b: StoredResult) -> tuple[int, bool, int]:
    """How much two results differ; the first number is 0 where they are comparable."""
    other_weights = a.result.sae.fingerprint != b.result.sae.fingerprint
    reasons, hardware = why_not_comparable(a.result, b.result), hardware_notes(a.result, b.result)
    return len(reasons), other_weights, len(hardware)


def _titles(entries: Sequence[StoredResult]) -> dict[int, str]:
    """What each result is called by its id; options stand there only where they tell results apart."""
    options: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in entries:
        result = entry.result
        options[result.sae.name, result.evaluator.name].add(config_text(result.config))
    made = {}
    for entry in entries:
        sae, evaluator = entry.result.sae, entry.result.evaluator.name
        told = f" {config_text(entry.result.config)}" if len(options[sae.name, evaluator]) > 1 else ""
        made[id(entry)] = f"{sae.name}, {evaluator}{told} at {place_of(entry.result).title}"
    return made


def _compare_results(a: StoredResult, b: StoredResult, paired: PairedUnits) -> Iterable[DraftRow]:
    """All metrics that either result has; those of A come first."""
    reasons = why_not_comparable(a.result, b.result)
    for entry in (a, b):
        if entry.result.status != "ok":
            reasons.append(f"{entry.result.sae.name} {entry.result.status}: {entry.result.reason}")
    left = {metric.name: metric for metric in a.result.metrics}
    right = {metric.name: metric for metric in b.result.metrics}
    for name in dict.fromkeys([*left, *right]):
        yield _compare_metric((a, left.get(name)), (b, right.get(name)), reasons, paired)


def _compare_metric(
    a: tuple[StoredResult, MetricValue | None],
    b: tuple[StoredResult, MetricValue | None],
    reasons: Sequence[str],
    paired: PairedUnits,
) -> DraftRow:
    """One row, with the difference that the family's adjustment still has to judge."""
    (stored_a, metric_a), (stored_b, metric_b) = a, b
    if reasons:
        return _row(a, b, "not comparable", "; ".join(reasons)), None
    if metric_a is None or metric_b is None:
        return _row(a, b, "not comparable", f"only {'B' if metric_a is None else 'A'} has it"), None
    for metric in (metric_a, metric_b):
        if metric.value is None:
            return _row(a, b, "undefined", metric.reason), None
    difference = paired.difference((stored_b, metric_b), (stored_a, metric_a))
    if isinstance(difference, Difference):
        return _row(a, b, "tie", None), difference
    if metric_a.value == metric_b.value:
        return _row(a, b, "tie", None), None
    return _row(a, b, "no interval", difference), None


def _row(
    a: tuple[StoredResult, MetricValue | None],
    b: tuple[StoredResult, MetricValue | None],
    verdict: Verdict,
    reason: str | None,
) -> ComparedMetric:
    metric = a[1] or b[1]
    assert metric is not None
    value_a, value_b = (part.value if part else None for part in (a[1], b[1]))
    comparable = verdict != "not comparable" and value_a is not None and value_b is not None
    return ComparedMetric(
        sae_a=a[0].result.sae.name,
        sae_b=b[0].result.sae.name,
        hook=a[0].result.sae.hook,
        hook_out=a[0].result.sae.hook_out,
        evaluator=a[0].result.evaluator.name,
        config=config_text(a[0].result.config),
        metric=metric.name,
        value_a=value_a,
        value_b=value_b,
        difference=value_b - value_a if comparable and value_a is not None and value_b is not None else None,
        ci_low=None,
        ci_high=None,
        verdict=verdict,
        reason=reason,
        ci_method=None,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        primary=metric.primary,
    )


def _judged(drafts: Sequence[DraftRow]) -> list[ComparedMetric]:
    """Rows with their Holm-adjusted intervals and verdicts."""
    families = {
        primary: iter(holm_intervals([d for row, d in drafts if d is not None and row.primary == primary]))
        for primary in (True, False)
    }
    made = []
    for row, draft in drafts:
        if draft is None:
            made.append(row)
            continue
        difference = next(families[row.primary])
        fields = asdict(row) | {
            "difference": difference.value,
            "ci_low": difference.low,
            "ci_high": difference.high,
            "ci_method": f"{difference.method}, Holm-adjusted",
            "verdict": _verdict(difference, higher_is_better=row.higher_is_better),
        }
        made.append(ComparedMetric(**fields))
    return made


def _verdict(difference: Difference, *, higher_is_better: bool | None) -> Verdict:
    if difference.is_tie:
        return "tie"
    if higher_is_better is None:
        return "differs"
    return "better" if (difference.value > 0) == higher_is_better else "worse"
