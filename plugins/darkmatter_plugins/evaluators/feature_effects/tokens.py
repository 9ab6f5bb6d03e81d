"""What a latent fires on: its tokens, all of them and by activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter_plugins.evaluators.feature_effects.sampling import Entries, LatentRowsCollector


@dataclass(frozen=True)
class Purity:
    """How far a latent tells one token.

    Attributes:
        token: the token with most of its activation, Σ|c|, in training.
        mass: share of Σ|c| of its held-out firings on that token.
        firings: share of its held-out firings on the token on which it fires most often in training.
        entropy: bits, of the token given that it fires, from the held-out counts as they are.
    """

    token: int
    mass: float
    firings: float
    entropy: float


def purity(train: Entries, test: Entries) -> Purity | None:
    """From one latent's firings on either side; None where a side has none."""
    if not (len(train) and len(test)):
        return None
    tokens, place = torch.unique(train.token, return_inverse=True)
    masses = torch.zeros(len(tokens), dtype=torch.float64).index_add_(0, place, train.value.abs())
    token, commonest = int(tokens[masses.argmax()]), _counted(train.token)[0][0]
    mass = test.value.abs()
    counts = torch.unique(test.token, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return Purity(
        token,
        float(mass[test.token == token].sum() / mass.sum()),
        float((test.token == commonest).double().mean()),
        max(0.0, float(-(shares * shares.log2()).sum())),
    )


def bin_table(found: LatentRowsCollector, place: int, bins: int, shown: int) -> list[dict[str, Any]]:
    """One row per bin of equal width, of the drawn firings: its bounds, count, commonest tokens, the rest.

    ``example`` is the row of one firing drawn from the bin: taken over the bins they are drawn uniformly
    over activation.
    """
    entries = found.drawn.of(place)
    if not len(entries):
        return []
    low, high = float(found.low[place]), float(found.high[place])
    bins = bins if high > low else 1
    bin_of = ((entries.value - low) / max(high - low, 1e-300) * bins).long().clamp(0, bins - 1)
    edges = [low + (high - low) * i / bins for i in range(bins)] + [high]
    table = []
    for number in range(bins):
        inside = entries.take((bin_of == number).nonzero().flatten())
        counted = _counted(inside.token)
        table.append(
            {
                "bin": number,
                "low": edges[number],
                "high": edges[number + 1],
                "count": len(inside),
                "tokens": [{"token": token, "count": count} for token, count in counted[:shown]],
                "rest": sum(count for _, count in counted[shown:]),
                "example": int(inside.row[0]) if len(inside) else None,
            }
        )
    return table


def _counted(tokens: Tensor) -> list[tuple[int, int]]:
    """Tokens with their counts, commonest first; the lower id where they are equally common."""
    ids, counts = torch.unique(tokens, return_counts=True)
    order = torch.argsort(counts, descending=True, stable=True)
    return list(zip(ids[order].tolist(), counts[order].tolist(), strict=True))
