"""The evaluator `code_concentration`.

Per token with codes f: the k largest |f| over Σ|f|; the metric is the mean over the held-out tokens
on which anything fires. It is a ratio of two sums per context, so that its interval comes from
resampling contexts, and two SAEs can be compared on the same contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from darkmatter import api
from darkmatter.stats import UnitSums
from darkmatter_example.descriptors import ConcentrationConfig

NAMES = ("share", "firing_rows", "silent_rows", "rows")


@dataclass(frozen=True)
class ConcentrationSums:
    """The recipe of the collector: equal recipes are collected once and shared."""

    k: int

    def start(self, info: api.PassInfo) -> ConcentrationCollector:
        """A fresh collector for one shard."""
        return ConcentrationCollector(self.k, UnitSums(NAMES))


@dataclass
class ConcentrationCollector:
    """Sums of ``NAMES`` per resampling unit over the test rows; never keeps a row."""

    k: int
    sums: UnitSums

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in some rows of one side of the split."""
        if rows == "test":
            self.sums.add(chunk.unit, quantities(chunk.codes, self.k))

    def merge(self, other: ConcentrationCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums


def quantities(codes: api.Codes, k: int) -> torch.Tensor:
    """``NAMES`` of every row: [n, 4] float64."""
    size = codes.to_dense().abs().double()
    total = size.sum(dim=1)
    largest = size.topk(min(k, codes.d_sae), dim=1).values.sum(dim=1)
    fires = total > 0
    share = torch.where(fires, largest / total, 0.0)
    return torch.stack([share, fires.double(), (~fires).double(), torch.ones_like(total)], dim=1)


class CodeConcentration:
    """What the descriptor names: made with the configuration, once per SAE."""

    def __init__(self, config: ConcentrationConfig) -> None:
        self._sums = ConcentrationSums(config.k)

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What shall ride the shared pass over the activations."""
        return (self._sums,)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """Everything that follows from the sums."""
        out = ctx.output()
        out.add_columns(ctx.collected(self._sums).columns(ctx.info.n_units))
        out.ratio("top_share", "share", "firing_rows", undefined="no latent fires on the held-out rows")
        out.ratio("silent_share", "silent_rows", "rows")
        return out
