"""Areas under the ROC curve of all latents at once, from sparse codes.

AUROC = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻) for a positive and a negative row drawn at random.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api


def of_latents(codes: api.Codes, concept: Tensor, n_concepts: int) -> Tensor:
    """AUROC [d_sae, n_concepts] float64 of each latent for the rows of each concept against all other rows.

    Args:
        codes: those of n rows; what they leave out is 0.
        concept: [n] int64, the concept that each row shows. Each must be there, and not alone.
        n_concepts: how many there are.
    """
    n, d = len(concept), codes.d_sae
    latent, values, row = codes.indices, codes.values, codes.row_ids()
    order = values.argsort(stable=True)
    order = order[latent[order].argsort(stable=True)]
    latent, values, row = latent[order], values[order], row[order]
    below = torch.bincount(latent[values < 0], minlength=d)
    fires = torch.bincount(latent, minlength=d)
    zeros = n - fires
    place = torch.arange(len(latent)) - (fires.cumsum(0) - fires)[latent] + 1
    place = place + torch.where(values > 0, zeros[latent], 0)
    at_zero = below + (zeros + 1) / 2
    lifted = _midranks(latent, values, place.double()) - at_zero[latent]
    ranks = torch.zeros(d * n_concepts, dtype=torch.float64)
    ranks.index_add_(0, latent * n_concepts + concept[row], lifted)
    count = torch.bincount(concept, minlength=n_concepts).double()
    ranks = ranks.view(d, n_concepts) + at_zero[:, None] * count
    return (ranks - count * (count + 1) / 2) / (count * (n - count))


def _midranks(latent: Tensor, values: Tensor, place: Tensor) -> Tensor:
    """Places [nnz] with those of equal values of one latent averaged; entries are in order."""
    starts = torch.ones(len(latent), dtype=torch.bool)
    starts[1:] = (latent[1:] != latent[:-1]) | (values[1:] != values[:-1])
    run = starts.cumsum(0) - 1
    total = torch.zeros(int(starts.sum()), dtype=torch.float64).index_add_(0, run, place)
    return (total / torch.bincount(run, minlength=len(total)))[run]
