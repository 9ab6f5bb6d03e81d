"""What a baseline is fitted on: the training rows of one hook point, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.stream.inputs import InputStatistics


class FitData(Protocol):
    """The training rows of one hook point."""

    @property
    def d_in(self) -> int:
        """Features per row."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed; the same seed gives the same baseline."""
        ...

    @property
    def hook(self) -> str:
        """The hook point."""
        ...

    @property
    def inputs(self) -> InputStatistics:
        """Moments of all training rows."""
        ...

    def sample(self, rows: int) -> Tensor:
        """At most so many training rows [n, d_in] float32, spread evenly over all of them."""
        ...
