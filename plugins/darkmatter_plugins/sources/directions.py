"""What a direction at a hook point adds to the logits directly, past all later blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from darkmatter import api

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = re.compile(r"hook_embed|blocks\.\d+\.(hook_in|hook_out|hook_resid_(pre|mid|post))")
_WRITES = re.compile(r"blocks\.(\d+)\.(hook_mlp_out|hook_attn_out|mlp\.hook_out|attn\.hook_out|attn\.hook_z)")


def logit_directions(bridge: Any, vectors: Tensor, hook: str) -> Tensor:
    """[n, V] of vectors [n, d]: W_U · diag(w) · (v, or v - mean(v) where the final norm centres).

    The modules themselves are asked, so that norms whose weight is stored as w - 1 and biases come out
    right. The norm divides by the size of the whole stream, a positive number per token; it is left out.
    """
    import torch

    parameter = next(bridge.parameters())
    with torch.no_grad():
        stream = _into_stream(bridge, vectors.to(parameter), hook)
        normed = _past_norm(bridge.ln_final.original_component, stream)
        found: Tensor = _linear(bridge.unembed.original_component, normed)
    return found


def _into_stream(bridge: Any, vectors: Tensor, hook: str) -> Tensor:
    """What vectors at a hook point add to the residual stream."""
    if _STREAM.fullmatch(hook):
        return vectors
    place = _WRITES.fullmatch(hook)
    if place is None:
        message = (
            f"no straight way leads from {hook!r} to the logits; expected a residual stream, the output of "
            "an MLP or of attention, or attn.hook_z"
        )
        raise api.ItemError(message)
    block = bridge.blocks[int(place[1])]
    norm = "ln2_post" if "mlp" in place[2] else "ln1_post"
    if hasattr(block, norm):
        message = f"after {hook!r} this model has a norm ({norm}), whose division depends on the whole output"
        raise api.ItemError(message)
    return _linear(block.attn.o.original_component, vectors) if "hook_z" in place[2] else vectors


def _past_norm(norm: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
    """The final norm without its bias and its division."""
    import torch

    nothing = norm(torch.zeros_like(vectors[:1]))
    level = torch.ones_like(vectors[:1])
    slope = torch.linspace(-1, 1, level.shape[1], dtype=level.dtype, device=level.device)
    flat, tilted = ((norm(each) - nothing).abs().max() for each in (level, slope * level))
    centres = bool(flat < 1e-3 * tilted)  # a norm that takes off the mean leaves nothing of a level vector
    kept = vectors - vectors.mean(dim=1, keepdim=True) if centres else vectors
    size = kept.square().mean(dim=1, keepdim=True).sqrt()
    unit = torch.where(size > 0, kept / size, 0)  # of size 1, beside which the norm's epsilon is nothing
    return (norm(unit) - nothing) * size


def _linear(module: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
    """A linear map without its bias."""
    import torch

    return module(vectors) - module(torch.zeros_like(vectors[:1]))
