"""What a latent does to the prediction: directly through the unembedding, and measured without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.decoding import directions
from darkmatter_plugins.evaluators.feature_effects.fragments import Pairs
from darkmatter_plugins.evaluators.feature_effects.removal import taken_out

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
        for a, b, token in zip(*(torch.split(each, ROWS) for each in (own, without, following)), strict=True):
            p, q = (torch.log_softmax(z.double(), dim=1) for z in (a, b))
            gained = p - q
            self.rows += len(gained)
            self.kl += float((p.exp() * gained).sum(dim=1).clamp_min(0).sum())
            self.loss += float(gained.gather(1, token[:, None].to(gained.device)).sum())
            total = gained.sum(dim=0).cpu()
            self.log_ratio = total if not len(self.log_ratio) else self.log_ratio + total


def without_latents(ctx: api.EvalContext, pairs: Pairs) -> dict[int, NextToken]:
    """Take each latent out wherever it fires in its contexts; its held-out rows are measured."""
    resumed = ctx.model.resume_at(pairs.tokens, ctx.hook_out)
    target = resumed.activations
    x = target
    if ctx.hook != ctx.hook_out:
        x = ctx.model.forward(pairs.tokens, [ctx.hook]).activations[ctx.hook]
    patched, fires = taken_out(ctx.sae, ctx.sae.encode(x.flatten(0, 1)), pairs.by_row, target)
    seen = pairs.rows.clone()
    seen[:, -1] = False  # the last position predicts nothing that is known
    place = fires[seen.flatten()[fires]]
    following, latent = pairs.tokens.roll(-1, 1).flatten(), pairs.by_row[place]
    own, without = resumed.logits().flatten(0, 1), resumed.logits(patched).flatten(0, 1)
    found: dict[int, NextToken] = {}
    for each in torch.unique(latent).tolist():
        at = place[latent == each].to(own.device)
        found[each] = NextToken()
        found[each].add(own[at], without[at], following[at.cpu()])
    return found


def strongest(effect: Tensor, vocabulary: Tensor, count: int) -> dict[str, list[dict[str, Any]]]:
    """The tokens with the largest and the smallest effect [tokens]."""
    order = effect.sort(descending=True, stable=True).indices
    ends = {"promoted": order[:count], "suppressed": order.flip(0)[:count]}
    return {
        name: [{"token": int(vocabulary[i]), "effect": float(effect[i])} for i in index.tolist()]
        for name, index in ends.items()
    }
