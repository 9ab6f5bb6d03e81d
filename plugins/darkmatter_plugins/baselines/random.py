"""A dictionary of random unit directions: what sparsity alone buys."""

from __future__ import annotations

import torch

from darkmatter import api
from darkmatter_plugins.baselines import RandomConfig
from darkmatter_plugins.baselines.linear import signed_topk

ROWS = 4096


def fit(config: RandomConfig, data: api.FitData) -> api.SAE:
    """Gaussian directions of unit length; each token keeps its k largest projections by size.

    Overlapping directions would overshoot, so one least-squares factor, fitted on training rows,
    scales the reconstruction.
    """
    width = config.width or 8 * data.d_in
    generator = torch.Generator().manual_seed(data.seed)
    directions = torch.randn(width, data.d_in, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    mean = data.inputs.train.mean
    plain = signed_topk(directions.T, directions, mean, config.k, data, "random")
    rows = data.sample(ROWS)
    guess = plain.reconstruct(rows).to(torch.float64) - mean
    wanted = rows.to(torch.float64) - mean
    energy = float(guess.square().sum())
    scale = float((guess * wanted).sum()) / energy if energy > 0 else 1.0
    return signed_topk(directions.T, scale * directions, mean, config.k, data, "random")
