"""Paired differences between the linear and the nonlinear part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darkmatter import api
from darkmatter.stats import Influence, LinearMap, Ratio
from darkmatter_plugins.evaluators.error_decomposition.collect import (
    Centres,
    NormMoments,
    Residuals,
    norm_variance,
)


@dataclass(frozen=True)
class Gap:
    """One ratio less another, over the same units; both undefined where either is."""

    first: Ratio
    second: Ratio

    @property
    def n_units(self) -> int:
        """Units behind both."""
        return self.first.n_units

    @property
    def value(self) -> float:
        """The difference over all units; NaN where undefined."""
        return float(self.at(np.ones((1, self.n_units)))[0])

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The difference under each row of weights."""
        return self.first.at(weights) - self.second.at(weights)

    def linearised(self) -> Influence:
        """First-order contributions per unit."""
        first, second = self.first.linearised(), self.second.linearised()
        return Influence(self.value, first.contributions - second.contributions)


def norm_gap(ctx: api.EvalContext, linear: LinearMap) -> Gap:
    """norm_r2.linear - norm_r2.nonlinear: how much better x predicts |L|² than |N|², held out."""
    (moments,) = ctx.collect([NormMoments(linear, 2)], "train")
    norm = api.fit_error_map(ctx.info, moments)
    centres = Centres(ctx.info.inputs.mean_target, ctx.collected(api.MeanError()))
    (found,) = ctx.collect([Residuals(linear, norm, 2, centres)], "test")
    columns = found.scalars.columns(ctx.info.n_units)
    linear_r2, nonlinear_r2 = (_norm_r2(columns, part) for part in ("linear", "nonlinear"))
    return Gap(linear_r2, nonlinear_r2)


def _norm_r2(columns: dict[str, np.ndarray], part: str) -> Ratio:
    variance, floor = norm_variance(columns, part, 2)
    return Ratio(columns[f"norm_{part}_residual_sq"], variance, complement=True, floor=floor)
