"""What `synthetic_noise` measures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from darkmatter import api

Level = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

GRID = (0.0, 1.0, 2.0, 3.0, 4.0)


class SyntheticNoiseConfig(api.Config):
    """Options of `synthetic_noise`."""

    levels: tuple[Level, ...] = Field(
        GRID, min_length=2, description="standard deviations of either noise; the grid is all pairs of them"
    )
    relative: bool = Field(
        default=True,
        description="levels are multiples of the signal's standard deviation per dimension (false: absolute)",
    )
    ablated: tuple[Share, ...] = Field(
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        min_length=1,
        description="shares of the latents that are ablated, those of smallest mean activation first",
    )
    pairs: tuple[tuple[Level, Level], ...] = Field(
        ((1.0, 0.6), (0.6, 1.0)),
        description="levels of activation and reconstruction noise at which latents are ablated",
    )
    max_rows: int | None = Field(
        None, ge=1, description="about so many training and held-out rows each, drawn by the seed (null: all)"
    )
    authors: bool = Field(default=True, description="also report the authors' conventions (authors.*)")


CORRELATIONS = {
    "activation_noise.linear": "level of activation noise and estimated linear part",
    "activation_noise.nonlinear": "level of activation noise and estimated nonlinear part",
    "reconstruction_noise.linear": "level of reconstruction noise and estimated linear part",
    "reconstruction_noise.nonlinear": "level of reconstruction noise and estimated nonlinear part",
}

_M = api.Metric

SYNTHETIC_NOISE = api.Evaluator(
    name="synthetic_noise",
    summary="Noise added to the activation or to the reconstruction: do the two parts of the error follow?",
    implementation="darkmatter_plugins.evaluators.synthetic_noise.run:SyntheticNoise",
    config=SyntheticNoiseConfig,
    reaches=(),
    requires=frozenset({api.Requirement.RECONSTRUCTION}),
    controls=False,
    order=75,
    source="Engels et al.: synthetic noise experiment",
    metrics=(
        *(
            _M(f"corr.{name}", f"correlation over the noise grid: {text}", low=-1, high=1, primary=True)
            for name, text in CORRELATIONS.items()
        ),
        *(
            _M(
                f"expected.{name}",
                f"what an SAE without error gives on an isotropic signal: {text}",
                low=-1,
                high=1,
            )
            for name, text in CORRELATIONS.items()
        ),
        *(
            _M(
                f"authors.corr.{name}",
                f"corr.{name} as the authors' script means it: absolute levels 0 to 4, no intercept, "
                "all rows, one scalar mean in FVU",
                low=-1,
                high=1,
            )
            for name in CORRELATIONS
        ),
        _M(
            "signal_std",
            "standard deviation per dimension of the synthetic signal Sae(x) on training rows",
            low=0,
        ),
        _M(
            "own_output_fvu",
            "FVU of Sae(Sae(x)) against Sae(x): error of the synthetic SAE before any noise",
            low=0,
            higher_is_better=False,
        ),
    ),
)
