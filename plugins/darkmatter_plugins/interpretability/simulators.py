"""Simulators: they predict a latent's activation from the text, after seeing some fragments of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from darkmatter import api


class Simulator(Protocol):
    """Predicts activations [F, T] for tokens [F, T]."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """The predictions, float64."""
        ...


class SimulatorKind(Protocol):
    """Makes the simulator of one latent from fragments of the training side."""

    def fit(self, fragments: api.Fragments) -> Simulator:
        """The simulator."""
        ...


@dataclass(frozen=True)
class NGram:
    """The mean activation at the same last tokens: two of them where seen in training, else one, else none.

    ``order`` 1 looks at the token itself (token lookup), 2 at the token before it too. The first token of a
    fragment has no token before it. Means are over all positions of the training fragments, and the
    mean of all of them stands in for a token that never occurred.
    """

    order: Literal[1, 2] = 2

    def fit(self, fragments: api.Fragments) -> Simulator:
        """Count and average."""
        truth = fragments.activations.double().flatten().numpy()
        tables = [_Means.of(_grams(fragments.tokens, n), truth) for n in range(1, self.order + 1)]
        return _Lookup(float(truth.mean()) if len(truth) else 0.0, tables)


@dataclass(frozen=True)
class _Means:
    """Mean activation by n-gram; ``grams`` ascend."""

    grams: np.ndarray
    means: np.ndarray

    @classmethod
    def of(cls, grams: np.ndarray, truth: np.ndarray) -> _Means:
        found, place = np.unique(grams, return_inverse=True)
        place = place[grams >= 0]
        totals = np.bincount(place, truth[grams >= 0], minlength=len(found))
        counts = np.bincount(place, minlength=len(found))
        known = found >= 0
        return cls(found[known], totals[known] / counts[known])


@dataclass(frozen=True)
class _Lookup:
    """Means by n-gram, short ones first; the longest that is known counts."""

    mean: float
    tables: list[_Means]

    def __call__(self, tokens: Tensor) -> Tensor:
        predicted = np.full(tokens.numel(), self.mean)
        for n, table in enumerate(self.tables, start=1):
            grams = _grams(tokens, n)
            place = np.searchsorted(table.grams, grams).clip(max=max(len(table.grams) - 1, 0))
            known = table.grams[place] == grams if len(table.grams) else np.zeros(len(grams), dtype=bool)
            predicted[known] = table.means[place[known]]
        return torch.from_numpy(predicted).view(tokens.shape)


def _grams(tokens: Tensor, n: int) -> np.ndarray:
    """One number per position of tokens [F, T] for its last n (1 or 2) tokens; -1 where there are fewer."""
    if n == 1:
        return tokens.flatten().numpy()
    before = torch.full_like(tokens, -1)
    before[:, 1:] = tokens[:, :-1]
    return torch.where(before < 0, -1, before * 2**31 + tokens).flatten().numpy()
