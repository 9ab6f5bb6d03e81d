"""Single figures of a curve over the number of features m, taken at log2(1 + m)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkmatter.stats import Influence

Floats = NDArray[np.float64]


def sizes(largest: int, also: int) -> list[int]:
    """0, 1, 2, 4, ... up to ``largest``, and the number at which single figures are given."""
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power <= largest]
    return sorted({0, *powers, largest, also})


def area(curve: Floats, at: Sequence[int], largest: int) -> Floats:
    """Mean of curves [n, sizes] over log2(1 + m) from 0 to ``largest``, by trapezoids: [n]."""
    place = np.log2(1 + np.asarray([m for m in at if m <= largest], dtype=np.float64))
    found: Floats = np.trapezoid(curve[:, : len(place)], place, axis=1) / place[-1]
    return found


@dataclass(frozen=True)
class Crossing:
    """The number of features at which the mean of curves [units, sizes] first falls to 0.

    Between two sizes it is a straight line in log2(1 + m).
    """

    curves: Floats
    at_sizes: Sequence[int]

    @property
    def n_units(self) -> int:
        """Pairs."""
        return len(self.curves)

    def at(self, weights: Floats) -> Floats:
        """The crossing under each row of weights; NaN where there is none."""
        return np.asarray([self._solve(sums)[0] for sums in weights @ self.curves], dtype=np.float64)

    def linearised(self) -> Influence | None:
        """The crossing with each unit's first-order contribution; None where there is none."""
        value, after, share = self._solve(self.curves.sum(axis=0))
        if not np.isfinite(value):
            return None
        place = self._places
        before, behind = self.curves[:, after - 1], self.curves[:, after]
        slope = (behind.sum() - before.sum()) / (place[after] - place[after - 1])
        height = (1 - share) * before + share * behind
        # The place moves by -height / slope, and m = 2^place - 1.
        return Influence(value, -height / slope * np.log(2.0) * (value + 1.0))

    @property
    def _places(self) -> Floats:
        return np.log2(1 + np.asarray(self.at_sizes, dtype=np.float64))

    def _solve(self, sums: Floats) -> tuple[float, int, float]:
        """The crossing, the size after it, and how far it is from the one before."""
        below = np.flatnonzero(sums <= 0)
        if not len(below) or below[0] == 0:
            return float("nan"), 0, 0.0
        after, place = int(below[0]), self._places
        share = float(sums[after - 1] / (sums[after - 1] - sums[after]))
        return float(2 ** (place[after - 1] + share * (place[after] - place[after - 1])) - 1), after, share
