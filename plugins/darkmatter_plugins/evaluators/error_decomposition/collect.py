"""The statistics behind the decomposition: three small collectors.

Notation: x [n, d] activation, y [n, p] target (x itself unless the SAE is a transcoder),
e = y - Sae(x), L = b*x + c fitted on training rows, N = e - L.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, LinearMap, UnitSums
from darkmatter_plugins.evaluators.error_decomposition.descriptor import VECTORS
from darkmatter_plugins.evaluators.footing import SQUARED_NORM_FLOOR


def norms(vectors: tuple[Tensor, ...], power: int) -> Tensor:
    """|v|^power of each vector [n, d] as the columns of [n, len(vectors)], float64."""
    squares = torch.stack([vector.to(torch.float64).square().sum(dim=1) for vector in vectors], dim=1)
    return squares if power == 2 else squares.sqrt()


def parts(chunk: api.Chunk, linear: LinearMap) -> tuple[Tensor, ...]:
    """x, Sae(x), e, L, N [n, .] in the order of ``VECTORS``."""
    predicted = linear(chunk.x)
    return chunk.x, chunk.reconstruction, chunk.error, predicted, chunk.error - predicted


@dataclass(frozen=True, eq=False)
class NormMoments:
    """Training moments between x and the norms of x, Sae(x), e, L and N.

    ``eq=False``: it rides a pass of its own, and maps are compared by identity.
    """

    linear: LinearMap
    power: int

    def start(self, info: api.PassInfo) -> NormMomentsCollector:
        """A fresh collector."""
        return NormMomentsCollector(self, CrossMoments.zero(info.d_in, len(VECTORS)))


@dataclass
class NormMomentsCollector:
    """Collects ``NormMoments``."""

    spec: NormMoments
    moments: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in training rows."""
        if rows == "train":
            targets = norms(parts(chunk, self.spec.linear), self.spec.power)
            self.moments.merge(CrossMoments.of(chunk.x_centred, targets))

    def merge(self, other: NormMomentsCollector) -> None:
        """Take in the next shard."""
        self.moments.merge(other.moments)

    def finish(self) -> CrossMoments:
        """The moments."""
        return self.moments


@dataclass(frozen=True)
class Centres:
    """Means about which sums of squares are taken: those of the rows that are evaluated."""

    target: Tensor
    error: Tensor


@dataclass(frozen=True, eq=False)
class Residuals:
    """Sums per unit of everything that the metrics are ratios of, given the fitted maps."""

    linear: LinearMap
    norm: LinearMap
    power: int
    centres: Centres
    one_unit: bool = False

    def start(self, info: api.PassInfo) -> ResidualsCollector:
        """A fresh collector."""
        return ResidualsCollector(self, info)


SCALARS = (
    "rows",
    "error_sq",
    "nonlinear_sq",
    "linear_sq",
    "bias_sq",
    "error_variance",
    "target_variance",
    "target_sq",
)
NORM_COLUMNS = tuple(f"norm_{key}_{what}" for what in ("residual_sq", "sum", "sq") for key in VECTORS)


@dataclass
class ResidualsCollector:
    """Collects ``Residuals``; ``finish`` gives (columns of sums, per-dimension sums)."""

    spec: Residuals
    info: api.PassInfo
    scalars: UnitSums = field(default_factory=lambda: UnitSums(SCALARS + NORM_COLUMNS))
    per_dim: UnitSums = field(init=False)

    def __post_init__(self) -> None:
        d = self.info.d_out
        names = tuple(f"{what}{j}" for what in ("residual", "total") for j in range(d))
        self.per_dim = UnitSums(names)

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows of the evaluated side."""
        spec, error = self.spec, chunk.error
        unit = torch.zeros_like(chunk.unit) if spec.one_unit else chunk.unit
        vectors = parts(chunk, spec.linear)
        nonlinear = vectors[-1]
        mean_error = spec.centres.error.to(error.device)
        centred = error - mean_error
        target = chunk.target.to(torch.float64)
        error_sq, nonlinear_sq = error.square().sum(dim=1), nonlinear.square().sum(dim=1)
        # n|ē|² = |Σe|²/n is no sum over rows; this is its first-order contribution per row.
        bias = 2 * (error @ mean_error) - mean_error.square().sum()
        scalars = [
            torch.ones_like(error_sq),
            error_sq,
            nonlinear_sq,
            error_sq - nonlinear_sq,
            bias,
            centred.square().sum(dim=1),
            (target - spec.centres.target.to(target.device)).square().sum(dim=1),
            target.square().sum(dim=1),
        ]
        length = norms(vectors, spec.power)
        residual = (length - spec.norm(chunk.x)).square()
        self.scalars.add(unit, torch.cat([torch.stack(scalars, 1), residual, length, length.square()], 1))
        self.per_dim.add(unit, torch.cat([nonlinear.square(), centred.square()], dim=1))

    def merge(self, other: ResidualsCollector) -> None:
        """Take in the next shard."""
        self.scalars.merge(other.scalars)
        self.per_dim.merge(other.per_dim)

    def finish(self) -> ResidualsCollector:
        """Itself."""
        return self


def norm_variance(columns: dict[str, np.ndarray], key: str, power: int) -> tuple[np.ndarray, float]:
    """Σ (y - ȳ)² of y = |v|^power per unit, from Σ y and Σ y², and the total that is round-off."""
    rows, total = columns["rows"], columns[f"norm_{key}_sum"]
    n = float(rows.sum())
    mean = float(total.sum() / n)
    variance: np.ndarray = columns[f"norm_{key}_sq"] - 2 * mean * total + mean**2 * rows
    scale = float(columns["target_variance"].sum()) / n
    # What rounding leaves of a norm that does not vary is no variance either.
    return variance, max(SQUARED_NORM_FLOOR * scale**power, 1e-12 * mean**2) * n
