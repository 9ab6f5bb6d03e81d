"""What an SAE's decoder matrix makes of codes, for evaluators that look inside a reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api


def atoms(sae: api.SAE) -> Tensor | None:
    """What each latent adds per unit of its code [d_sae, d_out] float32; None without a decoder matrix.

    That is its decoder row over its code scale; a latent whose code scale is 0 adds nothing.
    """
    if sae.W_dec is None:
        return None
    rows = sae.W_dec.detach().float()
    scale = sae.code_scale if isinstance(sae, api.CanonicalSAE) else None
    if scale is None:
        return rows
    return torch.where(scale[:, None] == 0, 0.0, rows / scale.detach().float()[:, None])


def times(codes: api.Codes, weight: Tensor) -> Tensor:
    """Codes [n, d_sae] times weight [d_sae, d]: [n, d] float64, of the rows of weight that are used alone."""
    used, place = torch.unique(codes.indices, return_inverse=True)
    return torch.nn.functional.embedding_bag(
        place,
        weight[used.to(weight.device)].to(codes.device, torch.float64),
        codes.offsets[:-1],
        per_sample_weights=codes.values.to(torch.float64),
        mode="sum",
    )
