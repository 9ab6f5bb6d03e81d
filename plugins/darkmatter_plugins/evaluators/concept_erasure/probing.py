"""A linear probe, and the area under its ROC curve on rows that it was not fitted on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darkmatter.stats import Influence
from darkmatter_plugins.auroc import Pairs

GUARDED = 1e-9
"""Class means closer than this share of what they were are equal up to round-off: no linear probe learns."""


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


def compare(pairs: Pairs, scores: Tensor, z: Tensor, unit: Tensor) -> None:
    """Add rows with scores [n], labels [n] and units [n]."""
    pairs.add(scores.cpu().numpy(), z.cpu().numpy() == 1, unit.cpu().numpy())


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
    compare(pairs, test[0] @ discriminant(*train, ridge, least), test[1], unit)
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
            scores = y[inside] @ discriminant(y[~inside], z[~inside], ridge, 0.0)
            compare(pairs, scores, z[inside], unit[inside])
    return pairs.area()


def mean_influence(found: list[Influence | None]) -> Influence | None:
    """The mean over several edits of one kind; None where one has none."""
    known = [each for each in found if each is not None]
    if not found or len(known) < len(found):
        return None
    contributions = np.mean([each.contributions for each in known], axis=0)
    return Influence(float(np.mean([each.value for each in known])), contributions)
