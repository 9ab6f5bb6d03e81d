"""What `feature_recovery` measures."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from darkmatter import api
from darkmatter_plugins.pinned import with_hash

KNOWN = ("concepts", "truth", "truth_sae")


class FeatureRecoveryConfig(api.Config):
    """Options of `feature_recovery`: one of the first three says which features are known."""

    concepts: api.ConceptsChoice | None = Field(
        None, description="dataset of concepts whose mean directions are known features (world_concepts)"
    )
    truth: str | None = Field(
        None,
        description="safetensors file with the true features as rows: the tensor `features` [n, d]; relative "
        "to the working directory",
    )
    truth_hash: str | None = Field(None, description="hash of that file; found where it is not given")
    truth_sae: str | None = Field(
        None, description="name of an SAE of the run whose decoder rows are the true features"
    )
    threshold: float = Field(0.9, ge=-1, le=1, description="cosine above which a feature is recovered")
    min_rows: int = Field(
        10, ge=1, description="concepts with fewer rows on either side of the split are left out"
    )
    max_rows: int | None = Field(
        50_000, ge=1, description="rows of concepts on each side at most, drawn by the seed; null: all"
    )

    @model_validator(mode="before")
    @classmethod
    def _pin(cls, values: Any) -> Any:
        return with_hash(values, "truth", "truth_hash")

    @model_validator(mode="after")
    def _one(self) -> FeatureRecoveryConfig:
        given = [name for name in KNOWN if getattr(self, name) is not None]
        if len(given) > 1:
            message = f"{' and '.join(given)}: expected one of {', '.join(KNOWN)}"
            raise ValueError(message)
        if not given:
            message = (
                "no features are known; set one of concepts (a dataset, such as word_lists,path=FILE), "
                "truth (a safetensors file) and truth_sae (an SAE of the run)"
            )
            raise ValueError(message)
        return self

    def looks_at(self) -> tuple[str, ...] | None:
        """The SAE that holds the true features, if one does."""
        return None if self.truth_sae is None else (self.truth_sae,)


_M = api.Metric

FEATURE_RECOVERY = api.Evaluator(
    name="feature_recovery",
    version=2,
    summary="Whether the dictionary holds features that are known to be there.",
    implementation="darkmatter_plugins.evaluators.feature_recovery.run:FeatureRecovery",
    config=FeatureRecoveryConfig,
    reaches=(api.Reach("files", option="truth"),),
    by_default=False,
    order=92,
    requires=frozenset({api.Requirement.DECODER}),
    sees=frozenset({"named"}),
    source="Cunningham et al.: mean max cosine similarity with the features of toy models",
    metrics=(
        _M(
            "recovery",
            "mean over known features of the cosine with the latent nearest to each; concepts: of the groups "
            "whose agreement has an interval above 0",
            low=-1,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "recovery_excess",
            "recovery less what as many random directions give on the same rows",
            low=-2,
            high=2,
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "recovered",
            "share of known features with a cosine above `threshold`",
            low=0,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "auroc",
            "mean over the same concepts of the held-out AUROC of the latent that tells a concept's tokens "
            "best in training",
            low=0,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M("auroc_direction", "the same for the concepts' own directions: no SAE involved", low=0, high=1),
        _M("recovery[*]", "recovery over the concepts of a group", low=-1, high=1, higher_is_better=True),
        _M(
            "recovery_excess[*]",
            "recovery_excess over the concepts of a group, whatever its agreement",
            low=-2,
            high=2,
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "agreement[*]",
            "mean cosine of a concept's training direction with its held-out one: noise lowers it",
            low=-1,
            high=1,
        ),
        _M("auroc[*]", "auroc over the concepts of a group", low=0, high=1, higher_is_better=True),
        _M("auroc_direction[*]", "auroc_direction over the concepts of a group", low=0, high=1),
    ),
)
