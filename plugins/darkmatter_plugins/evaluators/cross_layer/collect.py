"""The passes: which latents fire, joint moments of designs and the error, residuals of all fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, LinearMap, UnitSums
from darkmatter_plugins.evaluators.cross_layer.descriptor import TARGETS
from darkmatter_plugins.evaluators.cross_layer.designs import Design, Fit


def error_and_nonlinear(chunk: api.Chunk, linear: LinearMap) -> Tensor:
    """[e, N] side by side [n, 2 d_out] float64."""
    error = chunk.error
    return torch.cat([error, error - linear(chunk.x)], dim=1)


@dataclass(frozen=True)
class MeanInput:
    """Mean of x [d_in] over the test rows, on the shared pass."""

    def start(self, info: api.PassInfo) -> MeanInputCollector:
        """A fresh collector."""
        return MeanInputCollector(torch.zeros(info.d_in, dtype=torch.float64))


@dataclass
class MeanInputCollector:
    """Collects ``MeanInput``."""

    total: Tensor
    n: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in test rows."""
        if rows == "test":
            self.total += chunk.x.to(torch.float64).sum(dim=0).cpu()
            self.n += len(chunk.x)

    def merge(self, other: MeanInputCollector) -> None:
        """Take in the next shard."""
        self.total += other.total
        self.n += other.n

    def finish(self) -> Tensor:
        """The mean."""
        return self.total / max(self.n, 1)


@dataclass(frozen=True, eq=False)
class Firings:
    """How often each latent fires, by source ("" is the SAE itself); ``widths`` are their d_sae."""

    widths: Mapping[str, int]

    def start(self, info: api.PassInfo) -> FiringsCollector:
        """A fresh collector."""
        del info
        return FiringsCollector({name: torch.zeros(d, dtype=torch.int64) for name, d in self.widths.items()})


@dataclass
class FiringsCollector:
    """Collects ``Firings``."""

    counts: dict[str, Tensor]

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        for name, count in self.counts.items():
            codes = (chunk.beside[name] if name else chunk).codes
            self.counts[name] = count + torch.bincount(codes.indices.cpu(), minlength=len(count))

    def merge(self, other: FiringsCollector) -> None:
        """Take in the next shard."""
        self.counts = {name: count + other.counts[name] for name, count in self.counts.items()}

    def finish(self) -> dict[str, Tensor]:
        """Numbers of the latents that fire [m], by source."""
        return {name: count.nonzero().flatten() for name, count in self.counts.items()}


@dataclass(frozen=True, eq=False)
class DesignMoments:
    """Moments of every design, and of its columns with [e, N]."""

    designs: Sequence[Design]
    linear: LinearMap

    def start(self, info: api.PassInfo) -> DesignMomentsCollector:
        """A fresh collector."""
        moments = [
            (Gram.zero(design.width), CrossMoments.zero(design.width, 2 * info.d_out))
            for design in self.designs
        ]
        return DesignMomentsCollector(self, moments)


@dataclass
class DesignMomentsCollector:
    """Collects ``DesignMoments``."""

    spec: DesignMoments
    moments: list[tuple[Gram, CrossMoments]]

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        targets = error_and_nonlinear(chunk, self.spec.linear)
        for design, (gram, cross) in zip(self.spec.designs, self.moments, strict=True):
            columns = design.columns(chunk)
            mean = columns.mean(dim=0)
            centred = columns - mean
            gram.merge(Gram(len(columns), mean.cpu(), (centred.T @ centred).cpu()))
            cross.merge(CrossMoments.of((mean, centred), targets))

    def merge(self, other: DesignMomentsCollector) -> None:
        """Take in the next shard."""
        for (gram, cross), (their_gram, their_cross) in zip(self.moments, other.moments, strict=True):
            gram.merge(their_gram)
            cross.merge(their_cross)

    def finish(self) -> list[tuple[Gram, CrossMoments]]:
        """The moments of each design."""
        return self.moments


@dataclass(frozen=True, eq=False)
class FitResiduals:
    """Sums per unit of what each fit leaves of e, L and N, and of their variances.

    ``means`` [2 d_out] of [e, N] and ``mean_target`` [d_out] are those of the rows that are summed.
    """

    fits: Sequence[Fit]
    linear: LinearMap
    means: Tensor
    mean_target: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the sums."""
        left = [
            f"{target}_residual_sq[{fit.wanted.name}]"
            for fit in self.fits
            for target in (("joint",) if fit.wanted.joint else TARGETS)
        ]
        return (*left, *(f"{target}_variance" for target in TARGETS), "target_variance")

    def start(self, info: api.PassInfo) -> FitResidualsCollector:
        """A fresh collector."""
        parts = len(self.names) - 1
        return FitResidualsCollector(self, torch.zeros(parts, info.d_out, dtype=torch.float64))

    def squares(self, chunk: api.Chunk) -> list[Tensor]:
        """Squared deviations [n, d_out], one for each of ``names`` but the last."""
        targets = error_and_nonlinear(chunk, self.linear)
        columns: dict[int, Tensor] = {}
        found = []
        for fit in self.fits:
            design = fit.wanted.design
            if id(design) not in columns:
                columns[id(design)] = design.columns(chunk)
            predicted = fit(columns[id(design)])
            found += _parts(targets[:, : predicted.shape[1]] - predicted, joint=fit.wanted.joint)
        return [*found, *_parts(targets - self.means.to(targets.device), joint=False)]


def _parts(deviations: Tensor, *, joint: bool) -> list[Tensor]:
    """Squares of the deviations of e, L = e - N and N from those of [e, N]; of e alone if joint."""
    if joint:
        return [deviations.square()]
    error, nonlinear = deviations.chunk(2, dim=1)
    return [error.square(), (error - nonlinear).square(), nonlinear.square()]


@dataclass
class FitResidualsCollector:
    """Collects ``FitResiduals``; ``per_dim`` holds the same sums by dimension, over all units."""

    spec: FitResiduals
    per_dim: Tensor
    sums: UnitSums = field(init=False)

    def __post_init__(self) -> None:
        self.sums = UnitSums(self.spec.names)

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        squares = self.spec.squares(chunk)
        target = chunk.target.to(torch.float64) - self.spec.mean_target.to(chunk.target.device)
        values = [part.sum(dim=1) for part in (*squares, target.square())]
        self.sums.add(chunk.unit, torch.stack(values, dim=1))
        self.per_dim += torch.stack([part.sum(dim=0).cpu() for part in squares])

    def merge(self, other: FitResidualsCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)
        self.per_dim += other.per_dim

    def finish(self) -> FitResidualsCollector:
        """Itself."""
        return self
