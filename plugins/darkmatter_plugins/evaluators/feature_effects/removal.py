"""What single latents contribute to a reconstruction, so that it can be taken out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from darkmatter import api


def contribution(sae: api.SAE, codes: api.Codes, latent: int) -> tuple[Tensor, Tensor]:
    """The rows [m] on which a latent fires, and what it adds to the reconstruction there [m, d_out].

    That is decode(codes) - decode(codes without it): c f for a linear decoder, in the units of the
    activation whatever the SAE normalises.
    """
    rows = codes.row_ids()[(codes.indices == latent) & (codes.values != 0)]
    some = codes.take(rows)
    without = replace(some, values=torch.where(some.indices == latent, 0, some.values))
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
