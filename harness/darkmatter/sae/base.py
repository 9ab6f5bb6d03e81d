"""What every sparse autoencoder looks like to the harness."""

from __future__ import annotations

import abc
import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from darkmatter.sae.overrides import Overrides

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from darkmatter.sae.codes import Codes


@dataclass(frozen=True)
class SAEMetadata:
    """What is known of an SAE beside its numbers; ``None`` where nothing is.

    ``architecture`` is a word that all formats share (docs/plugins.md lists them); a name of the
    file's own, such as that of a class, goes into ``extra``. What a reader took where the file says
    nothing stands here too, beside an assumption about it; ``darkmatter.sae.recorded`` tells the two
    apart. ``processing`` is that of the weights of the model it was trained on, in the words of a
    suite's ``model``: raw, or compat (layer norms folded and weights centred).
    """

    format: str = ""
    architecture: str = ""
    model: str | None = None
    context_length: int | None = None
    prepend_bos: bool | None = None
    dataset: str | None = None
    dtype: str | None = None
    processing: Literal["raw", "compat"] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class SAE(abc.ABC):
    """A sparse autoencoder (or transcoder): x [..., d_in] -> codes [..., d_sae] -> x̂ [..., d_out].

    Attributes:
        d_in, d_out, d_sae: sizes; d_out = d_in unless it is a transcoder.
        hook_in, hook_out: TransformerLens hook points read and predicted, where known.
        metadata: what the file says of itself.
        assumptions: what the file did not say and we took, one sentence each.
        overrides: what was stated about it instead of its file; ``apply_overrides`` follows them.
        fingerprint: hash of weights and semantics; None for opaque functions, which are known only
            by what they do.
        reconstructs: whether it predicts activations. One that does not (a layer of a cross-layer
            transcoder) has codes alone: ``decode`` and its kin raise an ItemError, and evaluators
            that need a reconstruction are skipped.
        no_reconstruction: why not, one sentence; empty for one that does.
    """

    d_in: int
    d_out: int
    d_sae: int
    hook_in: str | None
    hook_out: str | None
    metadata: SAEMetadata
    assumptions: tuple[str, ...]
    overrides: Overrides = Overrides()
    fingerprint: str | None
    reconstructs: bool = True
    no_reconstruction: str = ""

    def __repr__(self) -> str:
        metadata: SAEMetadata | None = getattr(self, "metadata", None)
        kind = f" {metadata.architecture}" if metadata and metadata.architecture else ""
        where = self.hook_in or "no hook point recorded"
        return f"<{type(self).__name__}{kind}, {self.d_in} -> {self.d_sae}, {where}>"

    @property
    def W_dec(self) -> Tensor | None:  # noqa: N802 - the field's name for it
        """Decoder rows [d_sae, d_out], where there is a decoder matrix."""
        return None

    @abc.abstractmethod
    def encode(self, x: Tensor) -> Codes:
        """Codes of x [..., d_in] (attention-z SAEs also take [..., heads, d_head])."""

    @abc.abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """x̂ [..., d_out] from codes alone (without a skip connection, which needs x)."""

    @abc.abstractmethod
    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of x's shape (for a transcoder [..., d_out]), skip connection included."""

    def reconstruct_from(self, codes: Codes, x: Tensor) -> Tensor:
        """x̂ of x, float32, given the codes that ``encode`` already found for it.

        The streaming pass and every later sweep use only this and ``encode``: ``decode`` alone knows
        neither a skip connection nor the statistics of a normalised row. SAEs that have either
        override it.
        """
        del x
        return self.decode(codes)

    def exclusive(self) -> AbstractContextManager[Any]:
        """Held while an SAE encodes and reconstructs one chunk; SAEs that may keep state lock here."""
        return contextlib.nullcontext()

    @staticmethod
    def from_functions(
        encode: Callable[[Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        *,
        d_in: int,
        d_sae: int,
        d_out: int | None = None,
        hook: str | None = None,
        reconstruct: Callable[[Tensor], Tensor] | None = None,
    ) -> SAE:
        """Wrap two functions: ``encode`` [n, d_in] -> [n, d_sae], ``decode`` [n, d_sae] -> [n, d_out].

        They are called only on the rows given, never probed, and their results are never reused
        by name. Codes are decoded more than once; where ``decode`` needs more than the codes (a skip
        connection, a scale that ``encode`` remembers), give ``reconstruct`` [n, d_in] -> [n, d_out].
        """
        from darkmatter.sae.opaque import OpaqueSAE

        return OpaqueSAE(
            encode, decode, d_in=d_in, d_sae=d_sae, d_out=d_out or d_in, hook=hook, reconstruct=reconstruct
        )

    @staticmethod
    def from_object(obj: Any) -> SAE:
        """Wrap an object of another library that has encode, decode and its sizes (SAELens-like)."""
        from darkmatter.sae.duck import from_object

        return from_object(obj)
