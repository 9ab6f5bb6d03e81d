"""Codes times a decoder matrix, at the cost of the non-zero codes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from darkmatter.sae.codes import Codes

DENSE_ABOVE = 1 / 8
"""Density of codes above which a dense product is faster than gathering decoder rows."""

CAST_ELEMENTS = 1 << 25
"""Decoder elements cast at once where the weights are stored in another precision (128 MiB)."""


def decode_codes(codes: Codes, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Product of codes [n, d_sae] and ``weight`` [d_sae, d_out], [n, d_out] in ``dtype``.

    Sparse codes gather and add up decoder rows; codes denser than ``DENSE_ABOVE`` take a dense
    product, whose n x d_sae buffer is then at most 1 / (3 * DENSE_ABOVE) times the codes themselves.
    """
    out = torch.zeros(codes.n_rows, weight.shape[1], dtype=dtype, device=weight.device)
    if codes.nnz == 0:
        return out
    if codes.nnz > DENSE_ABOVE * codes.n_rows * codes.d_sae:
        dense = codes.to_dense().reshape(codes.n_rows, codes.d_sae)
        return torch.mm(dense.to(dtype), weight.to(dtype), out=out)
    if weight.dtype == dtype:
        return _gather(codes, codes.indices, weight)
    step = max(1, CAST_ELEMENTS // weight.shape[1] * codes.n_rows // codes.nnz)
    for start in range(0, codes.n_rows, step):
        part = codes.rows(start, start + step)
        if part.nnz:
            used = torch.zeros(codes.d_sae, dtype=torch.bool, device=weight.device)
            used[part.indices] = True
            place = used.cumsum(0) - 1
            out[start : start + step] = _gather(part, place[part.indices], weight[used].to(dtype))
    return out


def _gather(codes: Codes, indices: Tensor, weight: Tensor) -> Tensor:
    """The sum of decoder rows of each row's codes."""
    return embedding_bag(
        indices,
        weight,
        codes.offsets,
        mode="sum",
        per_sample_weights=codes.values.to(weight.dtype),
        include_last_offset=True,
    )
