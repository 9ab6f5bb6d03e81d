"""Firing rates and moments of codes c over the held-out rows, zeros included."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.density.descriptor import DensityConfig


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
            for metric in ("alive", "median_rate", "dense_10pct"):
                out.undefined(metric, "the dictionary has no latents")
            return out
        fired, rate = moments.sums[0], moments.sums[0] / moments.n
        why = "a bootstrap cannot make unseen firings"
        out.plain("alive", float((fired > 0).sum()), why_no_interval=why)
        out.plain("dead", float((fired == 0).sum()), why_no_interval=why)
        out.plain("active", float((fired > self.config.active_above).sum()), why_no_interval=why)
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
        out.curves["log10_rate"] = log_rate_histogram(rate[alive], moments.n, self.config.bins_per_decade)
        return out


def shape_moments(sums: Tensor, n: int) -> dict[str, Tensor]:
    """Skew and kurtosis per latent from power sums [5, latents] over n rows; NaN where constant.

    For a constant times Bernoulli(p): about zero E c³/(E c²)^1.5 = p^-½ and E c⁴/(E c²)² = 1/p; with
    the variance, kurtosis 1/(p(1-p)²) and skew 1/(√p (1-p)^1.5) (closed form G4).
    """
    mean, second, third, fourth = (row / n for row in sums[1:])
    # What rounding leaves of a constant code's variance is no variance.
    variance = torch.where(second - mean.square() > 1e-12 * second, second - mean.square(), math.nan)
    return {
        "median_skew": third / second.pow(1.5),
        "median_kurtosis": fourth / second.square(),
        "median_skew_var": third / variance.pow(1.5),
        "median_kurtosis_var": fourth / variance.square(),
    }


def log_rate_histogram(rate: Tensor, n: int, bins_per_decade: int) -> dict[str, list[float]]:
    """Counts of alive latents per bin of log10 firing rate, from one firing in n rows to 1."""
    decades = max(1, math.ceil(math.log10(n))) if n > 1 else 1
    edges = torch.linspace(-decades, 0, decades * bins_per_decade + 1, dtype=torch.float64)
    counts = torch.histogram(rate.log10().clamp(-decades, 0), edges).hist
    return {"edges": edges.tolist(), "latents": counts.tolist()}
