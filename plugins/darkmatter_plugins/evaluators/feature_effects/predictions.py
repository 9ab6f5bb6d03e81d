"""What a latent does to the prediction: directly through the unembedding, and measured without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.feature_effects.context import BATCH_LOGITS
from darkmatter_plugins.evaluators.feature_effects.fragments import Text, stacked
from darkmatter_plugins.evaluators.feature_effects.removal import contribution, directions

ROWS = 64
"""Rows of logits turned into probabilities at a time."""


def logit_effects(ctx: api.EvalContext, latents: Sequence[int], vocabulary: Tensor) -> Tensor:
    """[L, tokens] f W_U of each latent's direction f, about its mean over the vocabulary's tokens.

    A constant over all tokens changes no prediction. Raises ItemError where no straight way leads to the
    logits.
    """
    found = ctx.model.logit_directions(directions(ctx.sae, torch.tensor(latents)), ctx.hook_out)
    kept = found.double().cpu()[:, vocabulary]
    return kept - kept.mean(dim=1, keepdim=True)


def concentration(effect: Tensor, count: int) -> float:
    """Share of Σ effect² in the ``count`` tokens that are moved most; NaN where nothing is moved."""
    squares = effect.square()
    return float(squares.topk(min(count, len(squares))).values.sum() / squares.sum())


@dataclass
class NextToken:
    """What taking a latent out does to the next token, summed over the rows where it fires.

    Attributes:
        rows: how many rows.
        kl: Σ KL(model || without the latent), nats.
        loss: Σ loss without it less the model's own.
        log_ratio: [V] Σ log p - log p without it: what the latent adds to each token's log-probability.
    """

    rows: int = 0
    kl: float = 0.0
    loss: float = 0.0
    log_ratio: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def add(self, own: Tensor, without: Tensor, following: Tensor) -> None:
        """Take in logits [n, V] and the tokens [n] that follow."""
        for a, b, token in zip(own.split(ROWS), without.split(ROWS), following.split(ROWS), strict=True):
            p, q = (torch.log_softmax(z.double(), dim=1) for z in (a, b))
            gained = p - q
            self.rows += len(gained)
            self.kl += float((p.exp() * gained).sum(dim=1).clamp_min(0).sum())
            self.loss += float(gained.gather(1, token[:, None].to(gained.device)).sum())
            total = gained.sum(dim=0).cpu()
            self.log_ratio = total if not len(self.log_ratio) else self.log_ratio + total


def without_latent(
    ctx: api.EvalContext, latent: int, texts: Mapping[int, Text], numbers: Sequence[int]
) -> NextToken:
    """Take one latent out wherever it fires in these contexts; its held-out rows are measured."""
    found = NextToken()
    if not numbers:
        return found
    tokens, rows = stacked(texts, numbers)
    size = max(1, BATCH_LOGITS // (tokens.shape[1] * ctx.model.n_vocab))
    for some, held_out in zip(tokens.split(size), rows.split(size), strict=True):
        resumed = ctx.model.resume_at(some, ctx.hook_out)
        target = resumed.activations
        x = target
        if ctx.hook != ctx.hook_out:
            x = ctx.model.forward(some, [ctx.hook]).activations[ctx.hook]
        fires, added = contribution(ctx.sae, ctx.sae.encode(x.flatten(0, 1)), latent)
        patched = target.flatten(0, 1).clone()
        patched[fires.to(patched.device)] -= added.to(patched)
        seen = held_out.clone()
        seen[:, -1] = False  # the last position predicts nothing that is known
        place = fires.cpu()[seen.flatten()[fires.cpu()]]
        if len(place):
            following = some.roll(-1, 1).flatten()[place]
            logits = resumed.logits(patched.view_as(target)).flatten(0, 1)
            own = resumed.logits().flatten(0, 1)
            at = place.to(own.device)
            found.add(own[at], logits[at], following)
    return found


def strongest(effect: Tensor, vocabulary: Tensor, count: int) -> dict[str, list[dict[str, Any]]]:
    """The tokens with the largest and the smallest effect [tokens]."""
    order = effect.sort(descending=True, stable=True).indices
    ends = {"promoted": order[:count], "suppressed": order.flip(0)[:count]}
    return {
        name: [{"token": int(vocabulary[i]), "effect": float(effect[i])} for i in index.tolist()]
        for name, index in ends.items()
    }
