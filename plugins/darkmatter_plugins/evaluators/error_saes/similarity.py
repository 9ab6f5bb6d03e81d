"""How close directions lie to those of a dictionary, and how close random ones would."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.special import betainc
from torch import Tensor
from torch.nn.functional import normalize

ROWS = 256
"""Directions compared with the whole dictionary at once."""


def mean_max_cosine(directions: Tensor, dictionary: Tensor) -> float:
    """Mean over directions [n, d] of the largest cosine with a dictionary row [m, d] other than zero."""
    known = normalize(dictionary.float())[dictionary.norm(dim=1) > 0]
    unit = normalize(directions.to(known.device).float())
    largest = [(part @ known.T).amax(dim=1) for part in torch.split(unit, ROWS)]
    return float(torch.cat(largest).double().mean().clamp(-1, 1))


@lru_cache(maxsize=8)
def random_max_cosine(m: int, d: int) -> float:
    """The same expected for random directions: E max of m cosines with independent uniform directions in R^d.

    A cosine c has (1 + c)/2 ~ Beta((d-1)/2, (d-1)/2), so E max = 1 - ∫ F(c)^m dc over [-1, 1].
    """
    if d == 1:
        return 1.0 - 2.0 * 0.5**m
    cosine = np.linspace(-1.0, 1.0, 20001)
    below = betainc((d - 1) / 2, (d - 1) / 2, (1.0 + cosine) / 2)
    heights = below**m
    return float(1.0 - (heights[1:] + heights[:-1]).sum() / 2 * (cosine[1] - cosine[0]))
