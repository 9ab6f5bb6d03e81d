"""A dictionary of random unit directions: what sparsity alone buys."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.baselines import RandomConfig
from darkmatter_plugins.baselines.linear import signed_topk

ROWS = 4096
"""Training rows that the factor is fitted on."""


def fit(config: RandomConfig, data: api.FitData) -> api.SAE:
    """Gaussian directions of unit length; each token keeps its k largest projections by size.

    Overlapping directions would overshoot, so one least-squares factor, fitted on training rows,
    scales the reconstruction.
    """
    atoms = directions(config.width or 8 * data.d_in, data)
    mean = data.inputs.train.mean
    plain = signed_topk(atoms.T, atoms, mean, config.k, data, "random")
    rows = data.sample(ROWS)
    guess = plain.reconstruct(rows).to(torch.float64) - mean
    wanted = rows.to(torch.float64) - mean
    energy = float(guess.square().sum())
    scale = float((guess * wanted).sum()) / energy if energy > 0 else 1.0
    return signed_topk(atoms.T, scale * atoms, mean, config.k, data, "random")


def directions(width: int, data: api.FitData) -> Tensor:
    """Unit directions [width, d] float64, drawn by the run's seed alone."""
    generator = torch.Generator().manual_seed(data.seed)
    drawn = torch.randn(width, data.d_in, generator=generator, dtype=torch.float64)
    unit: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return unit
