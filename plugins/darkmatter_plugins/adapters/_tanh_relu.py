"""The second activation function of SAELens before version 6."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darkmatter import api


@dataclass(frozen=True, eq=False)
class TanhRelu(api.Activation):
    """f = tanh(max(h, 0)), called "tanh-relu" in configurations."""

    def value(self, h: Tensor, columns: slice | Tensor) -> Tensor:
        """tanh(h) of a positive h."""
        del columns
        return h.tanh()
