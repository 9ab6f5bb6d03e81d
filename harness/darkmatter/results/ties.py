"""Which SAEs are best in a column, and which cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.table import Mark
from darkmatter.results.units import Units
from darkmatter.stats.paired import Difference, difference_of, holm_intervals
from darkmatter.stats.resample import Resampler, Spread

Entry = tuple[StoredResult, MetricValue]


class PairedUnits:
    """Spreads of metrics over their units, computed once and shared by all comparisons."""

    def __init__(self) -> None:
        self._units: dict[int, Units | None] = {}
        self._resamplers: dict[tuple[int, int, str], Resampler] = {}
        self._spreads: dict[tuple[int, str], Spread | None] = {}

    def difference(self, a: Entry, b: Entry) -> Difference | str:
        """The paired difference a - b, or the reason why there is none."""
        left, right = self.units(a[0]), self.units(b[0])
        if left is None or right is None:
            return "no per-unit sums are stored"
        if left.kind != right.kind or not np.array_equal(left.ids, right.ids):
            return "they were measured on different units"
        first, second = self._spread(a, left), self._spread(b, right)
        if first is None or second is None:
            return "the metric has no per-unit sums"
        difference = difference_of(self._resampler(a[0], left), first, second)
        return difference.reason if difference.error is None else difference

    def units(self, entry: StoredResult) -> Units | None:
        """The sums of a result, read once."""
        if id(entry) not in self._units:
            self._units[id(entry)] = entry.units()
        return self._units[id(entry)]

    def _resampler(self, entry: StoredResult, units: Units) -> Resampler:
        seed = entry.result.analysis.get("seed", 0)
        identity = (len(units), seed if isinstance(seed, int) else 0, units.kind)
        if identity not in self._resamplers:
            self._resamplers[identity] = Resampler(identity[0], identity[1], unit=units.kind)
        return self._resamplers[identity]

    def _spread(self, entry: Entry, units: Units) -> Spread | None:
        stored, metric = entry
        identity = (id(stored), metric.name)
        if identity not in self._spreads:
            statistic = None if metric.value is None else units.statistic(metric.name, metric.value)
            spread = None if statistic is None else self._resampler(stored, units).spread(statistic)
            self._spreads[identity] = spread
        return self._spreads[identity]


def marks(column: Mapping[str, Entry], paired: PairedUnits) -> dict[str, Mark]:
    """The best SAE of a column and those that tie with it, by name.

    The family of Holm's procedure is the column: the best against each of the others.
    """
    usable = {name: entry for name, entry in column.items() if entry[1].value is not None}
    direction = {entry[1].higher_is_better for entry in usable.values()}
    values = {entry[1].value for entry in usable.values()}
    if len(values) < 2 or len(direction) != 1 or None in direction:
        return {}
    sign = 1.0 if direction.pop() else -1.0
    best = max(usable, key=lambda name: sign * _value(usable[name]))
    made: dict[str, Mark] = {best: "best"}
    for name, is_tie in _ties(best, usable, paired):
        if is_tie:
            made[name] = "tie"
    return made


def _ties(best: str, usable: Mapping[str, Entry], paired: PairedUnits) -> Sequence[tuple[str, bool]]:
    """For every other SAE whether its difference to the best may be zero."""
    names, differences, equal = [], [], []
    for name, entry in usable.items():
        if name == best:
            continue
        difference = paired.difference(usable[best], entry)
        if isinstance(difference, Difference):
            names.append(name)
            differences.append(difference)
        elif _value(entry) == _value(usable[best]):
            equal.append((name, True))
    judged = zip(names, holm_intervals(differences), strict=True)
    return [*equal, *((name, bool(difference.is_tie)) for name, difference in judged)]


def _value(entry: Entry) -> float:
    value = entry[1].value
    assert value is not None
    return value
