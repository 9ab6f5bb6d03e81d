"""What `error_norm_baselines` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class ErrorNormBaselinesConfig(api.Config):
    """Options of `error_norm_baselines`."""

    norm_power: Literal[2, 1] = Field(2, description="predict |e|² (the paper's choice) or |e|")
    token_shrinkage: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="k of (n·mean + k·global mean) / (n + k), the prediction of a token id seen n times",
    )


_M = api.Metric

REGRESSORS = {
    "activations": "the activation x (linear, with intercept)",
    "token": "the token id (its training mean; ids not seen in training get the global one)",
    "loss": "the model's clean loss on the token",
    "l0": "the number of active latents",
    "norm": "|x|",
    "norm_squared": "|x|²",
    "position": "the position within the context, linearly",
    "position_means": "the position within the context, each with its training mean",
}
"""What the error's norm is predicted from."""

HEADLINES = ("activations", "token", "loss", "l0", "norm", "position")

ERROR_NORM_BASELINES = api.Evaluator(
    name="error_norm_baselines",
    summary="How well activation, token, loss and other scalars predict the error's squared norm.",
    implementation="darkmatter_plugins.evaluators.error_norm_baselines.run:ErrorNormBaselines",
    config=ErrorNormBaselinesConfig,
    reaches=(),
    requires=frozenset({api.Requirement.RECONSTRUCTION}),
    order=30,
    source="Engels et al., appendix: baselines of the norm prediction, on held-out rows",
    metrics=(
        *(
            _M(f"r2.{name}", f"R² of |e|² from {text}", high=1, primary=name in HEADLINES)
            for name, text in REGRESSORS.items()
        ),
        _M(
            "authors.r2.token",
            "r2.token as the authors compute it: means over all rows, the predicted one among them",
            low=0,
            high=1,
        ),
    ),
)
