"""Whether results became worse than a baseline: what ``darkmatter check`` decides.

A metric is red where the lower bound of the paired 95% interval of its worsening, over the same
contexts, exceeds its limit. Each metric has its own interval; they are not adjusted for their number,
because a limit above 0 already asks for more than a difference. What was in the baseline and cannot be
compared now is never green, and what the baseline lacks is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.checked import Check, CheckedMetric, Verdict
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import hardware_notes, why_not_comparable
from darkmatter.results.judging import NO_SUMS, Judge, has_sums, why_no_direction
from darkmatter.results.limits import Limit
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue


def check_regression(
    baseline: ResultSet,
    current: ResultSet,
    limit: Limit,
    named: Mapping[str, Limit] | None = None,
    *,
    require_all: bool = False,
) -> Check:
    """Compare what a baseline says of SAEs with what is found now, SAE by SAE of the same name.

    With ``require_all`` whatever the baseline lacks to be compared is red.
    """
    limits = named or {}
    before = [entry for entry in baseline.stored if not entry.result.sae.is_control]
    now = [entry for entry in current.stored if not entry.result.sae.is_control]
    if not before:
        message = (
            "the baseline has no results of SAEs. `darkmatter run SUITE.yaml --out DIR` makes them; keep "
            "that folder and name it with --baseline."
        )
        raise UsageError(message)
    _require_checkable(limits, before)
    matching = _Matching(before, now, Judge(limit, limits))
    metrics = [*matching.of_baseline(), *matching.of_now_alone()]
    if require_all:
        metrics = [_required(metric) for metric in metrics]
    metrics.sort(key=lambda metric: (natural_key(metric.sae), metric.evaluator, metric.hook))
    problems = (*baseline.problems, *current.problems)
    return Check(tuple(metrics), limit, tuple(dict.fromkeys(matching.notes)), problems)


def _required(metric: CheckedMetric) -> CheckedMetric:
    return replace(metric, verdict="red") if metric.verdict == "not compared" else metric


def _require_checkable(limits: Mapping[str, Limit], before: Sequence[StoredResult]) -> None:
    """A limit that could never turn anything red is wrong usage."""
    found: dict[str, list[str]] = {}
    for entry in before:
        for metric in entry.result.metrics:
            name = f"{entry.result.evaluator.name}.{metric.name}"
            found.setdefault(name, []).append(_why_never(entry, metric))
    for name in limits:
        if name not in found:
            message = f"--metric {name}: the baseline has no such metric. {did_you_mean(name, found)}"
            raise UsageError(message)
        if all(found[name]):
            message = f"--metric {name}: it cannot be checked, since it has {found[name][0]}."
            raise UsageError(message)


def _why_never(entry: StoredResult, metric: MetricValue) -> str:
    """What a metric of the baseline lacks to be checked at all; empty if nothing."""
    if metric.value is None:
        return f"no value in the baseline ({metric.reason})"
    return why_no_direction(metric) or ("" if has_sums(entry, metric.name) else NO_SUMS)


@dataclass
class _Matching:
    """Which result of now belongs to which of the baseline, and what is said where none does."""

    before: Sequence[StoredResult]
    now: Sequence[StoredResult]
    judge: Judge
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._answered: list[StoredResult] = []
        """Results of now for which something was said."""

    def of_baseline(self) -> Iterator[CheckedMetric]:
        """What is said of everything that the baseline has."""
        there = {entry.result.sae.name for entry in self.now}
        gone = dict.fromkeys(entry.result.sae.name for entry in self.before)
        for name in (name for name in gone if name not in there):
            close = did_you_mean(name, there) if there else "There are no results of SAEs."
            reason = f"the baseline has this SAE, and now there is no result of it. {close}"
            yield CheckedMetric(name, "", "", "", "red", reason)
        for entry in self.before:
            if entry.result.sae.name in there:
                yield from self._result(entry)

    def of_now_alone(self) -> Iterator[CheckedMetric]:
        """What now has and the baseline has not: nothing to compare with, but a failure is one."""
        known = {entry.result.sae.name for entry in self.before}
        for name in dict.fromkeys(entry.result.sae.name for entry in self.now):
            own = [entry for entry in self.now if entry.result.sae.name == name]
            rows = [row for entry in own if entry not in self._answered for row in self._alone(entry, known)]
            if not rows and name not in known:
                rows = [CheckedMetric(name, own[0].result.sae.hook, "", "", "not compared", _NO_SAE)]
            yield from rows

    def _alone(self, entry: StoredResult, known: set[str]) -> Iterator[CheckedMetric]:
        result = entry.result
        if result.status == "failed":
            reason = f"{result.evaluator.name} failed: {result.reason}"
            yield CheckedMetric.of(entry, None, "error", reason)
        why = _NO_RESULT if result.sae.name in known else _NO_SAE
        for other in self.before:
            if _same_subject(entry, other) and other.result.status != "ok":
                why = f"{other.result.status} in the baseline: {other.result.reason}"
        for metric in result.metrics:
            row = self.judge.without_baseline(entry, metric, why)
            if row is not None:
                yield row

    def _result(self, entry: StoredResult) -> Iterator[CheckedMetric]:
        """What is said of one result of the baseline, whose SAE is there now."""
        result = entry.result
        if result.status != "ok":
            # Where it works now, its metrics are among those that now has alone.
            if not any(_same_subject(entry, other) and other.result.status == "ok" for other in self.now):
                reason = f"{result.status} in the baseline: {result.reason}"
                self._answered.extend(other for other in self.now if _same_subject(entry, other))
                yield CheckedMetric.of(entry, None, "left out", reason)
            return
        partner, verdict, reason = self._partner(entry)
        if partner is None:
            self._answered.extend(other for other in self.now if _same_subject(entry, other))
            for metric in result.metrics:
                row = self.judge.wanted(entry, metric)
                if row is not None and row.limit is not None:
                    row = replace(row, verdict=verdict, reason=reason)
                if row is not None:
                    yield replace(row, baseline=metric.value)
            return
        self._answered.append(partner)
        self.notes.extend(
            f"{result.sae.name}, {result.evaluator.name}: {note}"
            for note in hardware_notes(result, partner.result)
        )
        yield from self._metrics(entry, partner)

    def _metrics(self, entry: StoredResult, partner: StoredResult) -> Iterator[CheckedMetric]:
        """All metrics of two results, those of the baseline first."""
        now = {metric.name: metric for metric in partner.result.metrics}
        for metric in entry.result.metrics:
            row = self.judge.pair(entry, metric, partner, now.pop(metric.name, None))
            if row is not None:
                yield row
        for metric in now.values():
            row = self.judge.without_baseline(partner, metric, _NO_METRIC)
            if row is not None:
                yield row

    def _partner(self, entry: StoredResult) -> tuple[StoredResult | None, Verdict, str]:
        """The one result to compare with, or verdict and reason where there is none."""
        result = entry.result
        same = [other for other in self.now if _same_subject(entry, other)]
        exact = [other for other in same if not why_not_comparable(result, other.result)]
        twins = [other for other in self.before if _same_subject(entry, other)]
        twins = [other for other in twins if not why_not_comparable(result, other.result)]
        for count, where in ((len(twins), "the baseline"), (len(exact), "what is checked")):
            if count > 1:
                reason = f"{where} has {count} results for it, of different weights; keep one per folder"
                return None, "error", reason
        if exact and exact[0].result.status == "ok":
            return exact[0], "green", ""
        for other in (*exact, *same):
            if other.result.status != "ok":
                return None, "red", f"{other.result.status} now: {other.result.reason}"
        if not same:
            reason = f"{result.evaluator.name} has no result for it now; the baseline has one"
            return None, "red", reason
        nearest = min((why_not_comparable(result, other.result) for other in same), key=len)
        reason = f"not comparable with the baseline: {'; '.join(nearest)}. Make the baseline again"
        return None, "error", reason


_NO_SAE = "SAE not in the baseline"
_NO_RESULT = "result not in the baseline"
_NO_METRIC = "metric not in the baseline"


def _same_subject(a: StoredResult, b: StoredResult) -> bool:
    return (a.result.sae.name, a.result.evaluator.name) == (b.result.sae.name, b.result.evaluator.name)
