"""How close directions lie to those of a dictionary, and how close random ones would."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.special import betainc
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 2048
"""Rows of either side whose cosines are looked at together, whatever the widths."""


def nearest(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Places [n] of the rows of ``other`` [m, d] nearest by cosine to those of ``one`` [n, d]; back [m].

    No row may be zero. It is found in float32; what the cosine then is, ``cosines_at`` says in float64.
    """
    other = other.to(one.device)
    best = [one.new_full((len(each),), -2.0, dtype=torch.float32) for each in (one, other)]
    at = [torch.zeros(len(each), dtype=torch.int64, device=one.device) for each in (one, other)]
    for start in range(0, len(one), BLOCK):
        rows = slice(start, start + BLOCK)
        left = _unit(one[rows]).float()
        for begin in range(0, len(other), BLOCK):
            columns = slice(begin, begin + BLOCK)
            cosines = left @ _unit(other[columns]).float().T
            for side, mine, offset in ((0, rows, begin), (1, columns, start)):
                values, place = cosines.max(dim=1 - side)
                better = values > best[side][mine]
                best[side][mine] = torch.where(better, values, best[side][mine])
                at[side][mine] = torch.where(better, place + offset, at[side][mine])
    return at[0], at[1]


def cosines_at(one: Tensor, other: Tensor, place: Tensor) -> Tensor:
    """Cosines [n] float64 of rows of ``one`` [n, d] with rows ``place`` [n] of ``other`` [m, d]."""
    other = other.to(one.device)
    parts = [
        (_unit(one[rows]) * _unit(other[place[rows]])).sum(dim=1)
        for rows in (slice(start, start + BLOCK) for start in range(0, len(one), BLOCK))
    ]
    return torch.cat([*parts, torch.empty(0, dtype=torch.float64, device=one.device)]).clamp(-1, 1)


def nonzero(directions: Tensor) -> Tensor:
    """Which rows [n] are directions at all; a row of zeros has no cosine."""
    return (directions != 0).any(dim=1)


def mean_max_cosine(directions: Tensor, dictionary: Tensor) -> float:
    """Mean over directions [n, d] of the largest cosine with a dictionary row [m, d] other than zero."""
    known = dictionary[nonzero(dictionary)]
    place, _ = nearest(directions, known)
    return float(cosines_at(directions, known, place).mean())


@lru_cache(maxsize=64)
def random_max_cosine(m: int, d: int, pairs: int = 0) -> float:
    """The same expected for random directions: E max of m cosines with independent uniform directions in R^d.

    A cosine c has (1 + c)/2 ~ Beta((d-1)/2, (d-1)/2), with distribution F, so E max = 1 - ∫ F(c)^m dc over
    [-1, 1]. Each of ``pairs`` further directions counts together with its negation, whose larger cosine
    has the distribution 2F(c) - 1 on [0, 1].
    """
    if d == 1:
        return 1.0 if pairs else 1.0 - 2.0 * 0.5**m
    cosine = np.linspace(-1.0, 1.0, 20001)
    below = betainc((d - 1) / 2, (d - 1) / 2, (1.0 + cosine) / 2)
    heights = below**m * np.maximum(2 * below - 1, 0.0) ** pairs
    return float(1.0 - (heights[1:] + heights[:-1]).sum() / 2 * (cosine[1] - cosine[0]))


def _unit(rows: Tensor) -> Tensor:
    """Rows of unit length, float64, in which no square is too small or large."""
    return normalize(rows.double(), eps=0)
