"""x plus Gaussian noise that is a function of the row alone, so that chunking cannot change it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.baselines import NoiseConfig
from darkmatter_plugins.hashing import GOLDEN, mix, normals


def fit(config: NoiseConfig, data: api.FitData) -> api.SAE:
    """x̂ = x + scale · s · ξ with s² the mean variance per dimension of the training rows."""
    spread = math.sqrt(data.inputs.train.trace / max(data.inputs.train.n, 1) / data.d_in)
    return NoiseSAE(data, config.scale * spread)


class NoiseSAE(api.SAE):
    """Its codes are the noisy coordinates; decoding gives them back."""

    def __init__(self, data: api.FitData, sigma: float) -> None:
        self.d_in = self.d_out = self.d_sae = data.d_in
        self.hook_in = self.hook_out = data.hook
        self.metadata = api.SAEMetadata(format="baseline", architecture="noise", extra={"sigma": sigma})
        self.assumptions = ()
        self.fingerprint = f"noise:{data.d_in}:{sigma!r}:{data.seed}"
        self._sigma, self._seed = sigma, data.seed

    def encode(self, x: Tensor) -> api.Codes:
        """All coordinates of x + noise."""
        return api.Codes.from_dense(self.reconstruct(x))

    def decode(self, codes: api.Codes) -> Tensor:
        """The coordinates themselves."""
        return codes.to_dense()

    def reconstruct(self, x: Tensor) -> Tensor:
        """X + noise."""
        rows = x.reshape(-1, self.d_in).to(torch.float32)
        return (rows + self._sigma * row_noise(rows, self._seed)).to(torch.float32).reshape(x.shape)


def row_noise(rows: Tensor, seed: int) -> Tensor:
    """Standard normal noise [n, d] determined by each row's own bits and the seed."""
    bits = rows.contiguous().view(torch.int32).to(torch.int64)
    place = torch.arange(1, rows.shape[1] + 1, dtype=torch.int64, device=rows.device) * GOLDEN
    key = mix(mix(bits + place).sum(dim=1) + torch.tensor(seed, device=rows.device) * GOLDEN)
    return normals(key, rows.shape[1])
