"""The affine encoder on one batch: tiles in the compute precision, single entries in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from darkmatter.sae.activation import Activation, Columns
from darkmatter.sae.check import require_finite, row_norms
from darkmatter.sae.normalisation import Normalisation, Normalised

EXACT_ELEMENTS = 1 << 21
"""Elements of the gathered float64 products held at once (16 MiB each for rows and weights)."""

_UNIT = 2.0**-24  # unit round-off of float32


@dataclass(frozen=True, eq=False)
class Encoder:
    """Weights of h = (x' W_enc + b_enc) * code_scale with x' = normalise(x) - subtract.

    ``weight`` is W_enc transposed, [d_sae, d_in] and contiguous, so that a tile of latents and a
    single latent are both one piece of memory. ``norms`` [d_sae] (float64) are the lengths of its
    rows times the scales of code and gate; ``bias_size`` [d_sae] is |b_enc| times the same. Both are
    what the error bound of float32 pre-activations is made of.
    """

    weight: Tensor
    bias: Tensor | None
    subtract: Tensor | None
    normalisation: Normalisation
    code_scale: Tensor | None
    gate_scale: Tensor | None
    activation: Activation
    norms: Tensor
    bias_size: Tensor

    @staticmethod
    def build(
        W_enc: Tensor,
        b_enc: Tensor | None,
        subtract: Tensor | None,
        normalisation: Normalisation,
        code_scale: Tensor | None,
        gate_scale: Tensor | None,
        activation: Activation,
    ) -> Encoder:
        """An encoder from weights that fit together; W_enc is [d_in, d_sae]."""
        weight = W_enc.detach().T.contiguous()
        norms = row_norms("W_enc transposed", weight)
        bias_size = torch.zeros_like(norms) if b_enc is None else b_enc.detach().double().abs()
        for scale in (code_scale, gate_scale):
            if scale is not None:
                size = scale.detach().double().abs()
                norms, bias_size = norms * size, bias_size * size
        small = [
            None if vector is None else vector.detach()
            for vector in (b_enc, subtract, code_scale, gate_scale)
        ]
        b_enc, subtract, code_scale, gate_scale = small
        return Encoder(
            weight, b_enc, subtract, normalisation, code_scale, gate_scale, activation, norms, bias_size
        )

    def to(self, device: torch.device | str) -> Encoder:
        """The same encoder with all weights on another device."""
        moved: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor | Activation):
                moved[name] = value.to(device)
        return Encoder(**moved)

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.weight.shape[0]

    def prepare(self, x: Tensor) -> Normalised:
        """Float64 x' of rows [n, d_in], with the statistics that undo the normalisation."""
        normalised = self.normalisation.apply(x.double())
        if self.subtract is None:
            return normalised
        return normalised._replace(x=normalised.x - self.subtract.double())

    def exact(self, x: Tensor, columns: Tensor) -> Tensor:
        """Float64 h [m] of pairs (row x[i] [m, d_in] in float64 x', latent columns[i]).

        Every pair is one product and one sum over contiguous memory, so equal pairs give equal bits
        whatever stands beside them: exact ties stay exact.
        """
        h = (x * self.weight[columns].double()).sum(-1)
        if self.bias is not None:
            h = h + self.bias[columns].double()
        return h if self.code_scale is None else h * self.code_scale[columns].double()

    def key(self, h: Tensor, columns: Columns) -> Tensor:
        """What the activation compares: its key of h * gate_scale."""
        if self.gate_scale is not None:
            h = h * self.gate_scale[columns].to(h.dtype)
        return self.activation.key(h, columns)


class PreActivations:
    """Pre-activations of one batch of rows [n, d_in], never all at once.

    A float32 product of x' and w rounds by at most about sqrt(d_in) units of the last place of
    norm(x') * norm(w) (every partial sum is bounded by that product, and roundings add up like a
    random walk; 8 + 2 sqrt(d_in) units leave a factor of several). ``error`` is this bound, with the
    rounding of the bias; entries closer than that to a cutoff are decided by ``exact``. In other
    precisions than float32 the bound is 0 and nothing is rechecked.

    Args:
        encoder: the weights.
        x: rows [n, d_in] on the device of the weights.
        dtype: the compute precision.
        columns: the widest tile that will be asked for.
    """

    def __init__(self, encoder: Encoder, x: Tensor, dtype: torch.dtype, columns: int) -> None:
        self.encoder = encoder
        self.given = x
        plain = encoder.subtract is None and encoder.normalisation.kind == "none"
        prepared = Normalised(x, None, None) if plain else encoder.prepare(x)
        self.scale, self.shift = prepared.scale, prepared.shift
        self.norms = torch.linalg.vector_norm(prepared.x, dim=-1, dtype=torch.float64)
        require_finite(self.norms[:, None])
        self.x = prepared.x.to(dtype)
        self.dtype = dtype
        self.rechecks = dtype == torch.float32
        self._unit = _UNIT * (8 + 2 * math.sqrt(x.shape[-1])) if self.rechecks else 0.0
        self._bias_unit = 4 * _UNIT if self.rechecks else 0.0
        self._scratch: Tensor | None = None
        self._buffer = torch.empty(x.shape[0] * min(columns, encoder.d_sae), dtype=dtype, device=x.device)

    @property
    def n(self) -> int:
        """Rows of the batch."""
        return self.x.shape[0]

    def tile(self, columns: slice) -> Tensor:
        """The h of all rows and a tile of latents, [n, T]; valid until the next call."""
        encoder = self.encoder
        weight = encoder.weight[columns].to(self.dtype).T
        out = self._buffer[: self.n * weight.shape[1]].view(self.n, weight.shape[1])
        if encoder.bias is None:
            torch.mm(self.x, weight, out=out)
        else:
            torch.addmm(encoder.bias[columns].to(self.dtype), self.x, weight, out=out)
        return out if encoder.code_scale is None else out.mul_(encoder.code_scale[columns].to(self.dtype))

    def scratch(self, like: Tensor) -> Tensor:
        """Memory of a tile's shape, float32 at least, to be overwritten."""
        if self._scratch is None:
            dtype = torch.promote_types(self.dtype, torch.float32)
            self._scratch = torch.empty_like(self._buffer, dtype=dtype)
        return self._scratch[: like.numel()].view_as(like)

    def error(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Bound of the rounding of the keys of these entries, [m] float64."""
        return self._bound(
            self.norms.index_select(0, rows),
            self.encoder.norms.index_select(0, columns),
            self.encoder.bias_size.index_select(0, columns),
        )

    def error_of_columns(self, columns: slice) -> Tensor:
        """The largest ``error`` of each latent over the rows of the batch, [T] float64."""
        return self._bound(self.norms.max(), self.encoder.norms[columns], self.encoder.bias_size[columns])

    def error_of_rows(self) -> Tensor:
        """The largest ``error`` of each row over all latents, [n] float64."""
        return self._bound(self.norms, self.encoder.norms.max(), self.encoder.bias_size.max())

    def _bound(self, row_norms: Tensor, latent_norms: Tensor, bias_size: Tensor) -> Tensor:
        return row_norms * latent_norms * self._unit + bias_size * self._bias_unit

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Float64 h of single entries [m], in batches of bounded memory."""
        step = max(1, EXACT_ELEMENTS // max(1, self.given.shape[-1]))
        h = torch.empty(rows.numel(), dtype=torch.float64, device=rows.device)
        for start in range(0, rows.numel(), step):
            part = slice(start, start + step)
            x = self.encoder.prepare(self.given[rows[part]]).x
            h[part] = self.encoder.exact(x, columns[part])
        return h
