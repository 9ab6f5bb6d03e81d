"""What `fvu_l0_curve` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api

Name = Literal["pca", "pca_topk", "random", "identity", "identity_relu", "ica"]

BASELINES: dict[Name, str] = {
    "pca": "the k leading principal components",
    "pca_topk": "the k largest principal scores of each token, by size",
    "random": "the k largest projections onto random directions",
    "identity": "the k largest coordinates of each token, by size",
    "identity_relu": "the k largest positive coordinates of each token",
    "ica": "the k largest independent components of each token",
}


class FvuL0CurveConfig(api.Config):
    """Options of `fvu_l0_curve`."""

    baselines: tuple[Name, ...] = Field(
        ("pca", "pca_topk", "random", "identity", "identity_relu"),
        min_length=1,
        description="whose curves are drawn; ica costs a fit by FastICA",
    )
    points: int = Field(64, ge=2, description="values of k per curve, beside those at the L0s of the SAEs")
    random_width: int = Field(0, ge=0, description="number of random directions; 0: 8 times the dimension")
    ica_rows: int = Field(20_000, ge=100, description="training rows used for FastICA")
    ica_max_iterations: int = Field(200, ge=1, description="iterations of FastICA")


_M = api.Metric
_HEADLINE = ("pca", "pca_topk", "random")

FVU_L0_CURVE = api.Evaluator(
    name="fvu_l0_curve",
    summary="FVU against L0 of a family, beside the curves of PCA, random directions and coordinates.",
    implementation="darkmatter_plugins.evaluators.fvu_l0_curve.run:FvuL0Curve",
    config=FvuL0CurveConfig,
    reaches=(),
    requires=frozenset({api.Requirement.RECONSTRUCTION}),
    scope="family",
    order=15,
    source="Cunningham et al.: FVU against sparsity, with PCA, ICA, random and identity dictionaries",
    metrics=(
        *(
            _M(
                f"area.{name}",
                f"mean FVU of {text} minus that of the family's frontier, over log L0",
                higher_is_better=True,
                primary=name in _HEADLINE,
            )
            for name, text in BASELINES.items()
        ),
        *(
            _M(
                f"ratio.{name}[*]",
                f"FVU of an SAE over that of {text}, at the SAE's L0",
                low=0,
                higher_is_better=False,
            )
            for name, text in BASELINES.items()
        ),
        *(
            _M(f"fvu.{name}[*]", f"FVU of {text}, at the L0 of an SAE", low=0, higher_is_better=False)
            for name, text in BASELINES.items()
        ),
        *(
            _M(
                f"l0.{name}[*]",
                f"L0 at which {BASELINES[name]} reach the FVU of an SAE",
                unit="latents",
                low=0,
            )
            for name in ("pca", "pca_topk")
        ),
        _M(
            "fvu[*]",
            "FVU of an SAE, as in `reconstruction`",
            low=0,
            higher_is_better=False,
        ),
    ),
)
