"""One metric of now against the same metric of the baseline.

What is compared follows from the sums of both sides. Unit and direction are those of now: a baseline
that states others cannot turn worse into better, or a checked metric into one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from darkmatter.results.checked import CheckedMetric, Verdict
from darkmatter.results.follows import why_not_from_sums
from darkmatter.results.limits import SPARSITY, STANDING_LIMITS, Limit
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Estimator, MetricValue
from darkmatter.results.ties import PairedUnits
from darkmatter.stats.paired import ROUND_OFF, Difference

_SHARES = ("", "%")
"""Units of metrics of which a share means the same at every size."""
NO_SUMS = "no sums over contexts to tell change from chance"
VALUES_ALONE = "the values alone, without an interval"


@dataclass(frozen=True)
class Judge:
    """Verdicts on metrics: ``limit`` for all that have none of their own in ``limits``."""

    limit: Limit
    limits: Mapping[str, Limit]
    paired: PairedUnits = field(default_factory=PairedUnits)

    def wanted(self, entry: StoredResult, metric: MetricValue) -> CheckedMetric | None:
        """A row that waits for its verdict, one that is left out, or None for what nobody asked for."""
        row = CheckedMetric.of(entry, metric, "green")
        own = self.limits.get(row.called) or STANDING_LIMITS.get(row.called)
        if own is not None:
            return replace(row, limit=own)
        if not metric.primary:
            return None
        why = "" if metric.higher_is_better is not None else "no direction in which it is worse"
        if not why and metric.unit not in _SHARES:
            why = f"no limit of its own (it is in {metric.unit}; give it one with --metric)"
        return _left_out(row, why) if why else replace(row, limit=self.limit)

    def without_baseline(self, entry: StoredResult, metric: MetricValue, why: str) -> CheckedMetric | None:
        """A metric of now that there is nothing to compare with; None where it would not be checked."""
        row = self.wanted(entry, metric)
        if row is None or row.limit is None or metric.value is None:
            return None
        if row.called not in self.limits and not has_sums(entry, metric.name):
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
        if old.value is not None and (new is None or new.value is None):
            reason = "is not reported any more" if new is None else f"{new.status} now: {new.reason}"
            return replace(row, verdict="red", reason=reason)
        if new is not None and (old.unit, old.higher_is_better) != (new.unit, new.higher_is_better):
            reason = "its unit or its better direction is not that of the baseline. Make the baseline again"
            return replace(row, verdict="error", reason=reason)
        if row.verdict == "left out":
            return row
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
        assert new is not None
        assert new.value is not None
        try:
            had, has = has_sums(before[0], old.name), has_sums(now[0], new.name)
        except ValueError as error:
            return replace(row, verdict="error", reason=f"cannot be judged: {error}")
        if had and not has:
            return replace(row, verdict="error", reason=f"cannot be judged: now it has {NO_SUMS}")
        if has and not had:
            return replace(row, verdict="not compared", reason="no sums over contexts in the baseline")
        if not has:
            limited = row.called in self.limits
            return _with_values_alone(row, old.value, new.value) if limited else _left_out(row, NO_SUMS)
        return self._judged(row, before, (now[0], new))

    def _judged(
        self,
        row: CheckedMetric,
        before: tuple[StoredResult, MetricValue],
        now: tuple[StoredResult, MetricValue],
    ) -> CheckedMetric:
        try:
            if self._estimator(*before) != self._estimator(*now):
                reason = "it follows from other sums than in the baseline. Make the baseline again"
                return replace(row, verdict="error", reason=reason)
            for (entry, metric), whose in ((before, "the baseline's value"), (now, "the value")):
                units = self.paired.units(entry)
                why = "" if units is None else why_not_from_sums(metric, units)
                if why:
                    reason = f"{whose} does not follow from its sums: {why}. Make the result again"
                    return replace(row, verdict="error", reason=reason)
            difference = self.paired.difference(now, before)
        except ValueError as error:
            return replace(row, verdict="error", reason=f"cannot be judged: {error}")
        if isinstance(difference, Difference) and difference.low is not None and difference.high is not None:
            return _with_interval(row, difference, difference.low, difference.high)
        if before[1].ci_low is None:
            verdict: Verdict = "left out" if now[1].ci_low is None else "not compared"
            return replace(row, verdict=verdict, reason="no interval in the baseline")
        reason = difference if isinstance(difference, str) else difference.reason
        return replace(row, verdict="error", reason=f"cannot be judged: {reason}")

    def _estimator(self, entry: StoredResult, metric: MetricValue) -> Estimator | None:
        units = self.paired.units(entry)
        return None if units is None else units.estimators.get(metric.name)


def has_sums(entry: StoredResult, metric: str) -> bool:
    """Whether a result has the sums that a metric follows from."""
    record = entry.result.units or entry.units()
    return record is not None and metric in record.estimators


def _left_out(row: CheckedMetric, why: str) -> CheckedMetric:
    return replace(row, verdict="left out", reason=why)


def _with_interval(row: CheckedMetric, difference: Difference, low: float, high: float) -> CheckedMetric:
    """The row with its worsening, red where all of the interval lies beyond the limit."""
    sign = -1.0 if row.higher_is_better else 1.0
    low, high = sorted((sign * low, sign * high))
    row = replace(row, worse=sign * difference.value, low=low, high=high, ci_method=difference.method)
    return _limited(row, low, high, "beyond chance")


def _with_values_alone(row: CheckedMetric, old: float, new: float) -> CheckedMetric:
    """The verdict on a metric without sums, for which a limit was given: nothing is known of chance."""
    worse = (old - new) if row.higher_is_better else (new - old)
    return _limited(replace(row, worse=worse, ci_method=VALUES_ALONE), worse, worse, VALUES_ALONE)


def _limited(row: CheckedMetric, low: float, high: float, known: str) -> CheckedMetric:
    """Red where ``low`` to ``high`` lies beyond the limit; on either side where no direction is worse."""
    assert row.limit is not None
    assert row.baseline is not None
    beyond = max(low, -high) if row.is_two_sided else low
    if beyond <= row.limit.allowed(row.baseline) + _round_off(row):
        return row
    how = "changed" if row.is_two_sided else "worse"
    reason = f"{how} by more than {row.limit}, {known}"
    if row.called == SPARSITY:
        reason = (
            f"the SAEs are not at one L0: it {reason}. Compare at matched sparsity, or say how far it may "
            f"change with --metric {SPARSITY}=LIMIT"
        )
    return replace(row, verdict="red", reason=reason)


def _round_off(row: CheckedMetric) -> float:
    """What rounding may leave where nothing changed, in the metric's unit.

    It is a share of the metric's scale: of its values, and of 1 (100 in percent), which a baseline of 0
    does not tell. A ratio of sums of one kind is 1 where both are equal.
    """
    whole = 100.0 if row.unit == "%" else 1.0
    return ROUND_OFF * max(whole, abs(row.baseline or 0.0), abs(row.current or 0.0))
