"""Which SAEs are best in a column, and which cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from darkmatter.results.comparable import other_company
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.table import Mark
from darkmatter.results.units import Units
from darkmatter.stats.paired import Difference, difference_of, holm_intervals
from darkmatter.stats.resample import Resampler, Spread

Entry = tuple[StoredResult, MetricValue]


class PairedUnits:
    """Spreads of metrics over their units, computed once and shared by all comparisons.

    A spread is as large as the replicates are many: who has compared a column forgets its spreads.
    """

    def __init__(self) -> None:
        self._units: dict[int, Units | None] = {}
        self._resamplers: dict[tuple[int, int, str], Resampler] = {}
        self._spreads: dict[tuple[int, str], Spread | None] = {}

    def difference(self, a: Entry, b: Entry) -> Difference | str:
        """The paired difference a - b, or the reason why there is none."""
        if company := other_company(a[0].result, b[0].result):
            return company[0]
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

    def forget_spreads(self) -> None:
        """Free what was computed for the metrics so far; the units stay."""
        self._spreads.clear()

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
    """The best SAE of a column and those that cannot be told from it, by name.

    The best is chosen by the data, so the family of Holm's procedure is all pairs of the column. Without
    an interval nothing is won: an SAE that could not be tested against the best ties with it, and where
    none could be, the best value is no tested best and nothing is marked.
    """
    usable = {name: entry for name, entry in column.items() if entry[1].value is not None}
    direction = {entry[1].higher_is_better for entry in usable.values()}
    values = {entry[1].value for entry in usable.values()}
    if len(values) < 2 or len(direction) != 1 or None in direction:
        return {}
    sign = 1.0 if direction.pop() else -1.0
    best = max(usable, key=lambda name: sign * _value(usable[name]))
    others = [name for name in usable if name != best]
    ties = tested_ties([(usable[best], usable[name]) for name in others], paired, among=len(usable))
    if all(is_tie is None for is_tie in ties):
        return {}
    made: dict[str, Mark] = {best: "best"}
    made.update((name, "tie") for name, is_tie in zip(others, ties, strict=True) if is_tie is not False)
    return made


def tested_ties(
    pairs: Sequence[tuple[Entry, Entry]], paired: PairedUnits, *, among: int
) -> list[bool | None]:
    """For each pair whether its difference may be zero; None where it has no interval.

    Their values chose these pairs among those of ``among`` SAEs, which are the family. What was computed
    for these metrics is freed.
    """
    found = [paired.difference(a, b) for a, b in pairs]
    paired.forget_spreads()
    differences = [each for each in found if isinstance(each, Difference)]
    judged = iter(holm_intervals(differences, of=among * (among - 1) // 2))
    return [next(judged).is_tie if isinstance(each, Difference) else None for each in found]


def _value(entry: Entry) -> float:
    value = entry[1].value
    assert value is not None
    return value
