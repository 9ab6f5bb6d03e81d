"""What `feature_editing` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from darkmatter import api


class FeatureEditingConfig(api.Config):
    """Options of `feature_editing`."""

    dataset: api.MinimalPairsChoice = Field(
        api.MinimalPairsChoice(name="ioi"), description="minimal pairs: prompts and their counterfactuals"
    )
    features: int = Field(8, ge=1, description="number of edited features at which single figures are given")
    largest: int = Field(256, ge=1, description="largest number of features on the curve and in the area")
    order: Literal["pair", "pooled", "greedy"] = Field(
        "pair",
        description="features by attribution, for each pair its own order; or one order for all pairs "
        "(the paper edits one set on all its prompts); or a greedy search on each pair (slow)",
    )
    right: Literal["both", "clean", "any"] = Field(
        "both", description="pairs that count: the model answers both prompts right, the clean one, or any"
    )
    least_pairs: int = Field(10, ge=2, description="with fewer pairs that count, nothing is measured")
    candidates: int = Field(64, ge=1, description="greedy: features searched, the first by attribution")
    thresholds: tuple[float, ...] = Field(
        (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0),
        min_length=1,
        description="greedy: rises of KL (nats) over that of all candidates that a smaller set may cost",
    )
    batch: int = Field(32, ge=1, description="pairs run together (fewer where the logits would be large)")

    @model_validator(mode="after")
    def _enough_pairs(self) -> FeatureEditingConfig:
        # Datasets name their number of pairs as they like; the built-in ones say `pairs`.
        asked = self.dataset.options.get("pairs")
        if isinstance(asked, int) and asked < self.least_pairs:
            message = (
                f"least_pairs is {self.least_pairs}, but the dataset {self.dataset.name!r} is asked for "
                f"{asked} pairs, so nothing could be measured; ask it for more, or lower least_pairs"
            )
            raise ValueError(message)
        return self


_M = api.Metric

FEATURE_EDITING = api.Evaluator(
    name="feature_editing",
    version=2,
    summary="How many features must be edited to turn the model's prediction into that of a counterfactual.",
    implementation="darkmatter_plugins.evaluators.feature_editing.run:FeatureEditing",
    config=FeatureEditingConfig,
    reaches=(),
    requires=frozenset({api.Requirement.MODEL, api.Requirement.DECODER, api.Requirement.RECONSTRUCTION}),
    by_default=False,
    order=95,
    source="Cunningham et al.: feature editing on indirect-object identification (ICLR version, figure 3)",
    metrics=(
        _M(
            "kl_left",
            "KL(counterfactual || edited) with the fixed number of features edited, as a share of that "
            "without an edit: 0 is the counterfactual's prediction",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "area",
            "mean over log2(1 + number of features), from 0 to the largest, of KL as a share of that "
            "without an edit",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "features_for_half",
            "features to edit until half of the KL is gone, on the mean curve",
            unit="features",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "flipped",
            "share of pairs whose edited prediction prefers the counterfactual's answer, with the fixed "
            "number of features",
            low=0,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M("flipped_all", "the same with every feature edited that differs", low=0, high=1),
        _M("flipped_exact", "the same with the counterfactual's own activations in place", low=0, high=1),
        _M("kl0", "mean KL(counterfactual || model) without an edit", unit="nats", low=0),
        _M("kl_all", "mean KL with every feature edited that differs", unit="nats", low=0),
        _M(
            "kl_exact",
            "mean KL with the counterfactual's own activations in place: what no dictionary here can beat",
            unit="nats",
            low=0,
        ),
        _M("edit", "mean over tokens of |x' - x| with the fixed number of features", low=0),
        _M("edit_all", "the same with every feature edited that differs", low=0),
        _M("edit_exact", "mean over tokens of |counterfactual x - x|", low=0),
        _M(
            "distance_all",
            "mean over tokens of |counterfactual x - x'| with every feature edited: the difference of the "
            "SAE's errors",
            low=0,
            higher_is_better=False,
        ),
        _M(
            "moved",
            "mean fall of the logit difference (answer less wrong answer) with the fixed number of "
            "features, as a share of its fall in the counterfactual",
            higher_is_better=True,
        ),
        _M("logit_difference", "mean logit of the answer less that of the wrong one, without an edit"),
        _M("logit_difference_exact", "the same for the counterfactual's prompt"),
        _M("features_all", "mean number of features that differ in a pair", unit="features", low=0),
        _M("right", "share of the dataset's pairs that count", low=0, high=1),
        _M("kl_left_at[*]", "kl_left with this number of features edited", low=0),
        _M("edit_at[*]", "mean over tokens of |x' - x| with this number of features edited", low=0),
        _M("flipped_at[*]", "share of pairs flipped with this number of features edited", low=0, high=1),
    ),
)
