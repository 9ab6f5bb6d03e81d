"""Whether the numbers of a row follow from the per-unit sums of its sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from darkmatter.descriptors import Evaluator, Metric
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.findings import AGAIN, Finding
from darkmatter.results.follows import slack, why_not_from_sums
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.units import Units
from darkmatter.stats.resample import Influence, Resampler, Statistic

_OF_WIDTH = 0.1
"""How far the ends of an interval may lie from those made again, as a share of its width: numpy may
draw other replicates one day, and two thousand others move a percentile by less than this."""
_FIRST_ORDER = 3.0
"""By which factor the width of an interval may differ from that of first-order contributions."""

MAX_UNITS = 100_000
"""A file of the size that is allowed holds a dozen sums of so many; more only make the check slow."""


def sums_findings(row: BoardRow, evaluators: Mapping[str, Evaluator]) -> Iterator[Finding]:
    """What in a row does not follow from its sidecar."""
    for reason in _reasons(row, evaluators.get(row.result.evaluator.name)):
        yield Finding(row.file, reason, AGAIN)


def _reasons(row: BoardRow, evaluator: Evaluator | None) -> Iterator[str]:
    try:
        units = row.stored.units()
    except ValueError as error:
        yield f"its sidecar cannot be used: {error}"
        return
    if units is None:
        return
    if len(units) > MAX_UNITS:
        yield f"its sidecar holds {len(units)} units; more than {MAX_UNITS} are not resampled"
        return
    if not all(np.isfinite(column).all() for column in units.columns.values()):
        yield "its sidecar holds values that are NaN or infinite"
        return
    if len(units) == 0 or (units.ids != np.arange(len(units))).any():
        # Every run counts the held-out units from zero; with other ids, pairs would be of different texts.
        yield "its sidecar has no units, or does not count them 0, 1, 2, and so on"
        return
    unknown = sorted({*units.estimators} - {metric.name for metric in row.result.metrics})
    if unknown:
        yield f"its sidecar tells of metrics that it has not: {', '.join(unknown[:3])}"
    for metric in row.result.metrics:
        described = None if evaluator is None else evaluator.metric(metric.name)
        yield from _metric(metric, described, units, row.result)


def _metric(metric: MetricValue, described: Metric | None, units: Units, result: Result) -> Iterator[str]:
    if metric.value is None:
        if metric.name in units.estimators:
            yield f"{metric.name}: is {metric.status}, but its sidecar has the sums that give it"
        return
    statistic = units.statistic(metric.name, metric.value)
    if statistic is None:
        return
    if why := why_not_from_sums(metric, units):
        yield f"{metric.name}: {why}"
    else:
        yield from _interval(metric, described, statistic, units, result)


def _interval(
    metric: MetricValue, described: Metric | None, statistic: Statistic, units: Units, result: Result
) -> Iterator[str]:
    seed = result.analysis.get("seed")
    if not isinstance(seed, int):
        return
    made = Resampler(len(units), seed, unit=units.kind).interval(statistic)
    if metric.ci_low is None or metric.ci_high is None:
        if made.low is not None:
            yield f"{metric.name}: has no interval, but its sidecar gives [{made.low!r}, {made.high!r}]"
        return
    if made.low is None or made.high is None:
        yield f"{metric.name}: has an interval, but its sidecar gives none ({made.method})"
        return
    width = made.high - made.low
    if isinstance(statistic, Influence):
        # Of a metric that is no ratio the sidecar has first-order contributions, which give a near interval.
        stated_width, rounding = metric.ci_high - metric.ci_low, slack(metric.value or 0.0)
        if max(stated_width, width) > _FIRST_ORDER * min(stated_width, width) + rounding:
            yield f"{metric.name}: its interval is {stated_width:.6g} wide, by its sidecar {width:.6g}"
        return
    room = _OF_WIDTH * width + slack(metric.value or 0.0)
    stated, follows = (metric.ci_low, metric.ci_high), (made.low, made.high)
    if described is not None:
        follows = described.inside(made.low), described.inside(made.high)
    if any(abs(a - b) > room for a, b in zip(stated, follows, strict=True)):
        yield f"{metric.name}: its interval is {list(stated)}, but its sidecar gives {list(follows)}"
