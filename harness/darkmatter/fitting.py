"""What a baseline is fitted on: the training rows of one hook point, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.stream.inputs import InputStatistics


class FitData(Protocol):
    """The training rows of one hook point.

    Attributes:
        d_in: features per row.
        seed: the run's seed; the same seed gives the same baseline.
        hook: the hook point.
        inputs: moments of the training rows (all of them).
    """

    d_in: int
    seed: int
    hook: str
    inputs: InputStatistics

    def sample(self, rows: int) -> Tensor:
        """At most so many training rows [n, d_in] float32, spread evenly over all of them."""
        ...


@dataclass(frozen=True)
class Sampled:
    """A ``FitData`` whose sample was drawn beforehand."""

    d_in: int
    seed: int
    hook: str
    inputs: InputStatistics
    rows: Tensor

    def sample(self, rows: int) -> Tensor:
        """At most ``rows`` of the drawn rows, spread evenly."""
        if rows >= len(self.rows):
            return self.rows
        step = len(self.rows) / rows
        return self.rows[[int(i * step) for i in range(rows)]]
