"""What `width_scaling_law` measures."""

from __future__ import annotations

from pydantic import Field

from darkmatter import api


class WidthScalingLawConfig(api.Config):
    """Options of `width_scaling_law`."""

    l0: float | None = Field(
        None, gt=0, description="the L0 whose members are taken; default: that at which most widths lie"
    )
    l0_tolerance: float = Field(
        0.25, ge=0, lt=1, description="how far a member's L0 may lie from it, relative"
    )
    flat: float = Field(
        0.02, gt=0, description="FVU_nonlinear is flat if the interval of its slope lies within ± this"
    )


_M = api.Metric

WIDTH_SCALING_LAW = api.Evaluator(
    name="width_scaling_law",
    summary="The power law c + a W^-m of the FVU in the width W, and what it leaves to wider SAEs.",
    implementation="darkmatter_plugins.evaluators.width_scaling_law.run:WidthScalingLaw",
    config=WidthScalingLawConfig,
    reaches=(),
    requires=frozenset({api.Requirement.FAMILY, api.Requirement.RECONSTRUCTION}),
    scope="family",
    order=55,
    source="Engels et al.: power law of the FVU in the width, its accounting by kinds of error",
    metrics=(
        _M("c", "the FVU that stays however wide the SAE: the law's constant", low=0, primary=True),
        _M("a", "the law's factor, in FVU at width 1", low=0),
        _M("m", "the law's exponent: how fast width removes what width can remove", low=0, primary=True),
        _M("fvu_slope", "d log FVU / d log W, least squares through the members"),
        _M(
            "fvu_nonlinear_slope",
            "d log FVU_nonlinear / d log W; 0 if width leaves the nonlinear error alone, as in the paper",
            primary=True,
        ),
        _M("share.linear", "c - mean FVU_nonlinear: what no width removes, yet is linear in the activation"),
        _M(
            "share.nonlinear",
            "the rest of FVU: mean FVU_nonlinear over widths (the encoder's share of it included)",
            low=0,
        ),
        _M("share.absent[*]", "FVU - c of a member: features that a wider SAE would have"),
        _M(
            "forecast.error",
            "FVU forecast for the widest member by the law of the others, less its FVU",
            primary=True,
        ),
        _M("forecast.widest", "that forecast", low=0),
        _M("forecast.next", "FVU forecast for twice the largest width, by the law of all members", low=0),
        _M("fvu[*]", "FVU of a member, as in `reconstruction`", low=0, higher_is_better=False),
        _M(
            "fvu_nonlinear[*]",
            "FVU_nonlinear of a member, as in `error_decomposition`",
            low=0,
            higher_is_better=False,
        ),
    ),
)
