"""Leave one out: what a latent's activation owes to single earlier tokens.

A token is removed, not replaced: nothing foreign enters the text, and what follows keeps its
distances. The price is that everything after it stands one position earlier.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.feature_effects.fragments import Text, column

BATCH_LOGITS = 1 << 26
"""Logits of one run at most (256 MB of float32), one context at least."""


def leave_one_out(
    ctx: api.EvalContext, latent: int, text: Text, position: int, reach: int
) -> dict[str, Any] | None:
    """The activation at a position, and how it changes when one of ``reach`` earlier tokens is removed.

    Special tokens stay. None where there is no earlier token, or the latent does not fire.
    """
    prefix = text.tokens[: position + 1]
    special = ctx.tokenizer.special if ctx.tokenizer is not None else frozenset()
    earlier = [j for j in range(max(0, position - reach), position) if int(prefix[j]) not in special]
    own = float(_last(ctx, latent, prefix[None])[0])
    if not earlier or own == 0:
        return None
    removed = torch.stack([torch.cat([prefix[:j], prefix[j + 1 :]]) for j in earlier])
    change = _last(ctx, latent, removed) - own
    return {
        "position": position,
        "activation": own,
        "removed": [
            {"position": j, "token": int(prefix[j]), "change": float(each)}
            for j, each in zip(earlier, change.tolist(), strict=True)
        ],
    }


def shares(found: dict[str, Any]) -> tuple[float, float | None]:
    """Largest |change| / |activation|, and that of the token just before (None: it is special)."""
    sizes = {each["position"]: abs(each["change"] / found["activation"]) for each in found["removed"]}
    return max(sizes.values()), sizes.get(found["position"] - 1)


def _last(ctx: api.EvalContext, latent: int, tokens: Tensor) -> Tensor:
    """The latent's activations [B] float64 at the last of tokens [B, p]."""
    size = max(1, BATCH_LOGITS // (tokens.shape[1] * ctx.model.n_vocab))
    parts = []
    for some in torch.split(tokens, size):
        last = ctx.model.forward(some, [ctx.hook]).activations[ctx.hook][:, -1]
        parts.append(column(ctx.sae.encode(last), latent).double().cpu())
    return torch.cat(parts)
