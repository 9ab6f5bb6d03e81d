"""A linear probe, and the area under its ROC curve with what every unit contributes to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkmatter.stats import Influence

GUARDED = 1e-9
"""Class means closer than this share of what they were are equal up to round-off: no linear probe learns."""

Floats = NDArray[np.float64]


def discriminant(y: Tensor, z: Tensor, ridge: float, least: float) -> Tensor:
    """The direction [d] of linear discriminant analysis: (S + r tr(S)/d I)⁻¹ Δ.

    S is the covariance within the classes, r the ``ridge``. Where |Δ| is not above ``least``, no linear
    probe fitted on these rows is better than a constant; the direction is then 0 and its scores are ties.
    """
    means = [y[z == label].mean(dim=0) for label in (0, 1)]
    difference = means[1] - means[0]
    if not float(difference.norm()) > least:
        return torch.zeros_like(difference)
    within = torch.cat([y[z == label] - means[label] for label in (0, 1)])
    covariance = within.T @ within / len(within)
    size = covariance.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    covariance.diagonal().add_(ridge * size)
    direction: Tensor = torch.linalg.solve(covariance, difference)
    return direction


def accuracy(y: Tensor, z: Tensor, ridge: float) -> float:
    """Share of rows on the right side of their own probe, whose threshold is midway between the means."""
    scores = y @ discriminant(y, z, ridge, 0.0)
    middle = (scores[z == 1].mean() + scores[z == 0].mean()) / 2
    return float(((scores > middle) == (z == 1)).double().mean())


@dataclass
class Pairs:
    """Pairs of a row with label 1 and one with label 0: which are in the right order, by unit.

    The area under the curve is right / all; ties count half. ``right`` and ``all`` [units] are what each
    unit takes part in, with either of its rows.
    """

    right: Floats
    all: Floats
    n_right: float = 0.0
    n_all: float = 0.0

    @classmethod
    def none(cls, n_units: int) -> Pairs:
        """No pairs yet."""
        return cls(np.zeros(n_units), np.zeros(n_units))

    def add(self, scores: Tensor, z: Tensor, unit: Tensor) -> None:
        """Compare rows with scores [n], labels [n] and units [n] among themselves."""
        score, label, units = scores.cpu().numpy(), z.cpu().numpy(), unit.cpu().numpy()
        for own, other in ((1, 0), (0, 1)):
            mine, theirs = score[label == own], np.sort(score[label == other])
            below = np.searchsorted(theirs, mine, "left")
            tied = np.searchsorted(theirs, mine, "right") - below
            wins = below + 0.5 * tied if own == 1 else len(theirs) - below - 0.5 * tied
            np.add.at(self.right, units[label == own], wins)
            np.add.at(self.all, units[label == own], float(len(theirs)))
        self.n_right += float(wins.sum())
        self.n_all += float(len(mine) * len(theirs))

    def area(self) -> Influence | None:
        """The area with the first-order contribution of each unit; None without pairs."""
        if self.n_all == 0:
            return None
        value = self.n_right / self.n_all
        return Influence(value, (self.right - value * self.all) / self.n_all)


def held_out_area(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    unit: Tensor,
    n_units: int,
    ridge: float,
    least: float,
) -> Influence | None:
    """The area on test rows (y, z) of a probe fitted on the training rows (y, z)."""
    pairs = Pairs.none(n_units)
    pairs.add(test[0] @ discriminant(*train, ridge, least), test[1], unit)
    return pairs.area()


def fresh_area(
    test: tuple[Tensor, Tensor], unit: Tensor, n_units: int, folds: int, ridge: float
) -> Influence | None:
    """The area of probes fitted on some test units and measured on the others, each unit once.

    Scores of different probes are not compared with each other.
    """
    y, z = test
    pairs, fold = Pairs.none(n_units), unit % folds
    for number in range(folds):
        inside = fold == number
        if all((z[~inside] == label).any() for label in (0, 1)):
            pairs.add(y[inside] @ discriminant(y[~inside], z[~inside], ridge, 0.0), z[inside], unit[inside])
    return pairs.area()


def mean_influence(found: list[Influence | None]) -> Influence | None:
    """The mean over several edits of one kind; None where one has none."""
    known = [each for each in found if each is not None]
    if not found or len(known) < len(found):
        return None
    contributions = np.mean([each.contributions for each in known], axis=0)
    return Influence(float(np.mean([each.value for each in known])), contributions)
