"""Functions of several ratios with one denominator, as statistics whose resamples stay paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkmatter.stats import Influence

Floats = NDArray[np.float64]

STEP = 1e-5
"""Relative step of the numerical derivative."""


@dataclass(frozen=True, eq=False)
class FunctionOfRatios:
    """A function [fits, K] -> [fits] of K ratios with one denominator, as a statistic of unit weights.

    ``numerators`` [units, K], ``denominator`` [units]. All ratios of a resample are of the same units,
    so that members stay paired, and a fit is made anew for every resample.
    """

    numerators: Floats
    denominator: Floats
    function: Callable[[Floats], Floats]

    @property
    def n_units(self) -> int:
        """Units behind the sums."""
        return len(self.denominator)

    @property
    def ratios(self) -> Floats:
        """The ratios over all units [K]."""
        return np.asarray(self.numerators.sum(axis=0) / self.denominator.sum(), dtype=np.float64)

    def at(self, weights: Floats) -> Floats:
        """The function under each row of weights."""
        return self.function(weights @ self.numerators / (weights @ self.denominator)[:, None])

    def linearised(self) -> Influence:
        """The value with first-order contributions per unit, by differences of the function."""
        ratios = self.ratios
        # A ratio of 0 is one in every resample, so that its slope counts for nothing.
        step = np.where(ratios > 0, STEP * ratios, 1.0)
        steps = np.diag(np.where(ratios > 0, step, 0.0))
        values = self.function(np.concatenate([ratios[None], ratios + steps, ratios - steps]))
        above, below = np.split(values[1:], 2)
        up, down = (above - values[0]) / step, (values[0] - below) / step
        # Where one step leads out of what is defined, the other tells the slope.
        slopes = (np.where(np.isfinite(up), up, down) + np.where(np.isfinite(down), down, up)) / 2
        per_unit = (self.numerators - self.denominator[:, None] * ratios) / self.denominator.sum()
        return Influence(float(values[0]), per_unit @ slopes)
