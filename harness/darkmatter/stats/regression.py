"""Least squares from moments, with the rank that the data support.

The centred Gram matrix is scaled to unit diagonal (so that a feature's unit does not matter) and
factored by Cholesky without any jitter, which agrees with whole-data float64 least squares to
1e-10 up to a condition number of about 1e8. Where the scaled Gram is numerically singular
(condition above ``MAX_CONDITION`` or a failed factorisation), the solution is the minimum-norm one
in scaled coordinates from a truncated eigendecomposition. That is another estimator; ``method`` and
``rank`` say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.linalg import lapack
from torch import Tensor

from darkmatter.stats.moments import CrossMoments, Gram

MAX_CONDITION = 1e12
"""Largest condition number of the unit-diagonal Gram that Cholesky is trusted with."""

RELATIVE_RANK_TOLERANCE = 1e-12
"""Eigenvalues of the unit-diagonal Gram below this share of the largest count as zero."""


@dataclass(frozen=True)
class LinearMap:
    """y ≈ x @ weight + intercept, fitted on ``n_train`` rows.

    ``weight`` [d, p] and ``intercept`` [p] are float64; ``rank`` <= d regressors were used;
    ``condition`` is the (estimated) 1-norm condition number of the unit-diagonal Gram matrix.
    """

    weight: Tensor
    intercept: Tensor
    n_train: int
    rank: int
    condition: float
    method: str

    def __call__(self, x: Tensor) -> Tensor:
        """Predictions [n, p] (float64) for x [n, d]."""
        return torch.addmm(self.intercept.to(x.device), x.to(torch.float64), self.weight.to(x.device))


@dataclass(frozen=True)
class GramFactor:
    """A factored Gram matrix: factor once per hook point, solve once per SAE.

    Exactly one of ``cholesky`` (lower factor) and ``inverse_root`` (V / sqrt(λ) of the kept
    eigenvectors) is set, both of the unit-diagonal Gram ``cxx / (scale scaleᵀ)``.
    """

    scale: Tensor
    mean: Tensor
    n: int
    bias: bool
    rank: int
    condition: float
    cholesky: Tensor | None
    inverse_root: Tensor | None

    @classmethod
    def of(cls, gram: Gram, *, bias: bool = True) -> GramFactor:
        """Factor the Gram of x, centred for a regression with intercept, else about zero."""
        products = gram.cxx if bias else gram.cxx + gram.n * torch.outer(gram.mean, gram.mean)
        diagonal = products.diagonal()
        # A constant feature carries no information: unit scale keeps its zero row a zero row.
        scale = torch.where(diagonal > 0, diagonal.sqrt(), torch.ones_like(diagonal))
        unit = products / torch.outer(scale, scale)
        lower, condition = _cholesky(unit)
        if lower is not None:
            return cls(scale, gram.mean, gram.n, bias, len(scale), condition, lower, None)
        eigenvalues, vectors = torch.linalg.eigh(unit)
        largest = float(eigenvalues[-1]) if len(eigenvalues) else 0.0
        kept = eigenvalues > max(largest, 0.0) * RELATIVE_RANK_TOLERANCE
        root = vectors[:, kept] / eigenvalues[kept].sqrt()
        return cls(scale, gram.mean, gram.n, bias, int(kept.sum()), condition, None, root)

    @property
    def method(self) -> str:
        """How the regression is solved."""
        return "cholesky" if self.cholesky is not None else "truncated eigendecomposition"

    def solve(self, cross: CrossMoments) -> LinearMap:
        """The least-squares map of x onto the targets of ``cross`` (same rows as the Gram)."""
        if cross.n != self.n:
            message = f"the Gram has {self.n} rows, the targets have {cross.n}"
            raise ValueError(message)
        products = cross.cxy if self.bias else cross.cxy + cross.n * torch.outer(cross.mean_x, cross.mean_y)
        scaled = products / self.scale[:, None]
        if self.cholesky is not None:
            solution = torch.cholesky_solve(scaled, self.cholesky)
        else:
            assert self.inverse_root is not None
            solution = self.inverse_root @ (self.inverse_root.T @ scaled)
        weight = solution / self.scale[:, None]
        intercept = cross.mean_y - self.mean @ weight if self.bias else torch.zeros_like(cross.mean_y)
        return LinearMap(weight, intercept, self.n, self.rank, self.condition, self.method)


def _cholesky(unit: Tensor) -> tuple[Tensor | None, float]:
    """Lower factor and 1-norm condition number, or (None, condition) where it cannot be trusted."""
    lower, failed = torch.linalg.cholesky_ex(unit)
    if int(failed) != 0 or not bool(torch.isfinite(lower).all()):
        return None, float("inf")
    norm = float(unit.abs().sum(dim=0).max())
    reciprocal, _ = lapack.dpocon(lower.numpy(), norm, uplo="L")
    # An estimate: its last digits depend on where the library's work space lies in memory.
    condition = float("inf") if reciprocal == 0 else float(f"{1.0 / float(reciprocal):.6g}")
    return (lower, condition) if condition <= MAX_CONDITION else (None, condition)
