"""What `autointerp` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class AutointerpConfig(api.Config):
    """Options of `autointerp`: which latents, on what text, understood by whom."""

    simulator: api.SimulatorChoice = Field(
        api.SimulatorChoice(name="ngram"), description="what predicts activations from text"
    )
    latents: int = Field(150, ge=1, description="latents that are scored")
    choose: Literal["random", "first"] = Field(
        "random",
        description="latents drawn by the seed among those that fire enough, or the first ones, less those "
        "that do not (as the authors' code)",
    )
    min_firings: int = Field(20, ge=1, description="training rows on which a scored latent fires at least")
    fragment: int = Field(32, ge=2, description="tokens of a fragment (the paper: 64)")
    train_fragments: int = Field(50, ge=1, description="top, and random, fragments that the simulator sees")
    test_fragments: int = Field(20, ge=1, description="top, and random, fragments that it is scored on")
    draw: Literal["any", "active"] = Field(
        "any",
        description="random fragments: of all, or of those on which the latent fires (as the authors' code; "
        "more lenient)",
    )
    unrelated: bool = Field(
        default=True,
        description="also score each latent's simulation on another latent; doubles the simulating",
    )


_M = api.Metric

PARTS = {
    "top": "the held-out fragments where the latent fires most",
    "random": "random held-out fragments",
    "both": "top and random held-out fragments together",
}
"""The fragments that a latent is scored on."""

AUTOINTERP = api.Evaluator(
    name="autointerp",
    summary="How well a simulator that saw some of a latent's activations predicts others from the text.",
    implementation="darkmatter_plugins.evaluators.autointerp.run:Autointerp",
    config=AutointerpConfig,
    reaches=(),
    requires=frozenset({api.Requirement.TOKENS}),
    order=90,
    source="Cunningham et al.: automated interpretability, after Bills et al.",
    metrics=(
        *(
            _M(
                f"score.{part}",
                f"correlation of simulated and true activations over the tokens of {text}, mean over latents",
                low=-1,
                high=1,
                higher_is_better=True,
                primary=True,
            )
            for part, text in PARTS.items()
        ),
        _M(
            "detection.auroc",
            "P(a fragment on which the latent fires is predicted above one on which it does not), by the "
            "highest prediction in each; mean over latents",
            low=0,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M(
            "detection.auprc",
            "average precision of the same detection; mean over latents",
            low=0,
            high=1,
            higher_is_better=True,
        ),
        _M(
            "detection.base_rate",
            "share of these fragments on which the latent fires, which auprc is without any knowledge",
            low=0,
            high=1,
        ),
        _M(
            "score.unrelated",
            "score.both of each latent's simulation on another latent's fragments and activations: a control",
            low=-1,
            high=1,
        ),
        *(
            _M(
                f"authors.score.{part}",
                f"score.{part} with latents whose correlation is undefined counted as 0",
                low=-1,
                high=1,
                higher_is_better=True,
            )
            for part in PARTS
        ),
        _M("n_latents", "latents that were to be scored", unit="latents", low=0),
        _M("n_failed", "latents that the simulator failed on; in no mean", unit="latents", low=0),
        *(
            _M(
                f"n_nan.{part}",
                f"latents whose score.{part} is undefined (prediction or truth constant); not in its mean",
                unit="latents",
                low=0,
            )
            for part in PARTS
        ),
        _M(
            "n_one_class",
            "latents that fire on all of the scored fragments or on none; not in detection.*",
            unit="latents",
            low=0,
        ),
        _M("unsaid", "share of held-out tokens for which the simulator gave no number", low=0, high=1),
    ),
)
