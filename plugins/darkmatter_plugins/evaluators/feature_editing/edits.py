"""What an SAE's features change between the runs of a pair, and what editing some of them gives.

x' = x + Σ_{j in F} (c̄_j - c_j) f_j at every position: the SAE's error of the clean run stays. f_j is what a
code of 1 adds to the reconstruction. Where rows are normalised one by one, codes are taken times their
row's scale; what else tells two such reconstructions apart (bias, shift, a skip connection) belongs to no
feature and is never edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.decoding import directions
from darkmatter_plugins.evaluators.feature_editing.pairs import PairBatch

LAST = torch.iinfo(torch.int64).max
"""The rank of what does not differ."""


@dataclass(frozen=True)
class Changes:
    """The features that differ somewhere in a batch of B pairs; U of them, float64.

    Attributes:
        latents: [U] their numbers, ascending.
        atoms: [U, d_out] f_j.
        change: [B, P, U] c̄ - c.
        attribution: [B, U] first-order change of KL when a feature is edited alone:
            Σ over positions of (c̄ - c) f . gradient.
    """

    latents: Tensor
    atoms: Tensor
    change: Tensor
    attribution: Tensor

    @property
    def differ(self) -> Tensor:
        """[B, U] whether a feature differs in a pair."""
        return (self.change != 0).any(1)

    def edit(self, kept: Tensor) -> Tensor:
        """[B, P, d_out] what editing the features ``kept`` [B, U] adds."""
        return (self.change * kept[:, None]) @ self.atoms


def changes(sae: api.SAE, batch: PairBatch) -> Changes:
    """What differs; nothing does before the first token that does, whatever kernels round to."""
    sides = [sae.encode(each[batch.changed].float()) for each in (batch.x, batch.x_other)]
    used = torch.zeros(sae.d_sae, dtype=torch.bool, device=sides[0].device)
    for side in sides:
        used[side.indices] = True
    latents = used.nonzero().squeeze(1)
    dense = [_dense(side, latents) for side in sides]
    device = batch.gradient.device
    atoms = directions(sae, latents).double().to(device)
    change = torch.zeros(*batch.changed.shape, len(latents), dtype=torch.float64, device=device)
    change[batch.changed] = (dense[1] - dense[0]).to(device)
    attribution = (change * (batch.gradient @ atoms.T)).sum(1)
    return Changes(latents.to(device), atoms, change, attribution)


def _dense(codes: api.Codes, latents: Tensor) -> Tensor:
    """[n, U] codes of these latents, times the scale of their rows."""
    found = torch.zeros(len(codes), len(latents), dtype=torch.float64, device=codes.device)
    found[codes.row_ids(), torch.searchsorted(latents, codes.indices)] = codes.values.double()
    return found if codes.row_scale is None else found * codes.row_scale.double()


def order_of_pairs(found: Changes) -> Tensor:
    """[B, U] ranks in each pair: most negative attribution first; what does not differ comes never."""
    return _ranks(found.attribution, found.differ)


def pooled_orders(found: Sequence[Changes], d_sae: int) -> list[Tensor]:
    """[B, U] per batch: ranks in one order for all pairs, by attribution summed over them."""
    total, differ = torch.zeros(d_sae, dtype=torch.float64), torch.zeros(d_sae, dtype=torch.bool)
    for each in found:
        latents = each.latents.cpu()
        total[latents] += each.attribution.sum(0).cpu()
        differ[latents] |= each.differ.any(0).cpu()
    ranks = _ranks(total[None], differ[None])[0]
    return [ranks.to(each.latents.device)[each.latents].expand(each.attribution.shape) for each in found]


def _ranks(score: Tensor, among: Tensor) -> Tensor:
    """Places [B, U] by rising score, ties to the lower number; ``LAST`` where not ``among``."""
    order = score.masked_fill(~among, torch.inf).argsort(dim=1, stable=True)
    return order.argsort(dim=1).masked_fill(~among, LAST)
