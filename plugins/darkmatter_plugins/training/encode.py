"""The TopK encoder as a differentiable step whose backward pass visits the chosen latents alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _TopKEncode(torch.autograd.Function):
    """Values and indices of the k largest pre-activations, with a backward pass that visits only those."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, encoder: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, indices = torch.topk(torch.addmm(bias, x, encoder.T), k, sorted=False)
        values = values.relu()
        ctx.save_for_backward(x, encoder, values, indices)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, _grad_indices: Tensor) -> tuple[None, Tensor, Tensor, None]:
        x, encoder, values, indices = ctx.saved_tensors
        dense = x.new_zeros(x.shape[0], encoder.shape[0]).scatter_(1, indices, grad_values * (values > 0))
        return None, dense.T @ x, dense.sum(0), None


# The name keeps the type checker quiet: `apply` has no types.
topk_encode: Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]] = _TopKEncode.apply
"""From x [n, d], encoder [d_sae, d], bias [d_sae] and k: values and indices [n, k]. x gets no gradient."""
