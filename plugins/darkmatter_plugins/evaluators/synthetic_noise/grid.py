"""The estimates at any noise levels, from the moments of two sides of a split; and their expectation.

x' = x0 + s_a a, e = x' - (decode(masked codes of x0) + s_r r), b* fitted to (x', e):

    linear    = FVU(x', x' - e) - FVU(x', x' - e + b*x')
    nonlinear = FVU(x', x' - e + b*x')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from darkmatter.stats import CrossMoments, Gram, GramFactor
from darkmatter_plugins.evaluators.synthetic_noise.collect import NoiseMomentsCollector


class Estimate(NamedTuple):
    """The two parts of FVU; NaN where x' does not vary."""

    linear: float
    nonlinear: float


@dataclass(frozen=True)
class Side:
    """Moments of x' and e at one pair of levels: about their means, with Σ |e - ē|²."""

    x: Gram
    cross: CrossMoments

    @classmethod
    def at(
        cls, found: NoiseMomentsCollector, activation: float, reconstruction: float, ablation: int
    ) -> Side:
        """That of levels s_a, s_r and one set of ablated latents."""
        parts, errors = found.parts, found.errors
        d = len(parts.mean) // 3
        gram = parts.cxx.reshape(3, d, 3, d)
        own = slice(ablation * d, (ablation + 1) * d)
        with_u = errors.cxy[:, own].reshape(3, d, d)
        in_x = torch.tensor([1.0, activation, 0.0], dtype=torch.float64)
        in_e = torch.tensor([0.0, activation, -reconstruction], dtype=torch.float64)
        cxx = torch.einsum("i,iajb,j->ab", in_x, gram, in_x)
        cxe = torch.einsum("i,iab->ab", in_x, with_u) + torch.einsum("i,iajb,j->ab", in_x, gram, in_e)
        see = errors.syy[own] + 2 * torch.einsum("i,iaa->a", in_e, with_u)
        see = see + torch.einsum("i,iaja,j->a", in_e, gram, in_e)
        means = parts.mean.reshape(3, d)
        mean_x, mean_e = in_x @ means, errors.mean_y[own] + in_e @ means
        return cls(Gram(parts.n, mean_x, cxx), CrossMoments(parts.n, mean_x, mean_e, cxe, see))

    def error_sq(self) -> float:
        """Σ |e|²."""
        return float(self.cross.syy.sum() + self.x.n * self.cross.mean_y.square().sum())

    def residual_sq(self, weight: Tensor, intercept: Tensor) -> float:
        """Σ |e - x' weight - intercept|²."""
        cross = self.cross
        spread = cross.syy.sum() - 2 * (weight * cross.cxy).sum() + (weight * (self.x.cxx @ weight)).sum()
        mean = cross.mean_y - self.x.mean @ weight - intercept
        return max(float(spread + self.x.n * mean.square().sum()), 0.0)

    def variance(self, *, scalar: bool) -> float:
        """Σ |x' - x̄'|² about each dimension's mean, or about one scalar mean."""
        between = (self.x.mean - self.x.mean.mean()).square().sum() * self.x.n if scalar else 0.0
        return float(self.x.trace + between)


def estimate(fit: Side, test: Side, *, bias: bool, scalar: bool) -> Estimate:
    """Both parts on the rows of ``test``, with the map fitted on those of ``fit``."""
    variance = test.variance(scalar=scalar)
    if not variance > 0:
        return Estimate(float("nan"), float("nan"))
    linear = GramFactor.of(fit.x, bias=bias).solve(fit.cross)
    total = test.error_sq() / variance
    nonlinear = test.residual_sq(linear.weight, linear.intercept) / variance
    return Estimate(total - nonlinear, nonlinear)


def expected(activation: float, reconstruction: float, signal: float) -> Estimate:
    """Both parts for a signal of variance signal² in every direction and an SAE without error."""
    total = signal**2 + activation**2
    if not total > 0:
        return Estimate(float("nan"), float("nan"))
    nonlinear = (reconstruction**2 + activation**2 * signal**2 / total) / total
    return Estimate((activation**2 / total) ** 2, nonlinear)


def correlations(points: Sequence[tuple[float, float]], parts: Sequence[Estimate]) -> dict[str, float]:
    """Pearson's correlation of either level with either part over the grid; NaN where one is constant."""
    levels, values = np.asarray(points), np.asarray(parts)
    found = {}
    for i, noise in enumerate(("activation_noise", "reconstruction_noise")):
        for j, part in enumerate(("linear", "nonlinear")):
            found[f"{noise}.{part}"] = _pearson(levels[:, i], values[:, j])
    return found


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    if not size > 1e-12 * float(np.abs(one).max() * np.abs(other).max()) * len(one):
        return float("nan")
    return float(np.clip((a @ b) / size, -1.0, 1.0))
