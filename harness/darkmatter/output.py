"""What an evaluator gives back: metrics with intervals, tables, curves, notes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from darkmatter.errors import PluginError
from darkmatter.results.schema import Estimator, MetricValue

if TYPE_CHECKING:
    import numpy as np

    from darkmatter.descriptors import Evaluator, Metric
    from darkmatter.stats.resample import Influence, Interval, Resampler, Statistic


class EvalOutput:
    """Collects what one evaluator finds on one SAE.

    ``columns`` are sums per resampling unit over the held-out rows; a metric that is a ratio of two
    columns gets its 95% interval from resampling the units, and the columns are kept beside the
    result so that two SAEs can be compared on the same units. ``unfinished`` says what could not be found
    out this time (a server was down); such a result stands, and the next run makes it again.
    """

    def __init__(self, evaluator: Evaluator, resampler: Resampler, n_rows: int) -> None:
        self.metrics: list[MetricValue] = []
        self.tables: dict[str, Any] = {}
        self.curves: dict[str, Any] = {}
        self.notes: list[str] = []
        self.unfinished = ""
        self.columns: dict[str, np.ndarray] = {}
        self.estimators: dict[str, Estimator] = {}
        self._evaluator = evaluator
        self._resampler = resampler
        self._n = n_rows
        self.n_units, self.unit_kind = resampler.n_units, resampler.unit
        self._why_no_interval = ""
        self._given: set[str] = set()

    def without_intervals(self, reason: str, n_rows: int) -> None:
        """From here on metrics are over ``n_rows`` rows that are no held-out units, so without intervals."""
        self._why_no_interval, self._n = reason, n_rows

    def on_rows(self, n_rows: int) -> None:
        """From here on metrics are over ``n_rows`` of the held-out rows, of whatever units."""
        self._n = n_rows

    def add_columns(self, columns: dict[str, np.ndarray]) -> None:
        """Keep sums per unit, float64 [n_units] each, under their names."""
        self.columns.update(columns)

    def ratio(
        self,
        name: str,
        numerator: str,
        denominator: str,
        *,
        complement: bool = False,
        floor: float = 0.0,
        undefined: str = "its denominator is zero",
    ) -> None:
        """The metric Σ numerator / Σ denominator over units, or one minus that.

        Undefined, for the reason given, where the denominator does not exceed ``floor``; so is a resample
        whose denominator does not.
        """
        top, bottom = self.columns[numerator], self.columns[denominator]
        total = float(bottom.sum())
        if not total > floor:
            self.undefined(name, undefined)
            return
        share = float(top.sum()) / total
        value = 1.0 - share if complement else share
        if self._why_no_interval:
            self.plain(name, value, why_no_interval=self._why_no_interval)
            return
        interval = self._resampler.interval_ratio(top, bottom, complement=complement, floor=floor)
        kind = Estimator(numerator=numerator, denominator=denominator, complement=complement)
        self._add(name, value, interval, kind)

    def statistic(
        self, name: str, statistic: Statistic, linearised: Influence, *, is_smooth: bool = True
    ) -> None:
        """A metric that is no ratio of sums: resampled as it is, kept as contributions per unit.

        Contributions that are no numbers are not kept, so that two SAEs are not compared by them. Neither
        are those of a statistic that is not smooth: to first order it differs from itself by too much.
        """
        import numpy as np

        if self._why_no_interval:
            self.plain(name, linearised.value, why_no_interval=self._why_no_interval)
            return
        key = f"{name}:influence"
        kind = None
        if is_smooth and math.isfinite(linearised.value) and np.isfinite(linearised.contributions).all():
            self.columns[key] = linearised.contributions
            kind = Estimator(kind="influence", numerator=key)
        self._add(name, linearised.value, self._resampler.interval(statistic), kind)

    def mean_over(self, name: str, values: np.ndarray, *, units: str) -> None:
        """The mean of values [n] of sampled things (latents, training seeds), which are resampled.

        ``units`` is what they are, in the plural. They are no held-out rows, so no sums are kept and two
        SAEs are not compared by them.
        """
        import numpy as np

        from darkmatter.stats.resample import Resampler

        if not (len(values) and np.isfinite(values).all()):
            self.undefined(name, f"there are no {units} with a finite value")
            return
        resampler = Resampler(len(values), self._resampler.seed, unit=units)
        interval = resampler.interval_ratio(values, np.ones(len(values)))
        low, high = self._inside(name, interval)
        value = self._value(
            name, value=float(values.mean()), ci_low=low, ci_high=high, ci_method=interval.method
        )
        self.metrics.append(value.model_copy(update={"n": len(values)}))

    def plain(self, name: str, value: float, *, why_no_interval: str) -> None:
        """A metric without an interval, and why it has none."""
        if not math.isfinite(value):
            self.undefined(name, "it is not a finite number")
            return
        self.metrics.append(self._value(name, value=value, ci_method=f"none: {why_no_interval}"))

    def undefined(self, name: str, reason: str) -> None:
        """A metric that has no value here, and why."""
        self.metrics.append(self._value(name, value=None, status="undefined", reason=reason))

    def _add(self, name: str, value: float, interval: Interval, estimator: Estimator | None) -> None:
        if not math.isfinite(value):
            self.undefined(name, "it is not a finite number")
            return
        if estimator is not None:
            self.estimators[name] = estimator
        low, high = self._inside(name, interval)
        self.metrics.append(
            self._value(name, value=value, ci_low=low, ci_high=high, ci_method=interval.method)
        )

    def _inside(self, name: str, interval: Interval) -> tuple[float | None, float | None]:
        """The interval cut to the metric's range."""
        metric = self._evaluator.metric(name)
        low, high = interval.low, interval.high
        if metric is None or low is None or high is None:
            return low, high
        return metric.inside(low), metric.inside(high)

    def _value(self, name: str, **fields: Any) -> MetricValue:
        meaning: Metric | None = self._evaluator.metric(name)
        if meaning is None:
            message = (
                f"the evaluator {self._evaluator.name!r} gave the metric {name!r}, which it does not declare"
            )
            raise PluginError(message)
        if name in self._given:
            message = f"the evaluator {self._evaluator.name!r} gave the metric {name!r} twice; give it once"
            raise PluginError(message)
        self._given.add(name)
        return MetricValue(
            name=name,
            n=self._n,
            unit=meaning.unit,
            higher_is_better=meaning.higher_is_better,
            primary=meaning.primary,
            **fields,
        )
