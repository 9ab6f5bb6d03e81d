"""A greedy search for small sets of features, pair by pair, after the authors' (an ACDC-like one).

Start with the candidates, the first by attribution. For each threshold, from small to large, go through them
in an order drawn by the seed, and drop a feature if KL without it exceeds that of all candidates by less
than the threshold. Unlike theirs, KL is always compared with that of all candidates, so rises do not add up;
and what is recorded of a set is its own KL and edit, not those of the last one tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import sources
from darkmatter_plugins.evaluators.feature_editing.edits import LAST, Changes
from darkmatter_plugins.evaluators.feature_editing.pairs import PairBatch


@dataclass(frozen=True)
class Accepted:
    """What is left of the candidates at one threshold.

    Attributes:
        threshold: nats.
        size, kl, edit: [B] features, KL, and mean over tokens of |x' - x|.
    """

    threshold: float
    size: Tensor
    kl: Tensor
    edit: Tensor


def greedy_order(
    batch: PairBatch,
    found: Changes,
    ranks: Tensor,
    resumed: sources.Resumed,
    thresholds: Sequence[float],
    draws: Tensor,
) -> tuple[Tensor, list[Accepted]]:
    """Ranks [B, U] in which every accepted set is a prefix, and the accepted sets.

    Args:
        batch: the pairs.
        found: what differs.
        ranks: [B, U] by attribution.
        resumed: the clean run.
        thresholds: nats.
        draws: [thresholds, B, candidates] the candidates' ranks in the order in which they are tried.
    """

    def kl_of(kept: Tensor) -> Tensor:
        return batch.scores(resumed.logits(batch.y.double() + found.edit(kept)))[0]

    kept = ranks < draws.shape[2]
    kl = reference = kl_of(kept)
    dropped = torch.zeros_like(ranks)
    accepted, time = [], 0
    for threshold, order in zip(sorted(thresholds), draws.to(ranks.device), strict=True):
        for candidate in order.T:
            tried = kept & (ranks != candidate[:, None])
            new = kl_of(tried)
            drop = (new - reference < threshold) & (tried != kept).any(1).cpu()
            kl = torch.where(drop, new, kl)
            gone = (tried != kept) & drop.to(kept.device)[:, None]
            time += 1
            dropped[gone] = time
            kept = kept & ~gone
        size = found.edit(kept).norm(dim=2).mean(1).cpu()
        accepted.append(Accepted(threshold, kept.sum(1).cpu(), kl, size))
    return _by_drop(ranks, dropped, draws.shape[2]), accepted


def _by_drop(ranks: Tensor, dropped: Tensor, candidates: int) -> Tensor:
    """Candidates never dropped first, then the last dropped before the first, then all others."""
    late = torch.where(dropped > 0, int(dropped.max()) + 1 - dropped, 0)
    key = torch.where(ranks < candidates, late * candidates + ranks, LAST // 2 + ranks.clamp_max(LAST // 4))
    return key.argsort(dim=1, stable=True).argsort(dim=1).masked_fill(ranks == LAST, LAST)
