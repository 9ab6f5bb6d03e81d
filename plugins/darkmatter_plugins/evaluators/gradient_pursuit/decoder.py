"""The space in which an SAE's decoder is affine in its codes, and the way there and back.

For a canonical SAE x̂ = undo(f W_dec / code_scale + b_dec) + x W_skip, so the signal that f pursues is

    signal = undo⁻¹(y - x W_skip) - b_dec                          [n, d_out]

with y the target (x itself, or what a transcoder predicts) and undo⁻¹ by the row's own statistics.
Of any other SAE only its reconstructions are known: if x̂ - f W_dec is the same vector b on all
training rows, its decoder is affine there, and signal = y - b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments
from darkmatter_plugins.evaluators.decoding import atoms, times

AFFINE = 1e-6
"""The variance of x̂ - f W_dec that counts as none, as a share of the mean square of x̂."""


class DecoderSpace(Protocol):
    """Where codes are pursued."""

    @property
    def dictionary(self) -> Tensor:
        """Atoms [d_sae, d_out]."""
        ...

    def signal(self, x: Tensor, target: Tensor) -> Tensor:
        """What codes times the dictionary shall give [n, d_out], float64."""
        ...

    def reconstruction(self, codes: api.Codes, x: Tensor) -> Tensor:
        """x̂ [n, d_out] of pursued codes."""
        ...


@dataclass(frozen=True, eq=False)
class CanonicalSpace:
    """That of a canonical SAE."""

    sae: api.CanonicalSAE
    dictionary: Tensor

    @classmethod
    def of(cls, sae: api.CanonicalSAE) -> CanonicalSpace:
        """With what a code of 1 adds as atoms."""
        dictionary = atoms(sae)
        assert dictionary is not None
        return cls(sae, dictionary)

    def signal(self, x: Tensor, target: Tensor) -> Tensor:
        """The target less the skip connection, normalised as the decoder's output is, less b_dec."""
        sae, x, out = self.sae, x.to(torch.float64), target.to(torch.float64)
        if sae.W_skip is not None:
            out = out - x @ sae.W_skip.to(x)
        normalisation = sae.normalisation
        bias = 0.0 if sae.b_dec is None else sae.b_dec.to(x)
        if normalisation.invert and normalisation.kind == "scale":
            out = out * normalisation.factor
        if not normalisation.per_row:
            return out - bias
        _, scale, shift = normalisation.apply(x)
        assert scale is not None
        out = out if shift is None else out - shift
        # A row that its normalisation takes to zero has nothing to pursue.
        return torch.where(scale > 0, out / torch.where(scale > 0, scale, 1.0) - bias, 0.0)

    def reconstruction(self, codes: api.Codes, x: Tensor) -> Tensor:
        """As the SAE itself reconstructs from its codes."""
        return self.sae.reconstruct_from(codes, x)


@dataclass(frozen=True, eq=False)
class AffineSpace:
    """That of an SAE known by its decoder rows and the vector that it adds."""

    dictionary: Tensor
    offset: Tensor

    def signal(self, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002 - x plays no part here
        """The target less the offset."""
        return target.to(torch.float64) - self.offset.to(target.device)

    def reconstruction(self, codes: api.Codes, x: Tensor) -> Tensor:
        """Codes times decoder rows, plus the offset."""
        return times(codes, self.dictionary) + self.offset.to(x.device)


def decoder_space(ctx: api.EvalContext) -> DecoderSpace | None:
    """The space of the SAE's decoder; None if its reconstructions are not affine in its codes."""
    sae = ctx.sae
    if isinstance(sae, api.CanonicalSAE):
        return CanonicalSpace.of(sae)
    assert sae.W_dec is not None
    (found,) = ctx.collect([Offsets(sae.W_dec)], "train")
    offset: CrossMoments = found.offset
    if float(offset.syy.sum()) > AFFINE * found.square:
        return None
    return AffineSpace(sae.W_dec, offset.mean_y)


@dataclass(frozen=True, eq=False)
class Offsets:
    """Moments of x̂ - f W_dec, which is one vector if the decoder is affine."""

    weight: Tensor

    def start(self, info: api.PassInfo) -> OffsetsCollector:
        """A fresh collector."""
        return OffsetsCollector(self.weight, CrossMoments.zero(0, info.d_out))


@dataclass
class OffsetsCollector:
    """Collects ``Offsets``; ``square`` is Σ |x̂|²."""

    weight: Tensor
    offset: CrossMoments
    square: float = 0.0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        made = chunk.reconstruction.to(torch.float64)
        mean, centred = chunk.x_centred
        offset = made - times(chunk.codes, self.weight)
        self.offset.merge(CrossMoments.of((mean[:0], centred[:, :0]), offset))
        self.square += float(made.square().sum())

    def merge(self, other: OffsetsCollector) -> None:
        """Take in the next shard."""
        self.offset.merge(other.offset)
        self.square += other.square

    def finish(self) -> OffsetsCollector:
        """Itself."""
        return self
