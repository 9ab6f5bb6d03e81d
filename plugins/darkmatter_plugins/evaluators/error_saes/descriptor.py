"""What `error_saes` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class ErrorSAEsConfig(api.Config):
    """Options of `error_saes`: what is trained, for how long, and how its latents are scored."""

    k: int = Field(32, ge=1, description="active latents of the trained SAEs")
    expansion: int = Field(16, ge=1, description="their latents per dimension of the error")
    width: int | None = Field(None, ge=1, description="their latents; replaces expansion")
    steps: int = Field(1000, ge=1, description="optimiser steps of each")
    batch: int = Field(1024, ge=2, description="rows of a step")
    buffer: int = Field(16, ge=2, description="batches in the shuffle buffer")
    lr: float = Field(3e-3, gt=0, description="peak learning rate of Adam, on rows of unit variance")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps before the peak rate")
    auxk: float = Field(
        0.0, ge=0, description="weight of the loss that revives dead latents; the paper has 0"
    )
    centre: Literal["geometric_median", "mean"] = Field(
        "geometric_median", description="where the decoder's bias begins"
    )
    seeds: int = Field(3, ge=1, description="SAEs trained per part of the error, each from its own seed")
    latents: int = Field(100, ge=0, description="sampled latents whose interpretability is scored; 0: none")
    fragment: int = Field(32, ge=2, description="tokens of a fragment")
    train_fragments: int = Field(50, ge=1, description="top, and random, fragments that simulators see")
    test_fragments: int = Field(20, ge=1, description="top, and random, fragments that they are scored on")
    draw: Literal["any", "active"] = Field(
        "any", description="random fragments: of all, or of those on which the latent fires (more lenient)"
    )


PARTS = {
    "error": "the whole error e",
    "linear": "the linear error b*x + c",
    "nonlinear": "the nonlinear error e - (b*x + c)",
}
"""The three vectors on which SAEs are trained."""

_M = api.Metric


def _each(name: str, meaning: str, *, primary: tuple[str, ...] = (), **fields: float) -> list[api.Metric]:
    """The metric of each part; ``{}`` in its meaning is the part."""
    return [
        _M(f"{name}.{part}", meaning.format(text), primary=part in primary, **fields)  # type: ignore[arg-type]
        for part, text in PARTS.items()
    ]


_SPLIT = ("linear", "nonlinear")

ERROR_SAES = api.Evaluator(
    name="error_saes",
    summary="TopK SAEs trained on the parts of the error: is one part easier to learn, or to interpret?",
    implementation="darkmatter_plugins.evaluators.error_saes.run:ErrorSAEs",
    config=ErrorSAEsConfig,
    reaches=(),
    requires=frozenset({api.Requirement.TRAINING, api.Requirement.RECONSTRUCTION}),
    controls=False,
    by_default=False,
    order=80,
    source="Engels et al.: SAEs trained on linear and nonlinear error, norm-prediction test",
    metrics=(
        *_each(
            "fvu",
            "held-out FVU of an SAE trained on {}, relative to that part's own variance (first seed)",
            primary=_SPLIT,
            low=0,
        ),
        _M("fvu_gap", "fvu.nonlinear - fvu.linear: above 0, the linear error is easier to learn"),
        _M(
            "fvu_gap_mean",
            "fvu_gap averaged over training seeds; the two SAEs of a seed see the same batches",
        ),
        *_each("fvu_of_x", "what an SAE trained on {} misses, relative to the variance of x", low=0),
        *_each("fvu_mean", "fvu.* averaged over training seeds, for {}", low=0),
        *_each("fvu_std", "standard deviation of fvu.* over training seeds, for {}", low=0),
        *_each("fvu_range", "largest less smallest fvu.* over training seeds, for {}", low=0),
        *_each("dead", "share of latents trained on {} that never fire on held-out rows", low=0, high=1),
        *_each(
            "similarity",
            "mean over latents trained on {} that fire of the largest cosine with a decoder row of the SAE",
            low=-1,
            high=1,
        ),
        *_each(
            "similarity_excess",
            "similarity.* less what as many random directions give, for {}",
            low=-2,
            high=1,
        ),
        *_each(
            "score",
            "correlation of activations with those simulated from the last two tokens, mean over latents "
            "trained on {}",
            primary=_SPLIT,
            low=-1,
            high=1,
        ),
        *_each("score_token", "the same with a simulator that sees the token alone, for {}", low=-1, high=1),
        *_each("score_undefined", "scored latents whose simulation is constant, taken as 0, for {}", low=0),
        _M(
            "norm_r2_gap",
            "norm_r2.linear - norm_r2.nonlinear of error_decomposition: above 0, the linear error looks more "
            "like a sum of sparse features",
        ),
    ),
)
