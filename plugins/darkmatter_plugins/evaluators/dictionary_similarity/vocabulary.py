"""The directions of tokens in the residual stream: as they enter it, and as they are read from it."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api

EMBED = "hook_embed"
_BATCH = 1024
_IN_STREAM = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out")


def embeddings(ctx: api.EvalContext) -> Tensor | str:
    """Token embeddings [V, d], or why a decoder at this hook point has nothing to do with them."""
    if not ctx.hook_out.endswith((EMBED, *_IN_STREAM)):
        return f"{ctx.hook_out} is in another space than the token embeddings"
    if EMBED not in ctx.model.hook_names():
        return f"the model has no hook point {EMBED}"
    rows = [  # two positions, because a loss needs a next token
        ctx.model.forward(tokens[:, None].expand(-1, 2), [EMBED]).activations[EMBED][:, 0]
        for tokens in torch.split(torch.arange(ctx.model.n_vocab), _BATCH)
    ]
    return torch.cat(rows).cpu()


def unembeddings(ctx: api.EvalContext) -> Tensor | str:
    """What of a vector at this hook point each token's logit reads [V, d], or why there is no such thing.

    The final norm's weights (and centring) are in it, its division by the size of the stream is not.
    """
    try:
        return ctx.model.logit_directions(torch.eye(ctx.info.d_out), ctx.hook_out).T.contiguous().cpu()
    except api.ItemError as error:
        return str(error)
