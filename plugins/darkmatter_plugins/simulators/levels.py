"""What language models are shown of a latent: its top fragments, tokens as text, activations as levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from darkmatter import api, sources

if TYPE_CHECKING:
    from torch import Tensor

HIGHEST = 10
"""The level of the highest activation shown."""


@dataclass(frozen=True)
class Piece:
    """A fragment as a language model sees it: the text and the level of each token."""

    tokens: list[str]
    levels: list[int]


def texts_of(tokenizer: sources.TextTokenizer, tokens: Tensor) -> list[list[str]]:
    """The text of each token of fragments [F, T]."""
    return [tokenizer.decode(row) for row in tokens.tolist()]


def top_pieces(fragments: api.Fragments, tokenizer: sources.TextTokenizer, count: int) -> list[Piece]:
    """The ``count`` top fragments with levels round(10·max(a, 0) / max a), the largest over all of them.

    Raises:
        ItemError: the latent fires on none of them.
    """
    kept = min(count, fragments.n_top)
    activations = fragments.activations[:kept].double().clamp(min=0)
    if not activations.numel() or float(activations.max()) <= 0:
        message = "the latent does not fire on the training fragments, so there is nothing to explain"
        raise api.ItemError(message)
    levels = (activations * (HIGHEST / activations.max())).round().int().tolist()
    texts = texts_of(tokenizer, fragments.tokens[:kept])
    return [Piece(text, level) for text, level in zip(texts, levels, strict=True)]


def needed(tokenizer: sources.TextTokenizer | None) -> sources.TextTokenizer:
    """The tokenizer, without which there is no text."""
    if tokenizer is None:
        message = "these activations come without a tokenizer, and a language model can only read text"
        raise api.ItemError(message)
    return tokenizer
