"""Other activations at a hook point, and what they do to the prediction."""

from __future__ import annotations

import torch
from torch import Tensor

DIVERGENCE_ROWS = 64
"""Rows of logits turned into probabilities at a time: few, so that they stay in the cache."""


def patch(own: Tensor, patched: Tensor, rows: Tensor) -> Tensor:
    """Activations [B, P, d] with ``rows`` [n, d] where ``patched`` [B, P], the model's own elsewhere."""
    changed = own.clone()
    changed[patched.to(own.device)] = rows.to(own)
    return changed


def divergence(clean: Tensor, patched: Tensor, rows: Tensor) -> Tensor:
    """KL(clean || patched) [n] float64, in nats, of logits [B, P, V] where ``rows`` [B, P]."""
    index = rows.flatten().nonzero().squeeze(1).to(clean.device)
    found = [torch.zeros(0, dtype=torch.float64)]
    for part in torch.split(index, DIVERGENCE_ROWS):
        p, q = (torch.log_softmax(z.flatten(0, 1)[part].float(), dim=1) for z in (clean, patched))
        # Rounding may leave less than nothing of two equal predictions.
        found.append((p.exp() * (p - q)).sum(dim=1).clamp_min(0).double().cpu())
    return torch.cat(found)
