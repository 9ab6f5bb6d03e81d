"""Descriptors of the built-in controls; what they do stands beside each ``fit``."""

from __future__ import annotations

from pydantic import Field

from darkmatter import api

_HERE = "darkmatter_plugins.baselines"


class NoConfig(api.Config):
    """No options."""


class RankConfig(api.Config):
    """How many directions are kept."""

    k: int = Field(16, ge=0, description="directions kept (rank), or kept per token")


class RandomConfig(api.Config):
    """A random dictionary."""

    width: int = Field(0, ge=0, description="number of random directions; 0: 8 times the dimension")
    k: int = Field(16, ge=1, description="directions kept per token")


class NoiseConfig(api.Config):
    """Added noise."""

    scale: float = Field(
        0.1,
        ge=0,
        description="standard deviation of the noise, relative to that of the activations per dimension",
    )


class IcaConfig(api.Config):
    """Independent components."""

    k: int = Field(16, ge=1, description="components kept per token")
    rows: int = Field(20_000, ge=100, description="training rows used for FastICA")
    max_iterations: int = Field(200, ge=1, description="iterations of FastICA")


def _baseline(name: str, summary: str, fit: str, config: type[api.Config]) -> api.Baseline:
    return api.Baseline(
        name=name, summary=summary, implementation=f"{_HERE}.{fit}", config=config, reaches=()
    )


BASELINES = (
    _baseline(
        "identity", "Gives x back: the ceiling, with every dimension active.", "trivial:identity", NoConfig
    ),
    _baseline("zero", "Always gives zero.", "trivial:zero", NoConfig),
    _baseline("mean", "Always gives the training mean.", "trivial:mean", NoConfig),
    _baseline(
        "identity_relu", "relu(x): keeps the positive half of every dimension.", "trivial:relu", NoConfig
    ),
    _baseline("noise", "x plus Gaussian noise.", "noise:fit", NoiseConfig),
    _baseline(
        "random", "Random directions, the k largest projections per token.", "random:fit", RandomConfig
    ),
    _baseline("pca", "Centred principal components of rank k.", "pca:fit_static", RankConfig),
    _baseline("pca_topk", "All principal components, the k largest per token.", "pca:fit_topk", RankConfig),
    _baseline(
        "pca_nonneg",
        "Both signs of the k leading components, negative scores cut off: PCA with codes as an SAE's.",
        "pca:fit_nonneg",
        RankConfig,
    ),
    _baseline("ica", "Independent components, the k largest per token.", "ica:fit", IcaConfig),
)
