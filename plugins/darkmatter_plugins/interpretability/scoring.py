"""Scores of predicted activations, whoever predicts: correlation, and detection of what fires."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.auroc import area

ROUND_OFF = 1e-24
"""A variance below this share of the mean square is round-off."""


def correlation(predicted: Tensor, truth: Tensor) -> float:
    """Pearson's correlation over positions with a prediction (not NaN); NaN where either does not vary.

    A prediction that is affine in the truth scores 1, an unrelated one 0; the best that a prediction of
    "fires or not" can do for Bernoulli(p)·U(0,1) is (p/2 - p²/2)/√((p/3 - p²/4)(p - p²)).
    """
    said = ~predicted.isnan()
    a, b = predicted[said].double(), truth[said].double()
    if not len(a):
        return math.nan
    floors = [ROUND_OFF * float(each.square().mean()) for each in (a, b)]
    a, b = a - a.mean(), b - b.mean()
    variances = [float(each.square().mean()) for each in (a, b)]
    if any(variance <= floor for variance, floor in zip(variances, floors, strict=True)):
        return math.nan
    return max(-1.0, min(1.0, float((a * b).mean()) / math.sqrt(variances[0] * variances[1])))


def score(simulator: api.Simulation, fragments: api.Fragments) -> float:
    """The correlation over top and random fragments together; NaN where it is undefined."""
    return correlation(simulator(fragments.tokens), fragments.activations)


def auroc(predicted: np.ndarray, positive: np.ndarray) -> float:
    """P(a positive is predicted above a negative), ties count half; NaN where one class is missing.

    ``predicted`` [n] numbers, ``positive`` [n] bool.
    """
    found = area(predicted, positive, np.zeros(len(positive), dtype=np.int64), 1)
    return math.nan if found is None else found.value


def average_precision(predicted: np.ndarray, positive: np.ndarray) -> float:
    """Area under precision over recall, Σ (recall step) · precision, equal predictions in one step.

    A prediction that says nothing gives the share of positives; NaN where one class is missing.
    """
    n_positive = int(positive.sum())
    if n_positive in (0, len(positive)):
        return math.nan
    order = np.argsort(-predicted, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(predicted[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / n_positive)
