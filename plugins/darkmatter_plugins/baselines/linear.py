"""Controls that are one linear map in and one out, with signed codes."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api


def signed_topk(
    encoder: Tensor, decoder: Tensor, mean: Tensor, k: int, data: api.FitData, name: str
) -> api.SAE:
    """x̂ = mean + (k largest |codes| of (x - mean) @ encoder) @ decoder, as an ordinary SAE.

    ``encoder`` [d, m], ``decoder`` [m, d], ``mean`` [d]; all m codes are kept where k >= m.
    """
    return api.CanonicalSAE(
        W_enc=encoder.to(torch.float32),
        W_dec=decoder.to(torch.float32),
        b_dec=mean.to(torch.float32),
        subtract=mean.to(torch.float32),
        activation=api.AbsTopK(min(k, encoder.shape[1])),
        hook_in=data.hook,
        hook_out=data.hook,
        metadata=api.SAEMetadata(format="baseline", architecture=name),
    )
