"""What `feature_effects` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class FeatureEffectsConfig(api.Config):
    """Options of `feature_effects`: which latents, and how much is spent on each."""

    latents: int = Field(50, ge=1, description="latents drawn among those that fire often enough")
    indices: tuple[int, ...] | None = Field(None, description="these latents instead of drawn ones")
    min_firings: int = Field(
        10, ge=1, description="held-out rows, and training rows, on which a drawn latent fires at least"
    )
    bins: int = Field(10, ge=1, description="bins of equal width between smallest and largest activation")
    bin_tokens: int = Field(5, ge=1, description="tokens shown per bin; the rest is pooled")
    max_firings: int = Field(
        20_000, ge=1, description="firings of a latent, drawn by row, behind its tokens and bins"
    )
    top_fragments: int = Field(10, ge=0, description="contexts shown, those of largest activation")
    fragment: int = Field(32, ge=2, description="tokens of a fragment that is shown")
    context_positions: int = Field(
        3, ge=0, description="top positions at which earlier tokens are removed one by one; 0: none"
    )
    context_tokens: int = Field(16, ge=1, description="tokens before such a position that are removed")
    vocabulary: Literal["seen", "all"] = Field(
        "seen", description="tokens whose logits count: those that occur in the run's text, or all"
    )
    effect_tokens: int = Field(10, ge=1, description="promoted, and suppressed, tokens shown")
    effect_contexts: int = Field(
        4, ge=0, description="contexts in which a latent, or an upstream one, is taken out; 0: none"
    )
    upstream: str | None = Field(
        None, description="SAE whose latents are the causes; null: one at the nearest earlier hook point"
    )
    edges: int = Field(10, ge=0, description="upstream latents of largest estimate that are taken out")
    random_edges: int = Field(
        5, ge=0, description="others of those that fire, taken out to judge the estimate"
    )

    def looks_at(self) -> tuple[str, ...] | None:
        """The upstream SAE, where it is named."""
        return None if self.upstream is None else (self.upstream,)


_M = api.Metric

FEATURE_EFFECTS = api.Evaluator(
    name="feature_effects",
    summary="What sampled latents fire on, what they do to the prediction, and what makes them fire.",
    implementation="darkmatter_plugins.evaluators.feature_effects.run:FeatureEffects",
    config=FeatureEffectsConfig,
    reaches=(),
    requires=frozenset({api.Requirement.TOKENS}),
    sees=frozenset({"elsewhere", "named"}),
    by_default=False,
    order=90,
    source="Cunningham et al.: case studies of single features; interventions, causal graphs",
    metrics=(
        _M(
            "token_purity",
            "share of a latent's held-out activation mass on the token that has most of it in training, "
            "mean over latents; 1: it tells one token",
            low=0,
            high=1,
            primary=True,
        ),
        _M(
            "token_purity_firings",
            "share of its held-out firings on the token on which it fires most often in training",
            low=0,
            high=1,
        ),
        _M(
            "token_entropy",
            "entropy of the token, given that the latent fires (held-out firings), mean over latents",
            unit="bits",
            low=0,
        ),
        _M(
            "context_effect",
            "largest change of the activation at a latent's top positions when one earlier token is removed, "
            "as a share of the activation, mean over positions and latents",
            low=0,
            primary=True,
        ),
        _M("context_effect_previous", "the same for the token just before", low=0),
        _M(
            "logit_concentration",
            "share of the squared direct logit effect (about its mean) in the tokens it moves most, "
            "mean over latents",
            low=0,
            high=1,
        ),
        _M(
            "next_token_kl",
            "KL(model || model without the latent) where it fires, mean over latents",
            unit="nats",
            low=0,
            primary=True,
        ),
        _M(
            "next_token_loss",
            "loss without the latent less the model's own, where it fires, mean over latents",
            unit="nats",
        ),
        _M(
            "logit_agreement",
            "correlation over tokens of the direct logit effect with the measured change of log-probability, "
            "mean over latents",
            low=-1,
            high=1,
        ),
        _M(
            "causal_edge",
            "largest causal edge from one upstream latent, as a share of the latent's own size, mean over "
            "latents",
            low=0,
            primary=True,
        ),
        _M(
            "edge_correlation",
            "correlation of gradient times activation with the true edge over upstream latents, mean over "
            "latents",
            low=-1,
            high=1,
        ),
    ),
)
