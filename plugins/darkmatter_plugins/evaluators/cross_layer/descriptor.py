"""What `cross_layer` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api

Kind = Literal["reconstruction", "activation", "codes"]
"""What of a source is regressed on."""

KINDS: tuple[Kind, ...] = ("reconstruction", "activation", "codes")


class CrossLayerConfig(api.Config):
    """Options of `cross_layer`."""

    sources: tuple[str, ...] | None = Field(
        None, description="names of the SAEs that are regressed on; null: all at other hook points"
    )
    kinds: tuple[Kind, ...] = Field(
        KINDS, min_length=1, description="what of a source is regressed on: reconstruction, activation, codes"
    )
    max_code_width: int = Field(
        2048, ge=1, description="codes are regressed on where no more latents than this fire in training"
    )
    rows_per_regressor: int = Field(
        5,
        ge=1,
        description="codes are regressed on where training has so many rows for each of them and of x",
    )
    max_joint_width: int = Field(
        8192, ge=1, description="all sources are regressed on at once where they are together no wider"
    )
    controls: bool = Field(default=True, description="also shuffled sources and random subspaces of x")
    bias: bool = Field(default=True, description="fit intercepts (the authors' scripts do not)")
    per_dim: bool = Field(
        default=False, description="also the mean over dimensions of each dimension's R² (the paper's)"
    )

    def looks_at(self) -> tuple[str, ...] | None:
        """The sources, where they are named."""
        return self.sources


_M = api.Metric

TARGETS = {
    "error": "the error e",
    "linear": "its linear part b*x + c",
    "nonlinear": "its nonlinear part e - (b*x + c)",
}
"""What is predicted from a source."""

CROSS_LAYER = api.Evaluator(
    name="cross_layer",
    summary="How much of the error other SAEs' reconstructions, activations or codes predict.",
    implementation="darkmatter_plugins.evaluators.cross_layer.run:CrossLayer",
    config=CrossLayerConfig,
    reaches=(),
    order=70,
    requires=frozenset({api.Requirement.OTHER_HOOKS, api.Requirement.RECONSTRUCTION}),
    sees=frozenset({"elsewhere", "named"}),
    source="Engels et al.: predicting parts of the error from other SAEs' reconstructions",
    metrics=(
        _M("r2.error[all]", "R² of e from the reconstructions of all sources at once", high=1, primary=True),
        _M("r2.nonlinear[all]", "R² of e's nonlinear part from all sources at once", high=1, primary=True),
        _M(
            "r2.nonlinear[itself]",
            "R² of e's nonlinear part from the SAE's own reconstruction: what any source has to beat",
            high=1,
            primary=True,
        ),
        _M(
            "fvu_nonlinear_after[all]",
            "FVU that stays when what x and all sources together predict of e is added back",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        *(
            _M(f"r2.{key}[*]", f"R² of {text} from a source, held out", high=1)
            for key, text in TARGETS.items()
        ),
        _M(
            "fvu_after[*]",
            "FVU that stays when what a source predicts of e is added back, at the same L0",
            low=0,
            higher_is_better=False,
        ),
        _M(
            "fvu_nonlinear_after[*]",
            "FVU that stays when what x and a source together predict of e is added back",
            low=0,
            higher_is_better=False,
        ),
        *(
            _M(f"r2_per_dim.{key}[*]", f"mean over dimensions of the R² of {text} (the paper's)", high=1)
            for key, text in TARGETS.items()
        ),
    ),
)
