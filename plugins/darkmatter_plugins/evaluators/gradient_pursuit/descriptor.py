"""What `gradient_pursuit` measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from darkmatter import api


class GradientPursuitConfig(api.Config):
    """Options of `gradient_pursuit`."""

    target: Literal["own"] | Annotated[int, Field(ge=0)] = Field(
        "own", description="latents per token: as many as the SAE itself uses there, or a number"
    )
    max_rows: int | None = Field(
        None, ge=1, description="about so many training and held-out rows each, drawn by the seed (null: all)"
    )
    unit_rows: bool = Field(
        default=True,
        description="pursue decoder rows at unit length (false: at their own, as the authors' script does)",
    )


_M = api.Metric

GRADIENT_PURSUIT = api.Evaluator(
    name="gradient_pursuit",
    summary="How much of the error is the encoder's: codes pursued with the decoder, at the same L0.",
    implementation="darkmatter_plugins.evaluators.gradient_pursuit.run:GradientPursuit",
    config=GradientPursuitConfig,
    reaches=(),
    requires=frozenset({api.Requirement.DECODER}),
    controls=False,
    order=65,
    source="Engels et al.: gradient pursuit, the part of the nonlinear error that the encoder makes",
    metrics=(
        _M(
            "encoder_error",
            "fvu_nonlinear - fvu_nonlinear_after: nonlinear error that better codes avoid",
            primary=True,
        ),
        _M("fvu", "FVU of the SAE's own codes on the rows used", low=0, higher_is_better=False),
        _M(
            "fvu_after",
            "FVU of the pursued codes with the same decoder, as many latents a token at most",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "fvu_nonlinear",
            "FVU that stays when the linear part of the SAE's own error is added back, on the rows used",
            low=0,
            higher_is_better=False,
        ),
        _M(
            "fvu_nonlinear_after",
            "the same for the pursued codes, with a map fitted to their error",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M("fvu_gain", "fvu - fvu_after"),
        _M("fvu_removed", "1 - fvu_after / fvu: share of the error that better codes avoid", high=1),
        _M("fvu_nonlinear_removed", "1 - fvu_nonlinear_after / fvu_nonlinear", high=1),
        _M("l0", "mean number of latents that the SAE uses on the rows used", unit="latents", low=0),
        _M(
            "l0_after",
            "mean number of pursued latents; below the target where steps clamp or repeat an atom",
            unit="latents",
            low=0,
        ),
    ),
)
