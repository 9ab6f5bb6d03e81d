"""How contexts are cut into shards: a function of the shape alone."""

from __future__ import annotations

from darkmatter.activations import Shard

SHARD_TOKENS = 8192
"""Positions per shard: 2 MB at d = 64, 118 MB at d = 3584 (float32)."""


def cut_shards(n_contexts: int, n_positions: int) -> list[Shard]:
    """Shards of whole contexts with about ``SHARD_TOKENS`` positions each.

    Statistics are reduced in shard order, so the cut depends on nothing but the shape: cached and
    raw activations of the same shape give the same sums.
    """
    size = max(1, SHARD_TOKENS // n_positions)
    starts = range(0, n_contexts, size)
    return [Shard(index, start, min(start + size, n_contexts)) for index, start in enumerate(starts)]
