"""What `density` measures."""

from __future__ import annotations

from pydantic import Field

from darkmatter import api


class DensityConfig(api.Config):
    """Options of `density`."""

    active_above: int = Field(10, ge=0, description="a latent counts as active above so many firings")
    bins_per_decade: int = Field(4, ge=1, le=100, description="bins of the log10 histogram")


_M = api.Metric

DENSITY = api.Evaluator(
    name="density",
    summary="How often latents fire, and how heavy-tailed their codes are.",
    implementation="darkmatter_plugins.evaluators.density.run:Density",
    config=DensityConfig,
    source="Cunningham et al., appendix on dead and active latents and moments",
    metrics=(
        _M(
            "alive",
            "latents that fire at least once on the held-out rows",
            unit="latents",
            low=0,
            primary=True,
        ),
        _M("dead", "latents that never fire on the held-out rows", unit="latents", low=0),
        _M("active", "latents that fire more than `active_above` times", unit="latents", low=0),
        _M(
            "median_rate",
            "median firing rate of alive latents",
            unit="per token",
            low=0,
            high=1,
            primary=True,
        ),
        _M("dense_1pct", "share of latents firing on more than 1% of tokens", low=0, high=1),
        _M("dense_10pct", "share of latents firing on more than 10% of tokens", low=0, high=1, primary=True),
        _M("median_skew", "median over alive latents of E c³ / (E c²)^1.5, moments about zero"),
        _M("median_kurtosis", "median over alive latents of E c⁴ / (E c²)², moments about zero", low=1),
        _M(
            "median_skew_var",
            "the same with Var c in place of E c² (E c³ / Var^1.5), as Cunningham et al. compute it",
        ),
        _M("median_kurtosis_var", "E c⁴ / Var², as Cunningham et al. compute it"),
    ),
)
