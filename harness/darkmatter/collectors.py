"""Collectors that several evaluators share; equal recipes ride the pass once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter.evaluation import Chunk, PassInfo, Rows
from darkmatter.stats.moments import CrossMoments
from darkmatter.stats.regression import LinearMap


@dataclass(frozen=True)
class ErrorMoments:
    """Training moments between x and the error e: what the fitted map b* is solved from."""

    def start(self, info: PassInfo) -> ErrorMomentsCollector:
        """A fresh collector."""
        return ErrorMomentsCollector(CrossMoments.zero(info.d_in, info.d_out))


@dataclass
class ErrorMomentsCollector:
    """Collects ``CrossMoments`` of (x, e) over the training rows."""

    moments: CrossMoments

    def update(self, chunk: Chunk, rows: Rows) -> None:
        """Take in training rows."""
        if rows == "train":
            self.moments.merge(CrossMoments.of(chunk.x_centred, chunk.error))

    def merge(self, other: ErrorMomentsCollector) -> None:
        """Take in the next shard."""
        self.moments.merge(other.moments)

    def finish(self) -> CrossMoments:
        """The moments."""
        return self.moments


def fit_error_map(info: PassInfo, moments: CrossMoments, *, bias: bool = True) -> LinearMap:
    """b* (and its intercept c): the least-squares map of x [d_in] onto e [d_out], training rows only."""
    inputs = info.inputs
    return (inputs.factor if bias else inputs.factor_without_bias).solve(moments)


@dataclass(frozen=True)
class MeanError:
    """Mean error ē [d_out] over the test rows."""

    def start(self, info: PassInfo) -> MeanErrorCollector:
        """A fresh collector."""
        return MeanErrorCollector(torch.zeros(info.d_out, dtype=torch.float64))


@dataclass
class MeanErrorCollector:
    """Sums the error over the test rows."""

    total: Tensor
    n: int = 0

    def update(self, chunk: Chunk, rows: Rows) -> None:
        """Take in test rows."""
        if rows == "test":
            self.total += chunk.error.sum(dim=0).cpu()
            self.n += len(chunk.error)

    def merge(self, other: MeanErrorCollector) -> None:
        """Take in the next shard."""
        self.total += other.total
        self.n += other.n

    def finish(self) -> Tensor:
        """The mean."""
        return self.total / max(self.n, 1)


@dataclass(frozen=True)
class LatentMoments:
    """Per latent, over the test rows: how often it fires, the sums of its codes' powers, and its largest."""

    def start(self, info: PassInfo) -> LatentMomentsCollector:
        """A fresh collector."""
        largest = torch.full((info.d_sae,), -math.inf, dtype=torch.float64)
        return LatentMomentsCollector(torch.zeros(5, info.d_sae, dtype=torch.float64), largest)


@dataclass
class LatentMomentsCollector:
    """Rows of ``sums`` [5, d_sae]: firings, Σ c, Σ c², Σ c³, Σ c⁴.

    ``largest`` [d_sae] is the largest code that is not zero, -inf where a latent never fires.
    """

    sums: Tensor
    largest: Tensor
    n: int = 0

    def update(self, chunk: Chunk, rows: Rows) -> None:
        """Take in test rows."""
        if rows != "test":
            return
        values = chunk.codes.values.to(torch.float64).cpu()
        indices = chunk.codes.indices.cpu()
        power = torch.ones_like(values)
        for row in self.sums:
            row.index_add_(0, indices, power)
            power = power * values
        self.largest.scatter_reduce_(0, indices, values, "amax")
        self.n += len(chunk.x)

    def merge(self, other: LatentMomentsCollector) -> None:
        """Take in the next shard."""
        self.sums += other.sums
        self.largest = torch.maximum(self.largest, other.largest)
        self.n += other.n

    def finish(self) -> LatentMomentsCollector:
        """Itself."""
        return self
