"""An encoder with a multiplicative gate (GLU), around what is otherwise a canonical SAE."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from darkmatter import api

ROWS = 256
"""Rows whose dense float64 pre-activations are held at once."""


class GluSAE(api.SAE):
    """h = (x' W_enc + b_enc) * sigmoid(x' W_glu + b_glu); all else is as in ``plain``.

    Pre-activations are computed in float64, so that its support does not depend on how rows are
    batched. ``plain`` has no code_scale, and an activation without groups.

    Args:
        plain: the SAE without its gate.
        W_glu: [d_in, d_sae].
        b_glu: [d_sae].
    """

    def __init__(self, plain: api.CanonicalSAE, W_glu: Tensor, b_glu: Tensor) -> None:
        self._plain, self._gate = plain, (W_glu, b_glu)
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
        """Codes of x [..., d_in].

        Raises:
            ItemError: the last dimension is not d_in.
        """
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            message = f"This SAE reads activations [..., {self.d_in}], but got {list(x.shape)}."
            raise api.ItemError(message)
        rows = x.detach().reshape(-1, self.d_in).to(self._plain.device)
        starts = range(0, max(1, rows.shape[0]), ROWS)
        dense = [self._codes(rows[start : start + ROWS].double()) for start in starts]
        codes = api.Codes.from_dense(torch.cat(dense).reshape(*x.shape[:-1], self.d_sae))
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
        h = _affine(x, plain.W_enc, plain.b_enc) * torch.sigmoid(x @ W_glu + b_glu)
        compared = h if plain.gate_scale is None else h * plain.gate_scale.double()
        key = plain.activation.key(compared, everything)
        kept = key > plain.activation.floor(everything).to(key.device)
        if plain.activation.count is not None:
            order = key.argsort(dim=-1, descending=True, stable=True)[:, : plain.activation.count]
            kept &= torch.zeros_like(kept).scatter_(-1, order, value=True)
        return torch.where(kept, plain.activation.value(h, everything), torch.zeros_like(h)).float()


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = x @ weight.double()
    return y if bias is None else y + bias.double()
