"""An encoder with a multiplicative gate (GLU), around what is otherwise a canonical SAE."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from darkmatter import api

ROWS = 256
"""Rows whose dense float64 pre-activations are held at once."""

EXACT_ELEMENTS = 1 << 21
"""Elements of the gathered float64 products held at once (16 MiB each for rows and weights)."""


class GluSAE(api.SAE):
    """h = (x' W_enc + b_enc) * sigmoid(x' W_glu + b_glu); all else is as in ``plain``.

    Pre-activations are computed in float64. A matrix product rounds differently by the number of its
    rows, so an entry whose key lies within the rounding error of a cutoff (the floor, or the k-th
    largest key) is computed again by itself: the support does not depend on how rows are batched.
    ``plain`` has no code_scale, and an activation without groups.

    Args:
        plain: the SAE without its gate.
        W_glu: [d_in, d_sae].
        b_glu: [d_sae].
    """

    def __init__(self, plain: api.CanonicalSAE, W_glu: Tensor, b_glu: Tensor) -> None:
        # Transposed, so that the weights of a single latent are one piece of memory, as W_enc's are.
        self._plain, self._gate = plain, (W_glu.T.contiguous(), b_glu)
        self.d_in, self.d_out, self.d_sae = plain.d_in, plain.d_out, plain.d_sae
        self.hook_in, self.hook_out = plain.hook_in, plain.hook_out
        self.metadata, self.assumptions = plain.metadata, plain.assumptions
        linear = "x' W_enc" + ("" if plain.b_enc is None else " + b_enc")
        compared = "h" if plain.gate_scale is None else "h · gate_scale"
        decoded = "f W_dec" + ("" if plain.b_dec is None else " + b_dec")
        self.formula = "; ".join(
            [
                f"x' = {plain.normalisation.said()}",
                f"h = ({linear}) · sigmoid(x' W_glu + b_glu)",
                f"f = {type(plain.activation).__name__} of {compared}",
                f"x̂ = {plain.normalisation.said_undone(decoded)}",
            ]
        )
        weights = plain.tensors() | {"W_enc": plain.W_enc, "W_glu": W_glu, "b_glu": b_glu}
        self.fingerprint = api.fingerprint(plain.semantics() | {"form": "glu 1"}, weights)

    @property
    def W_dec(self) -> Tensor:  # noqa: N802 - the field's name for it
        """Decoder rows [d_sae, d_out]."""
        return self._plain.W_dec

    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> GluSAE:
        """The same SAE on another device; encoding stays in float64 whatever the precision asked for."""
        moved, plain = copy.copy(self), self._plain.to(device=device, dtype=dtype)
        W_glu, b_glu = self._gate
        vars(moved).update(_plain=plain, _gate=(W_glu.to(plain.device), b_glu.to(plain.device)))
        return moved

    @torch.no_grad()
    def encode(self, x: Tensor) -> api.Codes:
        """Codes of x, of any shape that ``plain`` takes.

        Raises:
            ItemError: the last dimension is not d_in, or a row is not finite.
        """
        rows, batch_shape, _ = self._plain.rows(x)
        api.require_finite(rows)
        starts = range(0, max(1, rows.shape[0]), ROWS)
        dense = [self._codes(rows[start : start + ROWS].double()) for start in starts]
        codes = api.Codes.from_dense(torch.cat(dense).reshape(*batch_shape, self.d_sae))
        if not self._plain.normalisation.per_row:
            return codes
        normalised = self._plain.normalisation.apply(rows.float())
        return replace(codes, row_scale=normalised.scale, row_shift=normalised.shift)

    def decode(self, codes: api.Codes) -> Tensor:
        """x̂ [..., d_out] from codes alone."""
        return self._plain.decode(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of x's shape."""
        return self.reconstruct_from(self.encode(x), x)

    def reconstruct_from(self, codes: api.Codes, x: Tensor) -> Tensor:
        """x̂ of x given its codes."""
        return self._plain.reconstruct_from(codes, x)

    def _codes(self, x: Tensor) -> Tensor:
        """Dense codes [n, d_sae], float32, of rows x [n, d_in] in float64."""
        plain, everything = self._plain, slice(None)
        x = plain.normalisation.apply(x).x
        W_glu, b_glu = (part.double() for part in self._gate)
        h = _affine(x, plain.W_enc, plain.b_enc) * torch.sigmoid(x @ W_glu.T + b_glu)
        rows, columns = self._near_a_cutoff(x, h).nonzero(as_tuple=True)
        h[rows, columns] = self._exact(x, rows, columns)
        key = self._key(h)
        kept = key > self._floor(key)
        if plain.activation.count is not None:
            order = key.argsort(dim=-1, descending=True, stable=True)[:, : plain.activation.count]
            kept &= torch.zeros_like(kept).scatter_(-1, order, value=True)
        return torch.where(kept, plain.activation.value(h, everything), torch.zeros_like(h)).float()

    def _key(self, h: Tensor) -> Tensor:
        """What the activation compares, of dense h."""
        scale = self._plain.gate_scale
        return self._plain.activation.key(h if scale is None else h * scale.double(), slice(None))

    def _floor(self, key: Tensor) -> Tensor:
        return self._plain.activation.floor(slice(None)).to(key.device)

    def _near_a_cutoff(self, x: Tensor, h: Tensor) -> Tensor:
        """Where rounding could decide whether an entry is kept: [n, d_sae], for normalised x.

        Two ways to sum a key differ by less than ``error``, so their k-th largest keys differ by less
        than its maximum, and an entry twice that away from the k-th largest is on its side in both.
        """
        key, error = self._key(h), self._error(x)
        near = (key - self._floor(key)).abs() < error
        count = self._plain.activation.count
        if count is None:
            return near
        kth = key.topk(count, dim=-1).values[:, -1:]
        return near | ((key - kth).abs() < 2 * error.amax(-1, keepdim=True))

    def _error(self, x: Tensor) -> Tensor:
        """What two ways to sum the keys of rows x can differ by at most, [n, d_sae].

        A sum of d products rounds by at most d units of the last place of norm(x) * norm(w), and
        sigmoid has a slope of at most 1/4.
        """
        plain, (W_glu, b_glu) = self._plain, self._gate
        norms = x.norm(dim=-1, keepdim=True)
        linear = norms * plain.W_enc.double().norm(dim=0)
        if plain.b_enc is not None:
            linear += plain.b_enc.double().abs()
        gate = norms * W_glu.double().norm(dim=1) + b_glu.double().abs()
        error: Tensor = linear * (1 + gate / 4) * (2 * (self.d_in + 8) * 2.0**-53)
        return error if plain.gate_scale is None else error * plain.gate_scale.double()

    def _exact(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Float64 h [m] of single entries of normalised x, whatever stands beside them."""
        plain, (W_glu, b_glu) = self._plain, self._gate
        h = torch.empty(rows.numel(), dtype=torch.float64, device=x.device)
        step = max(1, EXACT_ELEMENTS // self.d_in)
        for start in range(0, rows.numel(), step):
            part = slice(start, start + step)
            row, column = x[rows[part]], columns[part]
            sums = torch.empty(column.numel(), 2, dtype=torch.float64, device=x.device)
            sums[:, 0] = (row * plain.W_enc.T[column].double()).sum(-1)
            sums[:, 1] = (row * W_glu[column].double()).sum(-1) + b_glu[column].double()
            if plain.b_enc is not None:
                sums[:, 0] += plain.b_enc[column].double()
            # sigmoid of a contiguous tensor rounds its last few numbers in another way than the others.
            h[part] = sums[:, 0] * torch.sigmoid(sums[:, 1])
        return h


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = x @ weight.double()
    return y if bias is None else y + bias.double()
