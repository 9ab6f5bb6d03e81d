"""SAEs that have codes and no reconstruction."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.activation import Activation
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.canonical import COMPUTE_DTYPES, TILE
from darkmatter.sae.check import check_vector
from darkmatter.sae.codes import Codes
from darkmatter.sae.fingerprint import fingerprint
from darkmatter.sae.normalisation import Normalisation
from darkmatter.sae.preactivations import Encoder, PreActivations
from darkmatter.sae.rows import as_rows
from darkmatter.sae.select import select


class EncodeOnlySAE(SAE):
    """The encoder of something whose decoder does not predict one hook point.

    f = activation(x W_enc + b_enc), as in ``CanonicalSAE``. A layer of a cross-layer transcoder is
    one: what its latents write into a later layer is only a part of what all layers write there, so
    no error can be taken. Its codes can be measured like any others.

    It has no decoder matrix (``W_dec`` is None), and its fingerprint is made of what gives the codes:
    encoder and activation. It counts as predicting the hook point that it reads, of which nothing
    is asked.

    Args:
        W_enc: [d_in, d_sae].
        b_enc: [d_sae].
        activation: an ``Activation``.
        reason: why it does not reconstruct, one sentence; what ``decode`` raises.
        hook: hook point read.
        metadata: what the file says of itself.
        assumptions: what it did not say and we took.

    Raises:
        ItemError: shapes do not fit together, or weights are not finite floating-point numbers.
    """

    reconstructs = False

    def __init__(
        self,
        *,
        W_enc: Tensor,
        activation: Activation,
        reason: str,
        b_enc: Tensor | None = None,
        hook: str | None = None,
        metadata: SAEMetadata | None = None,
        assumptions: tuple[str, ...] = (),
    ) -> None:
        if W_enc.ndim != 2 or not W_enc.is_floating_point() or not W_enc.numel():
            message = (
                f"W_enc must be a non-empty floating-point matrix, not {W_enc.dtype} {list(W_enc.shape)}."
            )
            raise ItemError(message)
        self.d_in, self.d_sae = W_enc.shape
        self.d_out = self.d_in
        check_vector("b_enc", b_enc, self.d_sae)
        activation.check(self.d_sae)
        self.no_reconstruction = reason
        self.hook_in = self.hook_out = hook
        self.metadata, self.assumptions = metadata or SAEMetadata(), tuple(assumptions)
        self._dtype = torch.float32
        self._encoder = Encoder.build(W_enc, b_enc, None, Normalisation(), None, None, activation)

    def __repr__(self) -> str:
        kind, where = type(self.activation).__name__, self.hook_in or "no hook point recorded"
        return f"<EncodeOnlySAE {kind}, {self.d_in} -> {self.d_sae}, {where}>"

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
    def device(self) -> torch.device:
        """Where the weights are, and the codes will be."""
        return self._encoder.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it encodes."""
        return self._dtype

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> EncodeOnlySAE:
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
        """Codes of x [..., d_in].

        Raises:
            ItemError: the last dimension is not d_in, or a row is not finite.
        """
        rows = as_rows(x.detach(), self.d_in, heads=None, any_heads=False, hook=self.hook_in)
        wide = rows.x.to(self.device, torch.promote_types(x.dtype, torch.float32))
        found = select(PreActivations(self._encoder, wide, self._dtype, TILE), TILE)
        return Codes.from_entries(*found, self.d_sae, rows.batch_shape)

    def decode(self, codes: Codes) -> NoReturn:
        """Raise an ItemError that says why there is nothing to decode to."""
        del codes
        raise ItemError(self.no_reconstruction)

    def reconstruct(self, x: Tensor) -> NoReturn:
        """Raise an ItemError that says why there is no reconstruction."""
        del x
        raise ItemError(self.no_reconstruction)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # found when first asked for
        """xxh3_128 of what gives the codes, hex; hook point and metadata do not enter."""
        semantics: dict[str, Any] = {"form": "encode only 1", "activation": self.activation.settings()}
        own = {f"activation.{name}": tensor for name, tensor in self.activation.tensors().items()}
        return fingerprint(semantics, {"W_enc": self._encoder.weight, "b_enc": self.b_enc} | own)
