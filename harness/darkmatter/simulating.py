"""What predicts a latent's activations from the text alone: the contract of simulator plugins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """One latent's fragments of text: ``tokens`` and ``activations`` [F, T], the ``n_top`` top ones first."""

    tokens: Tensor
    activations: Tensor
    n_top: int


@dataclass(frozen=True)
class Usage:
    """What simulating cost so far: requests, tokens, and currency where a price was given."""

    requests: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Simulation(Protocol):
    """One latent, understood: predicts its activations on text.

    Attributes:
        explanation: what it is taken to mean, in words; empty where nothing is put into words.
    """

    explanation: str

    def __call__(self, tokens: Tensor) -> Tensor:
        """Predicted activations [F, T] float64 of tokens [F, T], in any unit, NaN where it cannot say.

        Raises ``ItemError`` where this latent cannot be simulated after all.
        """
        ...


class SimulatorMaker(Protocol):
    """Makes the simulation of one latent from fragments of the training side.

    Attributes:
        concurrency: latents that may be worked on at the same time, in threads.
    """

    concurrency: int

    def expect(self, latents: int, fragments: int, length: int) -> Usage:
        """At most what so many latents will take, each on so many fragments of ``length`` tokens.

        Called before the first ``fit``; raises ``ItemError`` where it is beyond a limit.
        """
        ...

    def fit(self, fragments: Fragments) -> Simulation:
        """The simulation; raises ``ItemError`` where this latent cannot be simulated."""
        ...

    def usage(self) -> Usage:
        """What it cost so far."""
        ...
