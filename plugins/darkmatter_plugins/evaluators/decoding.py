"""What codes add to a reconstruction, for evaluators that look inside it."""

from __future__ import annotations

from dataclasses import replace

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


def contribution(sae: api.SAE, codes: api.Codes, latent: Tensor) -> tuple[Tensor, Tensor]:
    """The rows [m] on which each row's own latent [n] fires, and what that adds there [m, d_out].

    That is decode(codes) - decode(codes without it): c f for a linear decoder, in the units of the
    activation whatever the SAE normalises.
    """
    own = latent.to(codes.device)
    rows = codes.row_ids()[(codes.indices == own[codes.row_ids()]) & (codes.values != 0)]
    some = codes.take(rows)
    gone = some.indices == own[rows][some.row_ids()]
    without = replace(some, values=torch.where(gone, 0, some.values))
    return rows, sae.decode(some) - sae.decode(without)


def directions(sae: api.SAE, latents: Tensor) -> Tensor:
    """What one unit of each latent [n] alone adds to the reconstruction [n, d_out]."""
    return unit_contributions(sae, latents, torch.ones(len(latents)), torch.ones(len(latents), 1))


def unit_contributions(sae: api.SAE, latents: Tensor, values: Tensor, scale: Tensor | None) -> Tensor:
    """What each latent [n] with its value [n] adds to a row of its own [n, d_out]."""
    n = len(latents)
    alone = api.Codes.from_entries(torch.arange(n), latents.cpu(), values.float().cpu(), sae.d_sae, (n,))
    alone = replace(alone, row_scale=None if scale is None else scale.cpu())
    return sae.decode(alone) - sae.decode(replace(alone, values=torch.zeros(n)))
