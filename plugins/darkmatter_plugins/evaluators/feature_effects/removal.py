"""What single latents contribute to a reconstruction, so that it can be taken out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from darkmatter import api


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


def taken_out(sae: api.SAE, codes: api.Codes, latent: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Activations [B, P, d] without what each row's own latent [B P] adds, and the rows it fires on."""
    rows, added = contribution(sae, codes, latent)
    patched = activations.flatten(0, 1).clone()
    patched[rows.to(patched.device)] -= added.to(patched)
    return patched.view_as(activations), rows.cpu()


def directions(sae: api.SAE, latents: Tensor) -> Tensor:
    """What one unit of each latent [n] alone adds to the reconstruction [n, d_out]."""
    return unit_contributions(sae, latents, torch.ones(len(latents)), torch.ones(len(latents), 1))


def unit_contributions(sae: api.SAE, latents: Tensor, values: Tensor, scale: Tensor | None) -> Tensor:
    """What each latent [n] with its value [n] adds to a row of its own [n, d_out]."""
    n = len(latents)
    alone = api.Codes.from_entries(torch.arange(n), latents.cpu(), values.float().cpu(), sae.d_sae, (n,))
    alone = replace(alone, row_scale=None if scale is None else scale.cpu())
    return sae.decode(alone) - sae.decode(replace(alone, values=torch.zeros(n)))
