"""What `concept_erasure` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class ConceptErasureConfig(api.Config):
    """Options of `concept_erasure`."""

    dataset: api.LabelledPromptsChoice = Field(
        api.LabelledPromptsChoice(name="gender_names"),
        description="labelled prompts; not used for raw activations, whose labels are erased instead",
    )
    positions: Literal["name", "last", "all"] = Field(
        "name",
        description="positions of a prompt that are fitted, edited and probed: from the first token of the "
        "name on, the last one alone, or all but the first (where BOS is)",
    )
    choose: Literal["cosine", "probe"] = Field(
        "cosine",
        description="how latents are ranked on the training rows: by |cosine| of their decoder row with the "
        "difference of the class means, or by how much a probe's accuracy drops without them",
    )
    candidates: int = Field(16, ge=1, description="latents of largest |cosine| that `choose: probe` tries")
    min_rate: float = Field(
        0.01, ge=0, le=1, description="share of the training rows on which a latent must be active"
    )
    latents: int = Field(8, ge=1, description="latents whose span `latents` takes out")
    centre: bool = Field(
        default=True,
        description="project about the mean of the training rows; false: about 0, which also takes out what "
        "both classes share (the authors)",
    )
    random_seeds: int = Field(5, ge=1, description="random directions")
    ridge: float = Field(
        0.01, gt=0, description="ridge of the probes, times the mean variance of a coordinate"
    )
    folds: int = Field(4, ge=2, description="parts of the held-out names for the fresh probe")
    contexts: int = Field(32, ge=0, description="held-out contexts for the side effect; 0: none")
    batch: int = Field(16, ge=1, description="prompts or contexts run together")
    max_rows: int | None = Field(20000, ge=1, description="rows of raw activations on either side; null: all")


_M = api.Metric

METHODS = {
    "none": "no edit",
    "latent": "the decoder row of one latent projected out",
    "latents": "the span of the decoder rows of several latents projected out",
    "latent_subtracted": "the latent's contribution subtracted where it is active",
    "mean_difference": "the difference of the class means projected out",
    "leace": "LEACE",
    "random": "a random direction projected out (mean of several)",
}
"""What is done to the activations."""

HEADLINE = {
    "probe_auroc_fresh": ("none", "latent", "leace"),
    "task": ("none", "latent", "leace"),
    "kl": ("latent", "leace"),
}
"""What tables show: before the edit, one latent, and the method to hold it against."""

BY_CONSTRUCTION = ("mean_difference", "leace")
"""Edits after which the class means of the training rows coincide, so that a linear probe learns nothing."""

COSTS = ("edit", "edit_frobenius", "kl")
"""What is better the smaller it is; the best AUROC and task score is 1/2."""


def _caveat(name: str, method: str) -> str:
    if name != "probe_auroc" or method not in BY_CONSTRUCTION:
        return ""
    return (
        ": 1/2 by construction, since the class means of the training rows coincide and the fitted probe is "
        "constant; see probe_auroc_fresh"
    )


CONCEPT_ERASURE = api.Evaluator(
    name="concept_erasure",
    version=2,
    summary="How well a concept is taken out by the SAE's latents, by LEACE and others, and at what cost.",
    implementation="darkmatter_plugins.evaluators.concept_erasure.run:ConceptErasure",
    config=ConceptErasureConfig,
    reaches=(),
    requires=frozenset({api.Requirement.LABELS_OR_MODEL, api.Requirement.DECODER}),
    by_default=False,
    order=80,
    source="Cunningham et al.: pronoun erasure against LEACE; Belrose et al.: LEACE",
    metrics=tuple(
        _M(
            f"{name}.{method}",
            f"{meaning}; {text}{_caveat(name, method)}",
            unit=unit,
            low=0,
            high=high,
            higher_is_better=False if name in COSTS and method != "none" else None,
            primary=method in HEADLINE.get(name, ()),
        )
        for name, meaning, unit, high in (
            (
                "probe_auroc",
                "AUROC on held-out names of a probe fitted on the edited training names: 1/2 is erased",
                "",
                1,
            ),
            (
                "probe_auroc_fresh",
                "AUROC of probes fitted on other held-out names, which the edit has not seen",
                "",
                1,
            ),
            (
                "direction_auroc",
                "AUROC on held-out names of what the edit reads, before the edit",
                "",
                1,
            ),
            (
                "task",
                "mean probability of the right answer out of the two: 1/2 is erased",
                "",
                1,
            ),
            ("edit", "mean |y' - y| of an edited position", "activation", None),
            (
                "edit_frobenius",
                "mean over prompts of the Frobenius norm of the edit",
                "activation",
                None,
            ),
            ("kl", "mean KL(own || edited) of the predictions on unrelated text", "nats", None),
        )
        for method, text in METHODS.items()
        if (name, method) not in {("direction_auroc", "none"), ("direction_auroc", "latents"), ("kl", "none")}
    ),
)
