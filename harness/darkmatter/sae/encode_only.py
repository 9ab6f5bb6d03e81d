"""SAEs that have codes and no reconstruction."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn

from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.activation import Activation
from darkmatter.sae.affine import AffineSAE
from darkmatter.sae.base import SAEMetadata
from darkmatter.sae.check import check_matrix, check_vector
from darkmatter.sae.codes import Codes
from darkmatter.sae.fingerprint import fingerprint
from darkmatter.sae.normalisation import Normalisation
from darkmatter.sae.preactivations import Encoder


class EncodeOnlySAE(AffineSAE):
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
        check_matrix("W_enc", W_enc)
        self.d_in, self.d_sae = W_enc.shape
        self.d_out = self.d_in
        check_vector("b_enc", b_enc, self.d_sae)
        activation.check(self.d_sae)
        self.no_reconstruction = reason
        self.hook_in = self.hook_out = hook
        self.metadata, self.assumptions = metadata or SAEMetadata(), tuple(assumptions)
        self._encoder = Encoder.build(W_enc, b_enc, None, Normalisation(), None, None, activation)

    def __repr__(self) -> str:
        kind, where = type(self.activation).__name__, self.hook_in or "no hook point recorded"
        return f"<EncodeOnlySAE {kind}, {self.d_in} -> {self.d_sae}, {where}>"

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
