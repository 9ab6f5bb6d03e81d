"""Firing rates and moments of codes c over the n held-out rows, zeros included.

    rate_i = (rows with c_i != 0) / n                  per latent, counted in tokens
    about the mean:  E c,  Var c = E (c - E c)²,  E (c - E c)³ / Var^1.5,  E (c - E c)⁴ / Var²
    about zero:      E c³ / (E c²)^1.5,  E c⁴ / (E c²)²;   mixed:  E c³ / Var^1.5,  E c⁴ / Var²

Medians are over latents that fire. The mixed form is the authors', who count a latent's firings in batches
rather than tokens and weigh a last short batch as a full one, which is not followed. Whether a latent is
active is said by count (more than ``active_above`` firings, the paper's rule, which depends on how many
tokens there are) and by rate.

Table ``latents``, of the most frequent: {index, rate, mean_active (mean of the codes that are not 0),
max}. Curve ``log10_rate``: {edges, latents}. Source: Cunningham et al.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.density.descriptor import DENSITY, DensityConfig

LEAST_SHARE = {"skew": 1e-6, "kurtosis": 1e-5}
"""Var c / E c² from which round-off leaves a central skew and kurtosis right to about 1e-4."""


class Density:
    """The evaluator `density`."""

    def __init__(self, config: DensityConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Everything comes from the shared pass."""
        return (api.LatentMoments(),)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics and the histogram of log10 firing rates."""
        out = ctx.output()
        moments = ctx.collected(api.LatentMoments())
        if ctx.info.d_sae == 0:
            for metric in DENSITY.metrics:
                out.undefined(metric.name, "the dictionary has no latents")
            return out
        fired, rate = moments.sums[0], moments.sums[0] / moments.n
        why = "a bootstrap cannot make unseen firings"
        out.plain("alive", float((fired > 0).sum()), why_no_interval=why)
        out.plain("dead", float((fired == 0).sum()), why_no_interval=why)
        out.plain("active", float((fired > self.config.active_above).sum()), why_no_interval=why)
        out.plain(
            "active_share", float((fired > self.config.active_above).double().mean()), why_no_interval=why
        )
        out.plain(
            "active_by_rate", float((rate > self.config.active_rate).double().mean()), why_no_interval=why
        )
        if self.config.active_rate * moments.n < 1:
            out.notes.append(
                f"active_by_rate: one firing in {moments.n} rows is above active_rate already, so it counts "
                "every latent that is alive"
            )
        why = "a summary over latents, which are not sampled"
        out.plain("dense_1pct", float((rate > 0.01).double().mean()), why_no_interval=why)
        out.plain("dense_10pct", float((rate > 0.1).double().mean()), why_no_interval=why)
        alive = fired > 0
        medians = {"median_rate": rate[alive], **shape_moments(moments.sums[:, alive], moments.n)}
        for name, values in medians.items():
            known = values[torch.isfinite(values)]
            if len(known) == 0:
                out.undefined(name, "no latent fires and varies on the held-out rows")
            else:
                out.plain(name, float(np.median(known.numpy())), why_no_interval=why)
        if self.config.table_latents:
            out.tables["latents"] = most_frequent(moments, self.config.table_latents)
        out.curves["log10_rate"] = log_rate_histogram(rate[alive], moments.n, self.config.bins_per_decade)
        return out


def shape_moments(sums: Tensor, n: int) -> dict[str, Tensor]:
    """Mean, variance, skew and kurtosis per latent from power sums [5, latents] over n rows.

    Skews and kurtoses with a variance are NaN where a latent is constant, and the central ones where it
    varies so little beside its mean that round-off is what would be measured.

    For a constant times Bernoulli(p): about zero E c³/(E c²)^1.5 = p^-½ and E c⁴/(E c²)² = 1/p; with
    the variance, kurtosis 1/(p(1-p)²) and skew 1/(√p (1-p)^1.5) (closed form G4).
    """
    mean, second, third, fourth = (row / n for row in sums[1:])
    spread = (second - mean.square()).clamp_min(0)
    # What rounding leaves of a constant code's variance is no variance.
    variance = torch.where(spread > 1e-12 * second, spread, math.nan)
    # Of sums about zero a third central moment loses (E c² / Var)^1.5 of its digits, a fourth its square.
    spread_skew = torch.where(spread > LEAST_SHARE["skew"] * second, spread, math.nan)
    spread_kurtosis = torch.where(spread > LEAST_SHARE["kurtosis"] * second, spread, math.nan)
    central_third = third - 3 * mean * second + 2 * mean**3
    central_fourth = fourth - 4 * mean * third + 6 * mean.square() * second - 3 * mean**4
    return {
        "median_mean": mean,
        "median_variance": spread,
        "median_skew_central": central_third / spread_skew.pow(1.5),
        "median_kurtosis_central": central_fourth / spread_kurtosis.square(),
        "median_skew": third / second.pow(1.5),
        "median_kurtosis": fourth / second.square(),
        "median_skew_var": third / variance.pow(1.5),
        "median_kurtosis_var": fourth / variance.square(),
    }


def most_frequent(moments: Any, count: int) -> dict[str, list[float]]:
    """The latents that fire most often, as columns; of equally frequent ones the first."""
    fired = moments.sums[0]
    order = fired.sort(descending=True, stable=True).indices[:count]
    order = order[fired[order] > 0]
    return {
        "index": order.tolist(),
        "rate": (fired[order] / moments.n).tolist(),
        "mean_active": (moments.sums[1][order] / fired[order]).tolist(),
        "max": moments.largest[order].tolist(),
    }


def log_rate_histogram(rate: Tensor, n: int, bins_per_decade: int) -> dict[str, list[float]]:
    """Counts of alive latents per bin of log10 firing rate, from one firing in n rows to 1."""
    decades = max(1, math.ceil(math.log10(n))) if n > 1 else 1
    edges = torch.linspace(-decades, 0, decades * bins_per_decade + 1, dtype=torch.float64)
    counts = torch.histogram(rate.log10().clamp(-decades, 0), edges).hist
    return {"edges": edges.tolist(), "latents": counts.tolist()}
