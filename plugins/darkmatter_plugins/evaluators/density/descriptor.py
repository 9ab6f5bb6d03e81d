"""What `density` measures."""

from __future__ import annotations

from pydantic import Field

from darkmatter import api


class DensityConfig(api.Config):
    """Options of `density`."""

    active_above: int = Field(10, ge=0, description="a latent counts as active above so many firings")
    active_rate: float = Field(
        10 / 2**21,
        gt=0,
        le=1,
        description="a latent is active by rate where it fires on more than this share of tokens; "
        "the paper's 10 firings in a chunk of about 2.1 million tokens",
    )
    bins_per_decade: int = Field(4, ge=1, le=100, description="bins of the log10 histogram")
    table_latents: int = Field(
        50, ge=0, description="latents in the table, the most frequent ones; 0: no table"
    )


_M = api.Metric

DENSITY = api.Evaluator(
    name="density",
    summary="How often latents fire, and how heavy-tailed their codes are.",
    implementation="darkmatter_plugins.evaluators.density.run:Density",
    config=DensityConfig,
    reaches=(),
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
            "active_share",
            "share of latents that fire more than `active_above` times; it grows with the tokens",
            low=0,
            high=1,
        ),
        _M(
            "active_by_rate",
            "share of latents whose firing rate is above `active_rate`, whatever the number of tokens",
            low=0,
            high=1,
        ),
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
        _M(
            "median_mean",
            "median over alive latents of the mean code E c, over all tokens, zeros included",
            unit="activation",
        ),
        _M("median_variance", "median over alive latents of Var c = E (c - E c)²", unit="activation²", low=0),
        _M("median_skew_central", "median over alive latents of E (c - E c)³ / Var^1.5, the usual skewness"),
        _M(
            "median_kurtosis_central",
            "median over alive latents of E (c - E c)⁴ / Var², the usual kurtosis (3 for a Gaussian)",
            low=1,
        ),
        _M("median_skew", "median over alive latents of E c³ / (E c²)^1.5, moments about zero"),
        _M("median_kurtosis", "median over alive latents of E c⁴ / (E c²)², moments about zero", low=1),
        _M(
            "median_skew_var",
            "the same with Var c in place of E c² (E c³ / Var^1.5), as Cunningham et al. compute it",
        ),
        _M("median_kurtosis_var", "E c⁴ / Var², as Cunningham et al. compute it"),
    ),
)
