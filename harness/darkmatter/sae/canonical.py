"""The canonical form that most SAE formats reduce to."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.activation import Activation
from darkmatter.sae.base import SAEMetadata
from darkmatter.sae.check import check_vector, check_weights
from darkmatter.sae.codes import Codes
from darkmatter.sae.linear import decode_codes
from darkmatter.sae.normalisation import Normalisation
from darkmatter.sae.preactivations import Encoder
from darkmatter.sae.reference import reference_codes
from darkmatter.sae.weights import CanonicalWeights, Decoder


class CanonicalSAE(CanonicalWeights):
    """Input transform, affine encoder, activation, affine decoder, inverse transform, skip.

    ========================================================== =================
    x' = normalise(x) - subtract                               [n, d_in]
    h = (x' W_enc + b_enc) * code_scale                        [n, d_sae]
    f = activation(h), which compares h * gate_scale           [n, d_sae]
    decode: undo normalisation of (f / code_scale) W_dec + b_dec [n, d_out]
    reconstruct: decode + x W_skip                             [n, d_out]
    ========================================================== =================

    Weights stay in the dtype they are given in; encoding computes in float32, or in the precision
    asked for by ``to(dtype=...)``; codes and reconstructions are float32 always. Codes lie on the
    device of the weights. A latent whose ``code_scale`` is 0 decodes to nothing.

    Encoding holds n x 4096 pre-activations, not n x d_sae (a GroupMax or TopK on rows where very
    many latents tie exactly holds the tied ones too). Its support does not depend on how rows are
    batched, see ``darkmatter.sae.select``; with TF32 switched on that is not promised.

    Args:
        W_enc: [d_in, d_sae].
        W_dec: [d_sae, d_out].
        b_enc: [d_sae].
        b_dec: [d_out], added by the decoder; a file that subtracts it from the input too passes
            it as ``subtract`` as well.
        activation: an ``Activation``.
        subtract: [d_in].
        normalisation: a ``Normalisation``.
        code_scale: [d_sae], multiplies pre-activations and divides codes before the decoder.
        gate_scale: [d_sae], not negative; scales what the activation compares, not the codes.
        W_skip: [d_in, d_out].
        head_shape: (heads, d_head) with heads * d_head = d_in: x may then be [..., heads, d_head];
            at a hook point that ends in hook_z any such split may be given.
        hook_in: hook point read.
        hook_out: hook point predicted; ``hook_in`` where None.
        metadata: what the file says of itself.
        assumptions: what it did not say and we took.

    Raises:
        ItemError: shapes do not fit together, or weights are not finite floating-point numbers.
    """

    def __init__(
        self,
        *,
        W_enc: Tensor,
        W_dec: Tensor,
        activation: Activation,
        b_enc: Tensor | None = None,
        b_dec: Tensor | None = None,
        subtract: Tensor | None = None,
        normalisation: Normalisation | None = None,
        code_scale: Tensor | None = None,
        gate_scale: Tensor | None = None,
        W_skip: Tensor | None = None,
        head_shape: tuple[int, int] | None = None,
        hook_in: str | None = None,
        hook_out: str | None = None,
        metadata: SAEMetadata | None = None,
        assumptions: tuple[str, ...] = (),
    ) -> None:
        self.d_in, self.d_sae, self.d_out = check_weights(W_enc, W_dec, W_skip, head_shape)
        check_vector("b_enc", b_enc, self.d_sae)
        check_vector("b_dec", b_dec, self.d_out)
        check_vector("subtract", subtract, self.d_in)
        check_vector("code_scale", code_scale, self.d_sae)
        check_vector("gate_scale", gate_scale, self.d_sae, negative=False)
        activation.check(self.d_sae)
        self.head_shape = head_shape
        self.hook_in, self.hook_out = hook_in, hook_out or hook_in
        self.metadata, self.assumptions = metadata or SAEMetadata(), tuple(assumptions)
        self._decoder = Decoder.build(W_dec, b_dec, W_skip)
        self._encoder = Encoder.build(
            W_enc, b_enc, subtract, normalisation or Normalisation(), code_scale, gate_scale, activation
        )

    def __repr__(self) -> str:
        kind = type(self.activation).__name__
        where = self.hook_in or "no hook point recorded"
        return f"<CanonicalSAE {kind}, {self.d_in} -> {self.d_sae} -> {self.d_out}, {where}>"

    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same SAE on another device, or computing in another precision.

        Raises:
            ItemError: the precision is none of float32, float64, bfloat16, float16.
        """
        moved = super().to(device=device, dtype=dtype)
        if device is not None:
            vars(moved)["_decoder"] = self._decoder.to(device)
        return moved

    def with_normalisation(self, normalisation: Normalisation) -> CanonicalSAE:
        """The same SAE with its input normalised in another way."""
        changed = copy.copy(self)
        vars(changed)["_encoder"] = replace(self._encoder, normalisation=normalisation)
        vars(changed).pop("fingerprint", None)  # found again when it is asked for
        return changed

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """x̂ [..., d_out] from codes alone, without the skip connection.

        Raises:
            ItemError: rows are normalised one by one and the codes carry no ``row_scale``.
        """
        out = self._decoded(codes, codes.row_scale, codes.row_shift)
        return out.float().reshape(*codes.batch_shape, self.d_out)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of x's shape ([..., d_out] for a transcoder), skip connection included."""
        return self.reconstruct_from(self.encode(x), x)

    @torch.no_grad()
    def reconstruct_from(self, codes: Codes, x: Tensor) -> Tensor:
        """x̂ of x given its codes: decode, undo x's own normalisation, add x W_skip.

        Raises:
            ItemError: the codes are not of as many rows as x.
        """
        rows = self.rows(x)
        if rows.x.shape[0] != codes.n_rows:
            message = f"reconstruct_from got codes of {codes.n_rows} rows, but x has {rows.x.shape[0]} rows."
            raise ItemError(message)
        scale = shift = None
        if self.normalisation.per_row:
            _, scale, shift = self.normalisation.apply(rows.x.double())
        out = self._decoded(codes, scale, shift)
        if self.W_skip is not None:
            out = torch.addmm(out, rows.x.to(out.dtype), self.W_skip.to(out.dtype))
        return rows.restore(out.float())

    @torch.no_grad()
    def reference(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Dense codes and reconstruction in float64, straight from the definition; slow.

        Codes are ``batch_shape`` + [d_sae], the reconstruction has x's shape.
        """
        rows = self.rows(x)
        codes = reference_codes(self._encoder, rows.x)
        scaled = codes
        if self.code_scale is not None:
            scaled = torch.where(codes == 0, codes, codes / self.code_scale.double())
        out = scaled @ self.W_dec.double()
        if self.b_dec is not None:
            out = out + self.b_dec.double()
        normalised = self.normalisation.apply(rows.x.double())
        out = self.normalisation.undo(out, normalised.scale, normalised.shift)
        if self.W_skip is not None:
            out = out + rows.x.double() @ self.W_skip.double()
        return codes.reshape(*rows.batch_shape, self.d_sae), rows.restore(out)

    def _decoded(self, codes: Codes, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """Decoder output [n, d_out] in float32 (float64 where that is the compute precision)."""
        codes = codes.to(self.device)
        dtype = torch.float64 if self._dtype == torch.float64 else torch.float32
        if self.code_scale is not None:
            values = codes.values.to(dtype) / self.code_scale[codes.indices].to(dtype)
            codes = replace(codes, values=values)
        out = decode_codes(codes, self.W_dec, dtype)
        if self.b_dec is not None:
            out += self.b_dec.to(dtype)
        return self.normalisation.undo(out, scale, shift)
