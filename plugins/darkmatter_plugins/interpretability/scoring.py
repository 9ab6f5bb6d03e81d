"""Scores of simulators: correlation of predicted and true activations on held-out fragments."""

from __future__ import annotations

import math

from torch import Tensor

from darkmatter import api
from darkmatter_plugins.interpretability.simulators import Simulator

ROUND_OFF = 1e-24
"""A variance below this share of the mean square is round-off."""


def correlation(predicted: Tensor, truth: Tensor) -> float:
    """Pearson's correlation over all positions, NaN where either does not vary.

    A prediction that is affine in the truth scores 1, an unrelated one 0; the best that a prediction of
    "fires or not" can do for Bernoulli(p)·U(0,1) is (p/2 - p²/2)/√((p/3 - p²/4)(p - p²)).
    """
    a, b = predicted.double().flatten(), truth.double().flatten()
    if not len(a):
        return math.nan
    floors = [ROUND_OFF * float(each.square().mean()) for each in (a, b)]
    a, b = a - a.mean(), b - b.mean()
    variances = [float(each.square().mean()) for each in (a, b)]
    if any(variance <= floor for variance, floor in zip(variances, floors, strict=True)):
        return math.nan
    return max(-1.0, min(1.0, float((a * b).mean()) / math.sqrt(variances[0] * variances[1])))


def score(simulator: Simulator, fragments: api.Fragments) -> float:
    """The correlation over top and random fragments together; NaN where it is undefined."""
    return correlation(simulator(fragments.tokens), fragments.activations)
