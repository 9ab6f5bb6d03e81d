"""SAEs whose codes are an activation function of an affine map."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.activation import Activation
from darkmatter.sae.base import SAE
from darkmatter.sae.codes import Codes
from darkmatter.sae.preactivations import Encoder, PreActivations
from darkmatter.sae.rows import Rows, as_rows
from darkmatter.sae.select import select

TILE = 4096
"""Latents whose pre-activations are held at once."""

COMPUTE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class AffineSAE(SAE):
    """What such an SAE knows of its encoder, and how it encodes; the decoder is its own affair."""

    head_shape: tuple[int, int] | None = None
    _encoder: Encoder
    _dtype: torch.dtype = torch.float32

    @property
    def W_enc(self) -> Tensor:  # noqa: N802 - the field's name for it
        """Encoder [d_in, d_sae] (a transposed view)."""
        return self._encoder.weight.T

    @property
    def b_enc(self) -> Tensor | None:
        """[d_sae], or None."""
        return self._encoder.bias

    @property
    def activation(self) -> Activation:
        """The activation function."""
        return self._encoder.activation

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it encodes."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are, and the codes will be."""
        return self._encoder.weight.device

    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same SAE on another device, or computing in another precision.

        Raises:
            ItemError: the precision is none of float32, float64, bfloat16, float16.
        """
        if dtype is not None and dtype not in COMPUTE_DTYPES:
            message = f"An SAE computes in one of {', '.join(map(str, COMPUTE_DTYPES))}, not in {dtype}."
            raise ItemError(message)
        moved = copy.copy(self)
        vars(moved)["_dtype"] = dtype or self._dtype
        if device is not None:
            vars(moved)["_encoder"] = self._encoder.to(device)
        return moved

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Codes of x [..., d_in], or [..., heads, d_head] where it reads attention's heads.

        Raises:
            ItemError: the last dimension is not d_in, or a row is not finite.
        """
        rows = self.rows(x)
        pre = PreActivations(self._encoder, rows.x, self._dtype, TILE)
        codes = Codes.from_entries(*select(pre, TILE), self.d_sae, rows.batch_shape)
        if not self._encoder.normalisation.per_row:
            return codes
        scale, shift = (None if part is None else part.float() for part in (pre.scale, pre.shift))
        return replace(codes, row_scale=scale, row_shift=shift)

    def rows(self, x: Tensor) -> Rows:
        """Rows [n, d_in] of x on the device of the weights, float32 or wider, and the shape of the batch.

        Raises:
            ItemError: x has another last dimension than d_in, or is not floating-point.
        """
        rows = as_rows(x.detach(), self.d_in, heads=self.head_shape, any_heads=False, hook=self.hook_in)
        return rows._replace(x=rows.x.to(self.device, torch.promote_types(x.dtype, torch.float32)))
