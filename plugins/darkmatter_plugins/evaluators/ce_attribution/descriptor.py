"""What `ce_attribution` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class CEAttributionConfig(api.Config):
    """Options of `ce_attribution`."""

    patch_positions: Literal["evaluated", "all"] = Field(
        "evaluated",
        description="patch the held-out rows, other positions keep the model's own activations (the paper); "
        "or patch every position, BOS included (comparable to SAEBench)",
    )
    contexts: int | None = Field(None, ge=1, description="test contexts at most, the first ones; null: all")
    batch: int = Field(8, ge=1, description="contexts run together (fewer where the logits would be large)")
    controls: Literal["none", "nonlinear", "both"] = Field(
        "nonlinear",
        description="also add back shuffled and random vectors of the norms of the nonlinear error, or of "
        "both parts; each costs one run of the blocks after the hook point",
    )
    bias: bool = Field(default=True, description="fit b* with an intercept (the authors do not)")


_M = api.Metric

SETTINGS = {
    "sae": "the reconstruction S in place of the activation",
    "sae_linear": "S + L, the linear error added back",
    "sae_nonlinear": "S + N, the nonlinear error added back",
    "sae_shuffled": "S + the nonlinear error of other tokens",
    "sae_random": "S + random vectors of the nonlinear error's norms",
    "sae_shuffled_linear": "S + the linear error of other tokens",
    "sae_random_linear": "S + random vectors of the linear error's norms",
    "zero": "zeros in place of the activation",
    "mean": "the training mean in place of the activation",
}
"""What is put at the hook point."""

PERPLEXITIES = {"clean": "the model itself", **{name: SETTINGS[name] for name in ("sae", "zero", "mean")}}
"""Settings whose perplexity is given."""

CONTROLS = ("shuffled", "random", "shuffled_linear", "random_linear")
PARTS = {"linear": "L = b*x + c", "nonlinear": "N = e - L"}

CE_ATTRIBUTION = api.Evaluator(
    name="ce_attribution",
    summary="What the SAE, and each part of its error, costs the model's cross-entropy.",
    implementation="darkmatter_plugins.evaluators.ce_attribution.run:CEAttribution",
    config=CEAttributionConfig,
    reaches=(),
    requires=frozenset({api.Requirement.MODEL, api.Requirement.TOKENS, api.Requirement.RECONSTRUCTION}),
    order=60,
    source="Engels et al.: effect of linear and nonlinear error on cross-entropy; loss recovered, KL",
    metrics=(
        *(
            _M(
                f"share.ce.{part}",
                f"share of the CE increase that goes when {text} is added back to the reconstruction",
                unit="%",
                primary=True,
            )
            for part, text in PARTS.items()
        ),
        _M(
            "loss_recovered",
            "(CE_zero - CE_sae) / (CE_zero - CE_clean): 1 costs nothing, 0 is as bad as zeros",
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "kl",
            "mean KL(clean || patched) of the predictions, with the reconstruction at the hook point",
            unit="nats",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "loss_recovered_mean",
            "the same against the training mean: (CE_mean - CE_sae) / (CE_mean - CE_clean)",
            higher_is_better=True,
        ),
        _M("ce.clean", "mean cross-entropy of the model itself", unit="nats", low=0),
        *(
            _M(f"ce.{name}", f"mean cross-entropy with {text}", unit="nats", low=0, higher_is_better=False)
            for name, text in SETTINGS.items()
        ),
        *(
            _M(
                f"ce_increase.{name}",
                f"ce.{name} - ce.clean, paired over tokens",
                unit="nats",
                higher_is_better=False,
            )
            for name in SETTINGS
        ),
        *(
            _M(
                f"perplexity.{name}",
                f"exp of the mean cross-entropy per token with {text}",
                low=1,
                higher_is_better=False if name == "sae" else None,
            )
            for name, text in PERPLEXITIES.items()
        ),
        *(
            _M(
                f"share.ce.{name}",
                f"share of the CE increase that the control sae_{name} takes away",
                unit="%",
            )
            for name in CONTROLS
        ),
        *(
            _M(
                f"share.fvu.{part}",
                f"share of FVU that goes when {text} is added back, on the same rows",
                unit="%",
                high=100,
            )
            for part, text in PARTS.items()
        ),
        *(
            _M(f"share.norm.{part}", f"mean norm of {text} over mean norm of e", unit="%", low=0)
            for part, text in PARTS.items()
        ),
        *(
            _M(f"share.norm_per_token.{part}", f"mean over tokens of |{text[0]}| / |e|", unit="%", low=0)
            for part, text in PARTS.items()
        ),
    ),
)
