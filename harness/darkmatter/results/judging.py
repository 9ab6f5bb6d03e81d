"""One metric of now against the same metric of the baseline.

What is compared follows from the sums of both sides. Unit and direction are those of now: a baseline
that states others cannot turn worse into better, or a checked metric into one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from darkmatter.results.checked import CheckedMetric, Verdict
from darkmatter.results.follows import why_not_from_sums
from darkmatter.results.limits import Limit
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.ties import PairedUnits
from darkmatter.stats.paired import Difference

_SHARES = ("", "%")
"""Units of metrics of which a share means the same at every size."""
NO_SUMS = "no sums over contexts to tell change from chance"


@dataclass(frozen=True)
class Judge:
    """Verdicts on metrics: ``limit`` for all that have none of their own in ``limits``."""

    limit: Limit
    limits: Mapping[str, Limit]
    paired: PairedUnits = field(default_factory=PairedUnits)

    def wanted(self, entry: StoredResult, metric: MetricValue) -> CheckedMetric | None:
        """A row that waits for its verdict, one that is left out, or None for what nobody asked for."""
        own = self.limits.get(f"{entry.result.evaluator.name}.{metric.name}")
        if own is None and not metric.primary:
            return None
        why = why_no_direction(metric)
        if not why and own is None and metric.unit not in _SHARES:
            why = f"no limit of its own (it is in {metric.unit}; give it one with --metric)"
        if why:
            return CheckedMetric.of(entry, metric, "left out", why)
        return replace(CheckedMetric.of(entry, metric, "green"), limit=own or self.limit)

    def without_baseline(self, entry: StoredResult, metric: MetricValue, why: str) -> CheckedMetric | None:
        """A metric of now that there is nothing to compare with; None where it would not be checked."""
        row = self.wanted(entry, metric)
        if row is None or row.limit is None or metric.value is None or not has_sums(entry, metric.name):
            return None
        return replace(row, verdict="not compared", reason=why, current=metric.value)

    def pair(
        self, entry: StoredResult, old: MetricValue, partner: StoredResult, new: MetricValue | None
    ) -> CheckedMetric | None:
        """The verdict on a metric that the baseline has; None for what nobody asked for."""
        row = self.wanted(entry, old) if new is None else self.wanted(partner, new) or self.wanted(entry, old)
        if row is None:
            return None
        row = replace(row, baseline=old.value, current=None if new is None else new.value)
        if row.verdict == "left out":
            return row
        if new is not None and (old.unit, old.higher_is_better) != (new.unit, new.higher_is_better):
            reason = "its unit or its better direction is not that of the baseline. Make the baseline again"
            return replace(row, verdict="error", reason=reason)
        return self._compared(row, (entry, old), (partner, new))

    def _compared(
        self,
        row: CheckedMetric,
        before: tuple[StoredResult, MetricValue],
        now: tuple[StoredResult, MetricValue | None],
    ) -> CheckedMetric:
        old, new = before[1], now[1]
        if old.value is None:
            known = new is not None and new.value is not None
            reason = f"{old.status} in the baseline: {old.reason}"
            return replace(row, verdict="not compared" if known else "left out", reason=reason, limit=None)
        if new is None or new.value is None:
            reason = "is not reported any more" if new is None else f"{new.status} now: {new.reason}"
            return replace(row, verdict="red", reason=reason)
        summed = has_sums(before[0], old.name), has_sums(now[0], new.name)
        if not all(summed):
            if summed[0]:
                return replace(row, verdict="error", reason=f"cannot be judged: now it has {NO_SUMS}")
            if summed[1]:
                return replace(row, verdict="not compared", reason="no sums over contexts in the baseline")
            return replace(row, verdict="left out", reason=NO_SUMS)
        return self._judged(row, before, (now[0], new))

    def _judged(
        self,
        row: CheckedMetric,
        before: tuple[StoredResult, MetricValue],
        now: tuple[StoredResult, MetricValue],
    ) -> CheckedMetric:
        try:
            for (entry, metric), whose in ((before, "the baseline's value"), (now, "the value")):
                units = self.paired.units(entry)
                why = "" if units is None else why_not_from_sums(metric, units)
                if why:
                    reason = f"{whose} does not follow from its sums: {why}. Make the result again"
                    return replace(row, verdict="error", reason=reason)
            difference = self.paired.difference(now, before)
        except ValueError as error:
            difference = str(error)
        if isinstance(difference, Difference) and difference.low is not None and difference.high is not None:
            return _with_interval(row, difference, difference.low, difference.high)
        if before[1].ci_low is None:
            verdict: Verdict = "left out" if now[1].ci_low is None else "not compared"
            return replace(row, verdict=verdict, reason="no interval in the baseline")
        reason = difference if isinstance(difference, str) else difference.reason
        return replace(row, verdict="error", reason=f"cannot be judged: {reason}")


def why_no_direction(metric: MetricValue) -> str:
    """What a metric lacks so that nobody could say when it is worse; empty if nothing."""
    return "no direction in which it is worse" if metric.higher_is_better is None else ""


def has_sums(entry: StoredResult, metric: str) -> bool:
    """Whether a result has the sums that a metric follows from."""
    record = entry.result.units or entry.units()
    return record is not None and metric in record.estimators


def _with_interval(row: CheckedMetric, difference: Difference, low: float, high: float) -> CheckedMetric:
    """The row with its worsening, red where all of the interval lies above the limit."""
    assert row.limit is not None
    assert row.baseline is not None
    sign = -1.0 if row.higher_is_better else 1.0
    low, high = sorted((sign * low, sign * high))
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
