"""Which latents are looked at, and their codes without those of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api


def sampled_latents(allowed: Tensor, count: int, seed: int) -> Tensor:
    """At most ``count`` of the latents that ``allowed`` [d_sae] admits, ascending."""
    found = allowed.nonzero().flatten()
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return found[order[:count]].sort().values


def codes_of(codes: api.Codes, latents: Tensor) -> Tensor:
    """Activations [n, L] float32 of some latents [L] on the CPU; no dense code in between."""
    codes = codes.to("cpu")
    place = torch.full((codes.d_sae,), -1)
    place[latents] = torch.arange(len(latents))
    column = place[codes.indices]
    kept = column >= 0
    dense = torch.zeros(codes.n_rows, len(latents))
    dense[codes.row_ids()[kept], column[kept]] = codes.values[kept].float()
    return dense
