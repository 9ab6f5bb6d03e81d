"""Curves of FVU over L0: reading them at an L0, inverting them, and the area between two.

Between its points a curve is straight over u(L0) = log L0 where L0 >= 1, and L0 - 1 below, so that it
starts at L0 = 0, where nothing is kept but the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darkmatter_plugins.evaluators.ratios import Floats

APART = 1.1
"""The least ratio of two L0s between which an area means something."""


def u(l0: Floats | float) -> Floats:
    """The axis along which curves are straight between their points."""
    l0 = np.asarray(l0, dtype=np.float64)
    return np.where(l0 >= 1, np.log(np.maximum(l0, 1.0)), l0 - 1)


def reading(l0s: Floats, at: Floats) -> Floats:
    """Weights [places, points] that read a curve with points at ``l0s`` (ascending) at the L0s ``at``.

    Of points with one L0 the last counts. Places outside the curve are NaN.
    """
    place = np.flatnonzero(np.append(np.diff(l0s) > 0, [True]))
    axis, wanted = u(l0s[place]), u(at)
    if len(place) == 1:
        right = left = np.zeros(len(wanted), dtype=np.intp)
        share = np.zeros(len(wanted))
    else:
        right = np.clip(np.searchsorted(axis, wanted), 1, len(place) - 1)
        left = right - 1
        share = (wanted - axis[left]) / (axis[right] - axis[left])
    weights = np.zeros((len(wanted), len(l0s)))
    rows = np.arange(len(wanted))
    weights[rows, place[left]] += 1 - share
    weights[rows, place[right]] += share
    weights[(wanted < axis[0]) | (wanted > axis[-1])] = np.nan
    return weights


def matched(l0s: Floats, fvus: Floats, fvu: Floats) -> Floats:
    """The smallest L0 [fits] at which falling curves ``fvus`` [fits, points] reach ``fvu`` [fits].

    NaN where the curve starts at or below it (the dictionary is no better than the mean) or ends above it.
    """
    reached = fvus <= fvu[:, None]
    right = reached.argmax(axis=1)
    usable = reached.any(axis=1) & (right > 0)
    right = np.maximum(right, 1)
    rows, axis = np.arange(len(fvu)), u(l0s)
    high, low = fvus[rows, right - 1], fvus[rows, right]
    share = np.divide(high - fvu, high - low, out=np.ones_like(fvu), where=high > low)
    place = axis[right - 1] + share * (axis[right] - axis[right - 1])
    return np.where(usable, np.where(place >= 0, np.exp(np.maximum(place, 0)), place + 1), np.nan)


@dataclass(frozen=True, eq=False)
class Area:
    """The mean of (baseline - frontier) over u(L0), where both are there.

    The frontier runs through the lowest FVU that any SAE of no larger L0 has, at the L0 of every SAE.
    """

    order: np.ndarray
    frontier: Floats
    baseline: Floats
    weights: Floats

    @classmethod
    def between(cls, members: Floats, baseline: Floats) -> Area | str:
        """For SAEs with these L0s and a baseline with points at these; or why there is none."""
        low, high = float(members.min()), float(min(members.max(), baseline.max()))
        if len(members) < 2:
            return "one SAE makes no curve"
        if not high > max(low, 1e-9) * APART:
            return f"the family and the baseline share no range of L0 (within {APART - 1:.0%} of {low:.3g})"
        order = np.argsort(members, kind="stable")
        knots = np.unique(np.concatenate([members, baseline, [low, high]]))
        knots = knots[(knots >= low) & (knots <= high)]
        steps = np.diff(u(knots))
        weights = np.zeros(len(knots))
        weights[:-1] += steps / 2
        weights[1:] += steps / 2
        # Of SAEs with one L0 the last is read, which in `of` holds the least FVU up to there.
        frontier = reading(members[order], knots)
        return cls(order, frontier, reading(baseline, knots), weights / steps.sum())

    def of(self, members: Floats, baseline: Floats) -> Floats:
        """The area [fits] for FVUs [fits, members] and [fits, points]."""
        best = np.minimum.accumulate(members[:, self.order], axis=1)
        return np.asarray(
            (baseline @ self.baseline.T - best @ self.frontier.T) @ self.weights, dtype=np.float64
        )
