"""What the streaming pass reads: a finished, immutable set of activations.

A store is contexts x positions x d at named hook points, with the tokens and per-token losses
that belong to them. It comes from the activation cache (a model's), from a file, or from a tensor
in memory; nothing behind this interface knows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.models import LanguageModel, TextTokenizer

RAW_HOOK = "activations"
"""The hook point's name where activations come without a model."""

TARGET_HOOK = "y"
"""The hook point's name of the raw targets of a transcoder."""


@dataclass(frozen=True)
class Shard:
    """Contexts ``start`` (included) to ``stop`` (excluded): the unit of work and of reduction."""

    index: int
    start: int
    stop: int


@runtime_checkable
class ActivationStore(Protocol):
    """A fixed set of activations with everything that belongs to them.

    Attributes:
        key: content address of all numbers below; equal keys mean equal numbers.
        hooks: hook points that can be read.
        n_contexts: contexts, the unit of the split and of every interval.
        n_positions: positions per context.
        independent_rows: True for ``[n, d]`` input, where every row is its own context.
        default_skip_first: positions that are left out at the start of a context by default
            (models: length / 16; raw activations: 0).
        default_skip_last: the same at the end (models: 1, which has no loss; raw: 0).
        shuffled: whether the order of contexts is already random (documents shuffled by the seed),
            so that the split is contiguous; else contexts are permuted by the seed.
        description: JSON-able account of model, text, packing ... for the result's ``cache`` field.
    """

    key: str
    hooks: tuple[str, ...]
    n_contexts: int
    n_positions: int
    independent_rows: bool
    default_skip_first: int
    default_skip_last: int
    shuffled: bool
    description: dict[str, Any]

    @property
    def has_model(self) -> bool:
        """Whether ``model`` gives the language model behind the activations."""
        ...

    def shards(self) -> list[Shard]:
        """All shards in order; together they cover every context once."""
        ...

    def dim(self, hook: str) -> int:
        """Features per position at ``hook`` (heads flattened)."""
        ...

    def read(self, hook: str, start: int, stop: int) -> Tensor:
        """Activations of contexts ``start:stop``: [contexts, positions, d], a view where possible."""
        ...

    def tokens(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Token ids [contexts, positions] (int64) of contexts ``start:stop``, or None."""
        ...

    def loss(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Clean loss in nats [contexts, positions]: ``loss[c, t]`` is that of token ``t + 1``."""
        ...

    def mask(self) -> Tensor | None:
        """True where a position may count [contexts, positions] (special tokens are False)."""
        ...

    def labels(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Labels [contexts, positions] of raw activations, or None."""
        ...

    def documents(self) -> Tensor | None:
        """First and last document of each context [contexts, 2], or None."""
        ...

    def model(self) -> LanguageModel | None:
        """The language model behind the activations, loaded once; None where there is none."""
        ...

    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer of that model, which is loaded without it; None where there is none."""
        ...
