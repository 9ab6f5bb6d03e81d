"""A simulator: the same guess for every token."""

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api, sources


@dataclass(frozen=True)
class Guess:
    """Predicts one number."""

    level: float
    explanation: str = "fires everywhere alike"

    def __call__(self, tokens: Tensor) -> Tensor:
        """The number, for every token [F, T]."""
        return torch.full(tokens.shape, self.level, dtype=torch.float64)


class Guessing:
    """Makes the guess of each latent: its mean activation."""

    concurrency = 1

    def expect(self, latents: int, fragments: int, length: int) -> api.Usage:
        """Nothing."""
        return api.Usage()

    def fit(self, fragments: api.Fragments) -> Guess:
        """The mean over the fragments seen."""
        return Guess(float(fragments.activations.double().mean()))

    def usage(self) -> api.Usage:
        """Nothing was asked of anyone."""
        return api.Usage()


def make(config: api.Config, tokenizer: sources.TextTokenizer | None) -> Guessing:
    """There is nothing to choose."""
    return Guessing()
