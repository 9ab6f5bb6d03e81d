"""A simulator: the same guess for every token."""

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api, sources


@dataclass(frozen=True)
class Guess:
    """Predicts one number, and cannot say for tokens that it has never seen."""

    level: float
    seen: Tensor
    explanation: str = "fires everywhere alike"

    def __call__(self, tokens: Tensor) -> Tensor:
        """A prediction per token [F, T], float64; NaN where there is none."""
        guess = torch.full(tokens.shape, self.level, dtype=torch.float64)
        return guess.masked_fill(~torch.isin(tokens, self.seen), torch.nan)


class Guessing:
    """Makes the guess of each latent: its mean activation."""

    concurrency = 1

    def expect(self, latents: int, fragments: int, length: int) -> api.Usage:
        """Nothing."""
        return api.Usage()

    def fit(self, fragments: api.Fragments) -> Guess:
        """The mean over the fragments seen."""
        return Guess(float(fragments.activations.double().mean()), fragments.tokens.unique())

    def usage(self) -> api.Usage:
        """Nothing was asked of anyone."""
        return api.Usage()


def make(config: api.Config, tokenizer: sources.TextTokenizer | None) -> Guessing:
    """There is nothing to choose."""
    return Guessing()
