"""What `error_scaling` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class ErrorScalingConfig(api.Config):
    """Options of `error_scaling`."""

    norm_power: Literal[1, 2] = Field(1, description="predict |e| (the paper) or |e|²")
    tokens: int = Field(
        100, ge=0, le=10_000, description="consecutive held-out tokens whose norms become curves"
    )


_M = api.Metric

ERROR_SCALING = api.Evaluator(
    name="error_scaling",
    version=2,
    summary="How well error norms of narrower SAEs predict those of wider ones, token by token.",
    implementation="darkmatter_plugins.evaluators.error_scaling.run:ErrorScaling",
    config=ErrorScalingConfig,
    reaches=(),
    requires=frozenset({api.Requirement.FAMILY, api.Requirement.RECONSTRUCTION}),
    scope="family",
    order=50,
    source="Engels et al.: per-token scaling of the error norm",
    metrics=(
        _M(
            "r2.next",
            "R² of the widest member's |e| on held-out tokens, predicted from |e| of all narrower members",
            high=1,
            primary=True,
        ),
        _M("r2.mean", "mean of r2[narrower→wider] over pairs of different width", high=1, primary=True),
        _M(
            "r2_gain_nonlinear.next",
            "percent of the FVU of r2.next that goes when |N| of the narrower members joins",
            unit="%",
            high=100,
        ),
        _M(
            "r2_gain_nonlinear.mean",
            "mean of r2_gain_nonlinear over pairs of different width",
            unit="%",
            high=100,
            primary=True,
        ),
        _M(
            "r2[*]",
            "r2[i→j]: R² of member j's |e| on held-out tokens, predicted from [1, |e|] of member i",
            high=1,
        ),
        _M(
            "r2_gain_nonlinear[*]",
            "r2_gain_nonlinear[i→j]: percent of the FVU of r2[i→j] that goes when member i's |N| joins",
            unit="%",
            high=100,
        ),
    ),
)
