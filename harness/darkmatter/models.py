"""What the harness needs from a language model, whatever library runs it.

A provider says who a model is without loading it, so that a finished cache is opened without the
model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from darkmatter.cache.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

LOSS_ROWS = 64
"""Logit rows turned into float32 log-probabilities at a time: few, so that they stay in the cache."""


@dataclass(frozen=True)
class ModelIdentity:
    """Who a model is, for the cache key.

    Attributes:
        fingerprint: hash of weights and configuration, or the Hub's commit.
        tokenizer: hash of the tokenizer's files, or the Hub's commit.
        device: device class (``cpu``, ``cuda``); kernels round differently.
        provider: name of the provider.
        provider_version: a bump says that its numbers changed.
        libraries: major.minor versions of the libraries whose code makes the numbers.
    """

    fingerprint: str
    tokenizer: str
    device: str
    provider: str
    provider_version: int
    libraries: dict[str, str] = field(default_factory=dict)


class TextTokenizer(Protocol):
    """A tokenizer that adds nothing by itself."""

    bos: int | None
    eos: int | None
    special: frozenset[int]
    """Ids that stand for no text; an unknown-word token does stand for text."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token by itself, for showing."""
        ...


@dataclass(frozen=True)
class Forward:
    """What one forward pass gave: activations [B, P, d] by hook point and losses [B, P]."""

    activations: dict[str, Tensor]
    loss: Tensor


class LanguageModel(Protocol):
    """A loaded causal language model.

    Attributes:
        n_positions: longest context, or None where there is no limit.
        n_vocab: size of the vocabulary.
    """

    n_positions: int | None
    n_vocab: int

    def hook_names(self) -> list[str]:
        """All hook points whose activations are [B, P, ...]."""
        ...

    def check_hooks(self, hooks: Sequence[str]) -> None:
        """Raise UsageError, with the nearest names, for a hook point that the model has not."""
        ...

    def forward(self, tokens: Tensor, hooks: Sequence[str]) -> Forward:
        """Run tokens [B, P] and keep the activations at ``hooks``, heads flattened."""
        ...

    def resume_at(self, tokens: Tensor, hook: str) -> Resumed:
        """Run tokens [B, P] up to a hook point, once for all that shall be put in its place."""
        ...

    def logit_directions(self, vectors: Tensor, hook: str) -> Tensor:
        """[n, V] what vectors [n, d] at a hook point add to the logits directly, past all later blocks.

        The final norm counts with its weights and, where it has one, its centring; its division by the
        size of the stream, a positive number per token, is left out. Raises ItemError for a hook point
        from which no straight way leads to the residual stream.
        """
        ...


class Resumed(Protocol):
    """A batch of contexts, run up to a hook point; from there it can go on in several ways."""

    @property
    def activations(self) -> Tensor:
        """[B, P, d] what the model itself has at the hook point, heads flattened."""
        ...

    def logits(self, replacement: Tensor | None = None) -> Tensor:
        """[B, P, V] with these activations at the hook point; None: the model's own."""
        ...

    def at(self, hook: str, replacement: Tensor | None = None) -> Tensor:
        """[B, P, d] what a hook point no earlier than this one then has, heads flattened."""
        ...

    def gradient(
        self, of: Callable[[Tensor], Tensor], replacement: Tensor | None = None, hook: str | None = None
    ) -> Tensor:
        """[B, P, d] the gradient of a number in the activations at the hook point.

        ``of`` makes the number of the logits [B, P, V], or of the activations [B, P, d'] at ``hook``.
        """
        ...


class ModelProvider(Protocol):
    """Makes language models of one kind."""

    def identify(self, spec: ModelSpec) -> ModelIdentity:
        """Who the model is; reads files, loads no model."""
        ...

    def load_tokenizer(self, spec: ModelSpec) -> TextTokenizer:
        """The model's tokenizer."""
        ...

    def load(self, spec: ModelSpec) -> LanguageModel:
        """The model itself."""
        ...


def token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """Losses in nats [B, P] float32: ``[b, t]`` is that of token ``t + 1``; the last is NaN.

    Args:
        logits: [B, P, V].
        tokens: [B, P] int64.
    """
    import torch

    rows = logits[:, :-1].flatten(0, 1)
    targets = tokens[:, 1:].to(logits.device).flatten()
    pieces = [
        torch.nn.functional.cross_entropy(
            rows[start : start + LOSS_ROWS].float(), targets[start : start + LOSS_ROWS], reduction="none"
        )
        for start in range(0, len(targets), LOSS_ROWS)
    ]
    losses = torch.full(tokens.shape, torch.nan, dtype=torch.float32, device=logits.device)
    losses[:, :-1] = torch.cat(pieces).view(tokens.shape[0], -1)
    return losses
