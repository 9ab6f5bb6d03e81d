"""Whether a stated value follows from the per-unit sums it was stored with."""

from __future__ import annotations

import math

import numpy as np

from darkmatter.results.schema import MetricValue
from darkmatter.results.units import Units
from darkmatter.stats.resample import Influence

_ROUNDING = 1e-9
"""Relative tolerance: sums may be added in another order."""
_SMALLEST = 1e-3
"""Values below this are held to the tolerance of this one: a difference from 1 loses that many digits."""


def slack(value: float) -> float:
    """What rounding may add to a number."""
    return _ROUNDING * max(abs(value), _SMALLEST) if math.isfinite(value) else 0.0


def why_not_from_sums(metric: MetricValue, units: Units) -> str:
    """What the sums say instead of the stated value; empty where both agree or nothing can be said.

    A metric that is no ratio of sums has contributions alone, from which its value cannot be made
    again; they have to add up to zero.
    """
    statistic = None if metric.value is None else units.statistic(metric.name, metric.value)
    if metric.value is None or statistic is None:
        return ""
    if isinstance(statistic, Influence):
        total = float(statistic.contributions.sum())
        allowed = _ROUNDING * max(abs(metric.value), 1.0)
        return "" if abs(total) <= allowed else f"its contributions add up to {total:.6g}, not to 0"
    follows = float(statistic.at(np.ones((1, len(units))))[0])
    # Asked this way round, a value that is undefined by its sums does not pass.
    if abs(follows - metric.value) <= slack(metric.value):
        return ""
    return f"it is stated as {metric.value:.6g}, its sums give {follows:.6g}"
