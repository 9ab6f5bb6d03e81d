"""What `error_decomposition` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class ErrorDecompositionConfig(api.Config):
    """Options of `error_decomposition`; each switches one convention of the paper's scripts on."""

    bias: bool = Field(default=True, description="fit an intercept (the authors' main scripts do not)")
    r2_reduction: Literal["pooled", "per_dim"] = Field(
        "pooled", description="error_r2 over all dimensions together, or the mean of each dimension's R²"
    )
    eval_rows: Literal["test", "all"] = Field(
        "test", description="held-out rows, or training and held-out rows together (optimistic, no interval)"
    )
    norm_power: Literal[2, 1] = Field(2, description="predict |v|² (the paper's norm test) or |v|")
    fvu_center: Literal["per_dim", "scalar", "none"] = Field(
        "per_dim", description="FVU's denominator: about each dimension's mean, one scalar mean, or zero"
    )
    authors: bool = Field(
        default=True, description="also report the numbers that the authors' conventions give (authors.*)"
    )


_M = api.Metric

VECTORS = {
    "x": "the activation x",
    "sae": "the reconstruction Sae(x)",
    "error": "the error e",
    "linear": "the linear error b*x + c",
    "nonlinear": "the nonlinear error e - (b*x + c)",
}
"""The five vectors whose norms are predicted from x."""

ERROR_DECOMPOSITION = api.Evaluator(
    name="error_decomposition",
    summary="How much of the SAE's error, and of its norm, is a linear function of the activation.",
    implementation="darkmatter_plugins.evaluators.error_decomposition.run:ErrorDecomposition",
    config=ErrorDecompositionConfig,
    reaches=(),
    requires=frozenset({api.Requirement.RECONSTRUCTION}),
    version=2,
    order=20,
    source="Engels et al.: linear predictability of the error, FVU_nonlinear, norm-prediction tests",
    metrics=(
        _M(
            "error_r2",
            "share of the error's variance that a linear map of the activation predicts on held-out rows",
            high=1,
            primary=True,
        ),
        _M(
            "error_norm_r2",
            "share of the variance of |e|² that a linear map of the activation predicts",
            high=1,
            primary=True,
        ),
        _M(
            "fvu_linear",
            "fvu - fvu_nonlinear: what the linear map of the activation explains, constant included",
            primary=True,
        ),
        _M(
            "fvu_nonlinear",
            "FVU that stays when the linear part of the error is added back",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "fvu_bias",
            "the part of fvu (and of fvu_linear) that is a constant error",
            low=0,
            higher_is_better=False,
        ),
        _M("error_r2_per_dim", "mean over dimensions of each dimension's R² (the paper's reduction)", high=1),
        *(
            _M(f"norm_r2.{key}", f"R² of the squared norm of {text} from x", high=1)
            for key, text in VECTORS.items()
        ),
        _M(
            "authors.error_r2",
            "error_r2 as the authors' scripts compute it: no intercept, mean over dimensions",
            high=1,
        ),
        _M(
            "authors.fvu_nonlinear",
            "fvu_nonlinear as the authors' scripts compute it: no intercept, all rows together",
            low=0,
            higher_is_better=False,
        ),
        _M("authors.error_norm_r2", "error_norm_r2 without intercept, as the authors compute it", high=1),
        _M(
            "authors.norm_r2.sae_plus_nonlinear",
            "R² of |Sae(x) + nonlinear error|² = |x - b*x|² from x, without intercepts: a vector that the "
            "authors' figure calls Sae(x) - NonlinearError",
            high=1,
        ),
        _M(
            "feature_norm.correlation",
            "correlation over latents of a*·w/|w| with the latent's mean active value; a* predicts the "
            "squared norm of the sum of features",
            low=-1,
            high=1,
        ),
        _M("feature_norm.slope", "slope of a*·w/|w| over the latent's mean active value; 1 in theory"),
        _M(
            "feature_norm.latents",
            "latents compared: those that fire on held-out rows",
            unit="latents",
            low=0,
        ),
        _M(
            "authors.feature_norm.correlation",
            "feature_norm.correlation with a* fitted without intercept, as the authors compute it",
            low=-1,
            high=1,
        ),
        _M("authors.feature_norm.slope", "feature_norm.slope with a* fitted without intercept"),
    ),
)
