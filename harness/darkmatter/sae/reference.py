"""The same SAE in float64 and dense, straight from its definition: slow, for checking."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter.sae.preactivations import EXACT_ELEMENTS, Encoder


def reference_codes(encoder: Encoder, x: Tensor) -> Tensor:
    """Dense float64 codes [n, d_sae] of rows x [n, d_in]."""
    h = _preactivations(encoder, encoder.prepare(x).x)
    activation, everything = encoder.activation, slice(None)
    key, floor = encoder.key(h, everything), activation.floor(everything)
    kept = key > floor.to(key.device)
    if activation.count is not None:
        grouped = key.reshape(key.shape[0], activation.groups, encoder.d_sae // activation.groups)
        order = grouped.argsort(dim=-1, descending=True, stable=True)[..., : activation.count]
        kept &= torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, order, value=True).flatten(1)
    return torch.where(kept, activation.value(h, everything), torch.zeros_like(h))


def _preactivations(encoder: Encoder, prepared: Tensor) -> Tensor:
    """Float64 h [n, d_sae], entry by entry as the near-tie recheck computes it."""
    n, width = prepared.shape[0], encoder.d_sae
    step = max(1, EXACT_ELEMENTS // (max(1, n) * prepared.shape[1]))
    h = torch.empty(n, width, dtype=torch.float64, device=prepared.device)
    for start in range(0, width, step):
        columns = torch.arange(start, min(start + step, width), device=prepared.device)
        h[:, columns] = encoder.exact(prepared[:, None, :], columns)
    return h
