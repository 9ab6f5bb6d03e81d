"""Area under the ROC curve, P(s⁺ > s⁻) + ½ P(s⁺ = s⁻), with what every unit contributes to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkmatter.stats import Influence

Floats = NDArray[np.float64]


@dataclass
class Pairs:
    """Pairs of a positive and a negative row: which are in the right order, by unit; ties count half.

    ``right`` and ``all`` [units] are what each unit takes part in, with either of its rows. Rows added in
    one call are compared among themselves alone.
    """

    right: Floats
    all: Floats
    n_right: float = 0.0
    n_all: float = 0.0

    @classmethod
    def none(cls, n_units: int) -> Pairs:
        """No pairs yet."""
        return cls(np.zeros(n_units), np.zeros(n_units))

    def add(self, scores: Floats, positive: NDArray[np.bool_], unit: NDArray[np.int64]) -> None:
        """Compare rows with scores [n], whether each is positive [n], and units [n]."""
        above, below = scores[positive], scores[~positive]
        wins = _beaten(above, below)
        np.add.at(self.right, unit[positive], wins)
        np.add.at(self.right, unit[~positive], len(above) - _beaten(below, above))
        np.add.at(self.all, unit[positive], float(len(below)))
        np.add.at(self.all, unit[~positive], float(len(above)))
        self.n_right += float(wins.sum())
        self.n_all += float(len(above) * len(below))

    def area(self) -> Influence | None:
        """The area with the first-order contribution of each unit; None without pairs."""
        if self.n_all == 0:
            return None
        value = self.n_right / self.n_all
        return Influence(value, (self.right - value * self.all) / self.n_all)


def area(
    scores: Floats, positive: NDArray[np.bool_], unit: NDArray[np.int64], n_units: int
) -> Influence | None:
    """The area of one score for rows ``positive``, all compared; None where one class is missing."""
    pairs = Pairs.none(n_units)
    pairs.add(scores, positive, unit)
    return pairs.area()


def _beaten(mine: Floats, theirs: Floats) -> Floats:
    """How many of ``theirs`` each of ``mine`` is above, ties half [len(mine)]."""
    theirs = np.sort(theirs)
    below, upto = np.searchsorted(theirs, mine, "left"), np.searchsorted(theirs, mine, "right")
    return np.asarray((below + upto) / 2, dtype=np.float64)
