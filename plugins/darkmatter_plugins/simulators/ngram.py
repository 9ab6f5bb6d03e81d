"""Mean activations at the last tokens: no model, no network, the same numbers every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from darkmatter import api

if TYPE_CHECKING:
    from darkmatter.sources import TextTokenizer

BASE = 2**31
"""A pair of token ids is one number in this base; token ids are smaller."""

SHOWN = 5
"""Tokens, or pairs of them, that an explanation names."""


def token(config: api.Config, tokenizer: TextTokenizer | None) -> NGram:  # noqa: ARG001 - no options
    """The simulator `token`."""
    return NGram(1, tokenizer)


def ngram(config: api.Config, tokenizer: TextTokenizer | None) -> NGram:  # noqa: ARG001 - no options
    """The simulator `ngram`."""
    return NGram(2, tokenizer)


@dataclass(frozen=True)
class NGram:
    """The mean activation at the same last tokens: two of them where seen in training, else one, else none.

    ``order`` 1 looks at the token itself (token lookup), 2 at the token before it too. The first token of a
    fragment has no token before it. Means are over all positions of the training fragments, and the
    mean of all of them stands in for a token that never occurred. With a tokenizer it is put into words.
    """

    order: Literal[1, 2] = 2
    tokenizer: TextTokenizer | None = None

    concurrency = 1

    def expect(self, latents: int, fragments: int, length: int) -> api.Usage:  # noqa: ARG002 - the contract's
        """Nothing."""
        return api.Usage()

    def fit(self, fragments: api.Fragments) -> api.Simulation:
        """Count and average."""
        truth = fragments.activations.double().flatten().numpy()
        tables = [_Means.of(_grams(fragments.tokens, n), truth) for n in range(1, self.order + 1)]
        return _Lookup(float(truth.mean()) if len(truth) else 0.0, tables, self._in_words(tables[-1]))

    def usage(self) -> api.Usage:
        """Nothing."""
        return api.Usage()

    def _in_words(self, table: _Means) -> str:
        """The tokens or pairs with the highest means above 0, the lower id first where means are equal."""
        if self.tokenizer is None:
            return ""
        highest = np.argsort(-table.means, kind="stable")[:SHOWN]
        shown = [place for place in highest.tolist() if table.means[place] > 0]
        grams = [divmod(int(table.grams[place]), BASE) for place in shown]
        texts = ["".join(self.tokenizer.decode(gram[2 - self.order :])) for gram in grams]
        return ", ".join(
            f"{text!r} {table.means[place]:.3g}" for text, place in zip(texts, shown, strict=True)
        )


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


@dataclass
class _Lookup:
    """Means by n-gram, short ones first; the longest that is known counts."""

    mean: float
    tables: list[_Means]
    explanation: str

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
    return torch.where(before < 0, -1, before * BASE + tokens).flatten().numpy()
