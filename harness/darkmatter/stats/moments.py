"""Streaming second moments about the mean, merged by Chan's rule.

For parts A and B with counts a and b, n = a + b, and mean difference δ = mean_B - mean_A:
mean = mean_A + δ b / n, and the sum of centred products C = C_A + C_B + δx δyᵀ a b / n
(Chan, Golub, LeVeque 1983). Centring every chunk before multiplying keeps large means, such as
those of massive activations, from cancelling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d] and x - mean [n, d], both float64, of rows x [n, d]."""
    wide = x.to(torch.float64)
    mean = wide.mean(dim=0) if len(x) else wide.new_zeros(x.shape[1])
    return mean, wide - mean


@dataclass
class Gram:
    """Count, mean [d] and centred products ``cxx`` [d, d] = Σ (x - x̄)(x - x̄)ᵀ of rows x."""

    n: int
    mean: Tensor
    cxx: Tensor

    @classmethod
    def zero(cls, d: int) -> Gram:
        """The moments of no rows."""
        return cls(0, torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64))

    @classmethod
    def of(cls, x: Tensor) -> Gram:
        """The moments of rows x [n, d]."""
        return cls.of_centred(centred(x))

    @classmethod
    def of_centred(cls, x: tuple[Tensor, Tensor]) -> Gram:
        """The same of what ``centred`` gives, where ``CrossMoments`` need it too."""
        mean, xc = x
        return cls(len(xc), mean.cpu(), (xc.T @ xc).cpu())

    def merge(self, other: Gram) -> None:
        """Take in the moments of further rows."""
        total = self.n + other.n
        if other.n == 0:
            return
        delta = other.mean - self.mean
        self.cxx += other.cxx
        self.cxx.addr_(delta, delta, alpha=self.n * other.n / total)
        self.mean = self.mean + delta * (other.n / total)
        self.n = total

    @property
    def trace(self) -> float:
        """Σ |x - x̄|², the total variance times n."""
        return float(self.cxx.diagonal().sum())


@dataclass
class CrossMoments:
    """Moments between regressors x [n, d] and targets y [n, p].

    ``cxy`` [d, p] = Σ (x - x̄)(y - ȳ)ᵀ and ``syy`` [p] = Σ (y - ȳ)²; the Gram of x is kept apart,
    because all SAEs of a hook point share it.
    """

    n: int
    mean_x: Tensor
    mean_y: Tensor
    cxy: Tensor
    syy: Tensor

    @classmethod
    def zero(cls, d: int, p: int) -> CrossMoments:
        """The moments of no rows."""
        wide = torch.float64
        return cls(
            0,
            torch.zeros(d, dtype=wide),
            torch.zeros(p, dtype=wide),
            torch.zeros(d, p, dtype=wide),
            torch.zeros(p, dtype=wide),
        )

    @classmethod
    def of(cls, x: tuple[Tensor, Tensor], y: Tensor) -> CrossMoments:
        """The moments of one chunk; ``x`` is what ``centred`` gives, which several targets share."""
        mean_x, xc = x
        mean_y, yc = centred(y)
        cxy = xc.T @ yc
        return cls(len(y), mean_x.cpu(), mean_y.cpu(), cxy.cpu(), yc.square().sum(dim=0).cpu())

    def merge(self, other: CrossMoments) -> None:
        """Take in the moments of further rows."""
        total = self.n + other.n
        if other.n == 0:
            return
        delta_x, delta_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        weight = self.n * other.n / total
        self.cxy += other.cxy
        self.cxy.addr_(delta_x, delta_y, alpha=weight)
        self.syy += other.syy + delta_y.square() * weight
        self.mean_x = self.mean_x + delta_x * (other.n / total)
        self.mean_y = self.mean_y + delta_y * (other.n / total)
        self.n = total

    def target(self, column: int) -> CrossMoments:
        """The moments of one target alone."""
        one = slice(column, column + 1)
        return CrossMoments(self.n, self.mean_x, self.mean_y[one], self.cxy[:, one], self.syy[one])
