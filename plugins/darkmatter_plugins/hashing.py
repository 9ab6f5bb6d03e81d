"""Random numbers that are functions of a row's name, so that chunks and workers cannot change them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, the increment of splitmix64, as int64
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 (arithmetic wraps; shifts are made logical)."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _MIX_1
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _MIX_2
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def row_keys(row: Tensor, seed: int, purpose: int) -> Tensor:
    """A hash [n] int64 of each row's number, the seed and a number for what it is drawn for."""
    start = mix(torch.tensor([seed, purpose], device=row.device) * GOLDEN + GOLDEN)
    return mix(mix(row * GOLDEN + start[0]) + start[1])


def uniforms(key: Tensor) -> Tensor:
    """The upper 53 bits of hashes as float64 strictly between 0 and 1."""
    return (((key >> 11) & ((1 << 53) - 1)).to(torch.float64) + 0.5) * 2.0**-53


def normals(key: Tensor, d: int) -> Tensor:
    """Standard normal numbers [n, d] float64 that follow from the keys [n] (Box and Muller)."""
    place = torch.arange(1, d + 1, dtype=torch.int64, device=key.device) * GOLDEN
    one, two = (uniforms(mix(key[:, None] + mix(place + stream)[None, :])) for stream in (_MIX_1, _MIX_2))
    return (-2 * one.log()).sqrt() * (2 * math.pi * two).cos()
