"""Sums per resampling unit (a context, or a block of them), which intervals are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class UnitSums:
    """Sums of named per-row quantities over the rows of each unit.

    ``add(unit [n], values [n, m])`` takes rows whose units ascend; ``total(n_units)`` gives
    [n_units, m] float64. A unit that goes on where the last part ended is added to it, in order; so
    memory is bounded by the units, and merging in shard order gives the same bytes whatever the number
    of workers.
    """

    names: tuple[str, ...]
    pieces: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, unit: Tensor, values: Tensor) -> None:
        """Add rows ``values`` [n, len(names)] that belong to units ``unit`` [n]."""
        if values.shape[1] != len(self.names):
            message = f"{values.shape[1]} columns for the names {self.names}"
            raise ValueError(message)
        ids, inverse = torch.unique_consecutive(unit, return_inverse=True)
        # On the CPU: a GPU adds in no fixed order, and the bytes of a sidecar must not change.
        sums = torch.zeros(len(ids), values.shape[1], dtype=torch.float64)
        sums.index_add_(0, inverse.cpu(), values.to("cpu", torch.float64))
        self._append(ids.cpu(), sums)

    def merge(self, other: UnitSums) -> None:
        """Take in the sums of further rows."""
        for ids, sums in other.pieces:
            self._append(ids, sums)

    def _append(self, ids: Tensor, sums: Tensor) -> None:
        """Keep a piece; its first unit is added to the last one kept where they are the same."""
        if self.pieces and len(ids) and self.pieces[-1][0][-1] == ids[0]:
            last_ids, last = self.pieces[-1]
            # A copy, because after a merge the tensor belongs to another's pieces too.
            self.pieces[-1] = last_ids, torch.cat([last[:-1], last[-1:] + sums[:1]])
            ids, sums = ids[1:].clone(), sums[1:].clone()
        if len(ids):
            self.pieces.append((ids, sums))

    def total(self, n_units: int) -> Tensor:
        """All sums [n_units, len(names)]."""
        out = np.zeros((n_units, len(self.names)))
        for ids, sums in self.pieces:
            out[ids.numpy()] += sums.numpy()  # ids are unique within a piece
        return torch.from_numpy(out)

    def columns(self, n_units: int) -> dict[str, np.ndarray]:
        """The same by name, as float64 arrays [n_units]."""
        total = self.total(n_units).numpy()
        return {name: np.ascontiguousarray(total[:, i]) for i, name in enumerate(self.names)}
