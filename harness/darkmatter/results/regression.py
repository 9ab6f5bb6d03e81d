"""Whether results became worse than a baseline: what ``darkmatter check`` decides.

A metric is red where the lower bound of the paired 95% interval of its worsening, over the same
contexts, exceeds its limit. Each metric has its own interval; they are not adjusted for their number,
because a limit above 0 already asks for more than a difference. What was in the baseline and cannot be
compared now is never green.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import hardware_notes, why_not_comparable
from darkmatter.results.limits import Limit
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.ties import PairedUnits
from darkmatter.stats.paired import Difference

Verdict = Literal["red", "error", "green", "left out", "new"]

_SHARES = ("", "%")
"""Units of metrics of which a share means the same at every size."""


@dataclass(frozen=True)
class CheckedMetric:
    """One metric of one SAE; without a metric, what is said of the SAE as a whole.

    ``worse``, ``low`` and ``high`` are the worsening and its interval in the metric's unit, positive
    where it became worse.
    """

    sae: str
    hook: str
    evaluator: str
    metric: str
    verdict: Verdict
    reason: str = ""
    baseline: float | None = None
    current: float | None = None
    worse: float | None = None
    low: float | None = None
    high: float | None = None
    limit: Limit | None = None
    unit: str = ""
    higher_is_better: bool | None = None
    ci_method: str = ""

    @property
    def called(self) -> str:
        """``evaluator.metric``, as ``--metric`` names it."""
        return f"{self.evaluator}.{self.metric}" if self.metric else ""

    def to_json(self) -> dict[str, Any]:
        """As a row; the limit as it is written."""
        return asdict(self) | {"limit": None if self.limit is None else str(self.limit)}


@dataclass(frozen=True)
class Check:
    """Everything that was found, and whether it is good enough."""

    metrics: tuple[CheckedMetric, ...]
    limit: Limit
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def having(self, *verdicts: Verdict) -> list[CheckedMetric]:
        """The metrics with one of these verdicts."""
        return [metric for metric in self.metrics if metric.verdict in verdicts]

    @property
    def passed(self) -> bool:
        """Something was compared, and nothing of it is red or could not be judged."""
        return bool(self.having("green")) and not self.having("red", "error") and not self.problems

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "passed": self.passed,
            "max_regression": str(self.limit),
            "metrics": [metric.to_json() for metric in self.metrics],
            "notes": list(self.notes),
            "problems": [asdict(problem) for problem in self.problems],
        }


def check_regression(
    baseline: ResultSet, current: ResultSet, limit: Limit, named: Mapping[str, Limit] | None = None
) -> Check:
    """Compare what a baseline says of SAEs with what is found now, SAE by SAE of the same name."""
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
    judge = _Judge(before, now, limit, limits)
    metrics = [*judge.compared(), *_gone(before, now), *_new(before, now)]
    metrics.sort(key=lambda metric: (natural_key(metric.sae), metric.evaluator, metric.hook))
    problems = (*baseline.problems, *current.problems)
    return Check(tuple(metrics), limit, tuple(dict.fromkeys(judge.notes)), problems)


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
    """What a metric lacks to be checked at all; empty if nothing."""
    if metric.value is None:
        return f"no value in the baseline ({metric.reason})"
    if metric.higher_is_better is None:
        return "no direction in which it is worse"
    if not _has_sums(entry, metric.name):
        return "no sums over contexts to tell change from chance"
    return "" if metric.ci_low is not None else "no interval in the baseline"


def _has_sums(entry: StoredResult, metric: str) -> bool:
    record = entry.result.units or entry.units()
    return record is not None and metric in record.estimators


@dataclass
class _Judge:
    """Compares the results of a baseline with those of now."""

    before: Sequence[StoredResult]
    now: Sequence[StoredResult]
    limit: Limit
    limits: Mapping[str, Limit]

    def __post_init__(self) -> None:
        self.paired = PairedUnits()
        self.notes: list[str] = []

    def compared(self) -> Iterator[CheckedMetric]:
        """All metrics of SAEs that are there still."""
        names = {entry.result.sae.name for entry in self.now}
        for entry in self.before:
            if entry.result.sae.name in names:
                yield from self._result(entry)

    def _result(self, entry: StoredResult) -> Iterator[CheckedMetric]:
        result = entry.result
        if result.status != "ok":
            yield _row(entry, None, "left out", f"{result.status} in the baseline: {result.reason}")
            return
        rows = [row for metric in result.metrics if (row := self._chosen(entry, metric))]
        wanted = [row for row in rows if row.limit is not None]
        yield from (row for row in rows if row.limit is None)
        if not wanted:
            return
        partner, trouble = self._partner(entry)
        if partner is None:
            yield from (replace(row, **trouble) for row in wanted)
            return
        self.notes.extend(
            f"{result.sae.name}, {result.evaluator.name}: {note}"
            for note in hardware_notes(result, partner.result)
        )
        yield from (self._judged(row, entry, partner) for row in wanted)

    def _chosen(self, entry: StoredResult, metric: MetricValue) -> CheckedMetric | None:
        """A row with its limit, one that says why it is left out, or None for what nobody asked for."""
        own = self.limits.get(f"{entry.result.evaluator.name}.{metric.name}")
        if own is None and not metric.primary:
            return None
        why = _why_never(entry, metric)
        if not why and own is None and metric.unit not in _SHARES:
            why = f"no limit of its own (it is in {metric.unit}; give it one with --metric)"
        if why:
            return _row(entry, metric, "left out", why)
        return replace(_row(entry, metric, "green", ""), limit=own or self.limit)

    def _partner(self, entry: StoredResult) -> tuple[StoredResult | None, dict[str, Any]]:
        """The one result to compare with, or verdict and reason where there is none."""
        result = entry.result
        same = [other for other in self.now if _same_subject(entry, other)]
        exact = [other for other in same if not why_not_comparable(result, other.result)]
        twins = [other for other in self.before if _same_subject(entry, other)]
        twins = [other for other in twins if not why_not_comparable(result, other.result)]
        for count, where in ((len(twins), "the baseline"), (len(exact), "what is checked")):
            if count > 1:
                reason = f"{where} has {count} results for it, of different weights; keep one per folder"
                return None, {"verdict": "error", "reason": reason}
        if exact and exact[0].result.status == "ok":
            return exact[0], {}
        for other in (*exact, *same):
            if other.result.status != "ok":
                reason = f"{other.result.status} now: {other.result.reason}"
                return None, {"verdict": "red", "reason": reason}
        if not same:
            reason = f"{result.evaluator.name} has no result for it now; the baseline has one"
            return None, {"verdict": "red", "reason": reason}
        nearest = min((why_not_comparable(result, other.result) for other in same), key=len)
        reason = f"not comparable with the baseline: {'; '.join(nearest)}. Make the baseline again"
        return None, {"verdict": "error", "reason": reason}

    def _judged(self, row: CheckedMetric, entry: StoredResult, partner: StoredResult) -> CheckedMetric:
        old = next(metric for metric in entry.result.metrics if metric.name == row.metric)
        new = next((metric for metric in partner.result.metrics if metric.name == row.metric), None)
        if new is None or new.value is None:
            reason = "is not reported any more" if new is None else f"{new.status} now: {new.reason}"
            return replace(row, verdict="red", reason=reason)
        row = replace(row, current=new.value)
        try:
            difference = self.paired.difference((partner, new), (entry, old))
        except ValueError as error:
            difference = str(error)
        if not isinstance(difference, Difference) or difference.low is None or difference.high is None:
            reason = difference if isinstance(difference, str) else difference.reason
            return replace(row, verdict="error", reason=f"cannot be judged: {reason}")
        return _with_interval(row, difference)


def _with_interval(row: CheckedMetric, difference: Difference) -> CheckedMetric:
    """The row with its worsening, red where all of the interval lies above the limit."""
    assert row.limit is not None
    assert row.baseline is not None
    assert difference.low is not None
    assert difference.high is not None
    sign = -1.0 if row.higher_is_better else 1.0
    low, high = sorted((sign * difference.low, sign * difference.high))
    is_red = low > row.limit.allowed(row.baseline)
    return replace(
        row,
        verdict="red" if is_red else "green",
        reason=f"worse by more than {row.limit}, beyond chance" if is_red else "",
        worse=sign * difference.value,
        low=low,
        high=high,
        ci_method=difference.method,
    )


def _same_subject(a: StoredResult, b: StoredResult) -> bool:
    return (a.result.sae.name, a.result.evaluator.name) == (b.result.sae.name, b.result.evaluator.name)


def _row(entry: StoredResult, metric: MetricValue | None, verdict: Verdict, reason: str) -> CheckedMetric:
    result = entry.result
    row = CheckedMetric(result.sae.name, result.sae.hook, result.evaluator.name, "", verdict, reason)
    if metric is None:
        return row
    return replace(
        row,
        metric=metric.name,
        baseline=metric.value,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
    )


def _gone(before: Sequence[StoredResult], now: Sequence[StoredResult]) -> Iterator[CheckedMetric]:
    """SAEs of the baseline that are not there any more."""
    there = {entry.result.sae.name for entry in now}
    for name in dict.fromkeys(entry.result.sae.name for entry in before):
        if name not in there:
            close = did_you_mean(name, there) if there else "There are no results of SAEs."
            reason = f"the baseline has this SAE, and now there is no result of it. {close}"
            yield CheckedMetric(name, "", "", "", "red", reason)


def _new(before: Sequence[StoredResult], now: Sequence[StoredResult]) -> Iterator[CheckedMetric]:
    """SAEs that the baseline does not have: nothing to compare, but a failure is one."""
    known = {entry.result.sae.name for entry in before}
    for name in dict.fromkeys(entry.result.sae.name for entry in now):
        if name in known:
            continue
        own = [entry.result for entry in now if entry.result.sae.name == name]
        failed = next((result for result in own if result.status == "failed"), None)
        if failed is None:
            yield CheckedMetric(name, own[0].sae.hook, "", "", "new", "not in the baseline yet")
        else:
            reason = f"{failed.evaluator.name} failed: {failed.reason}"
            yield CheckedMetric(name, "", "", "", "error", reason)
