"""The training rows that baselines are fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter.activations import ActivationStore
from darkmatter.stream.chunk import RowSelection
from darkmatter.stream.inputs import InputStatistics


@dataclass(frozen=True)
class StreamFitData:
    """The concrete ``FitData`` of a run."""

    store: ActivationStore
    hook: str
    selection: RowSelection
    seed: int
    inputs: InputStatistics

    @property
    def d_in(self) -> int:
        """Features per row."""
        return self.store.dim(self.hook)

    def sample(self, rows: int) -> Tensor:
        """At most ``rows`` training rows [n, d_in] float32, evenly spread over all of them."""
        every = self.selection.train.flatten().nonzero().squeeze(1)
        if len(every) > rows:
            every = every[torch.linspace(0, len(every) - 1, rows).round().to(torch.int64)]
        n_positions = self.store.n_positions
        parts = []
        for shard in self.store.shards():
            start, stop = shard.start * n_positions, shard.stop * n_positions
            inside = every[(every >= start) & (every < stop)] - start
            if len(inside):
                block = self.store.read(self.hook, shard.start, shard.stop).flatten(0, 1)
                parts.append(block[inside].to(torch.float32))
        return torch.cat(parts) if parts else torch.zeros(0, self.d_in)
