"""The weights of a canonical SAE: what they are called, what they mean, what they hash to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from darkmatter.sae.affine import AffineSAE
from darkmatter.sae.check import row_norms
from darkmatter.sae.fingerprint import fingerprint
from darkmatter.sae.normalisation import Normalisation


@dataclass(frozen=True, eq=False)
class Decoder:
    """Weights of x̂ = f weight + bias + x skip: [d_sae, d_out], [d_out], [d_in, d_out]."""

    weight: Tensor
    bias: Tensor | None
    skip: Tensor | None

    @staticmethod
    def build(weight: Tensor, bias: Tensor | None, skip: Tensor | None) -> Decoder:
        """A decoder from weights whose shapes fit; they must be finite."""
        row_norms("W_dec", weight)
        if skip is not None:
            row_norms("W_skip", skip)
        # Contiguous, because a product with a transposed view may round differently.
        bias, skip = (None if tensor is None else tensor.detach().contiguous() for tensor in (bias, skip))
        return Decoder(weight.detach().contiguous(), bias, skip)

    def to(self, device: torch.device | str) -> Decoder:
        """The same decoder on another device."""
        bias, skip = (None if tensor is None else tensor.to(device) for tensor in (self.bias, self.skip))
        return Decoder(self.weight.to(device), bias, skip)


class CanonicalWeights(AffineSAE):
    """What ``CanonicalSAE`` knows of its weights, by the names of its constructor."""

    _decoder: Decoder

    @property
    def W_dec(self) -> Tensor:  # noqa: N802 - the field's name for it
        """Decoder rows [d_sae, d_out]."""
        return self._decoder.weight

    @property
    def W_skip(self) -> Tensor | None:  # noqa: N802 - the field's name for it
        """Skip connection [d_in, d_out], or None."""
        return self._decoder.skip

    @property
    def b_dec(self) -> Tensor | None:
        """[d_out], or None."""
        return self._decoder.bias

    @property
    def subtract(self) -> Tensor | None:
        """[d_in], or None."""
        return self._encoder.subtract

    @property
    def normalisation(self) -> Normalisation:
        """The input normalisation."""
        return self._encoder.normalisation

    @property
    def code_scale(self) -> Tensor | None:
        """[d_sae], or None."""
        return self._encoder.code_scale

    @property
    def gate_scale(self) -> Tensor | None:
        """[d_sae], or None."""
        return self._encoder.gate_scale

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All weights that are there, by the constructor's names (``activation.NAME`` for its own)."""
        names = ("W_enc", "W_dec", "b_enc", "b_dec", "subtract", "code_scale", "gate_scale", "W_skip")
        own = {f"activation.{name}": tensor for name, tensor in self.activation.tensors().items()}
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None} | own

    def semantics(self) -> dict[str, Any]:
        """What is done with the weights, JSON-able."""
        return {
            "form": "canonical 1",
            "activation": self.activation.settings(),
            "normalisation": self.normalisation.settings(),
        }

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # found when first asked for
        """xxh3_128 of ``semantics()`` and ``tensors()``, hex.

        Hook points, head shape, metadata, assumptions, device and compute precision do not enter.
        """
        tensors = self.tensors()
        tensors["W_enc"] = self._encoder.weight
        return fingerprint(self.semantics(), tensors)
