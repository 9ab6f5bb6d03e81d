"""What the whole noise grid follows from: moments of signal, noises and errors without noise.

Each row has its signal x0 = Sae(x), standard normal noises a and r drawn by its number, and for every
set of ablated latents the error u_i = x0 - decode(masked codes of x0). At levels s_a and s_r the
regressor is x' = x0 + s_a a and the error e = u_i + s_a a - s_r r, so the second moments of (x0, a, r)
with each other and with the u_i give those of any levels. All levels share one draw of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, centred
from darkmatter_plugins.evaluators.rows import RowBudget, as_double
from darkmatter_plugins.hashing import normals, row_keys

_ACTIVATION, _RECONSTRUCTION = 2, 3  # what hashes are drawn for


def encode(sae: api.SAE, signal: Tensor) -> api.Codes:
    """Codes of the synthetic signal."""
    with sae.exclusive():
        return sae.encode(signal)


@dataclass(frozen=True, eq=False)
class SignalCodes:
    """Sum of every latent's codes [d_sae] over the signal of drawn rows."""

    sae: api.SAE
    budget: RowBudget

    def start(self, info: api.PassInfo) -> SignalCodesCollector:
        """A fresh collector."""
        return SignalCodesCollector(self, torch.zeros(info.d_sae, dtype=torch.float64))


@dataclass
class SignalCodesCollector:
    """Collects ``SignalCodes``."""

    spec: SignalCodes
    total: Tensor

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows."""
        signal = chunk.reconstruction[self.spec.budget.drawn(chunk, rows)]
        if len(signal):
            codes = encode(self.spec.sae, signal)
            self.total.index_add_(0, codes.indices.cpu(), codes.values.to("cpu", torch.float64))

    def merge(self, other: SignalCodesCollector) -> None:
        """Take in the next shard."""
        self.total += other.total

    def finish(self) -> Tensor:
        """The sums."""
        return self.total


@dataclass(frozen=True, eq=False)
class NoiseMoments:
    """Moments of (x0, a, r) [3 d], and between them and the errors u_i [sets of ablated latents * d].

    ``kept`` [sets, d_sae] says which latents stay.
    """

    sae: api.SAE
    budget: RowBudget
    kept: Tensor

    def start(self, info: api.PassInfo) -> NoiseMomentsCollector:
        """A fresh collector."""
        d = info.d_in
        return NoiseMomentsCollector(self, Gram.zero(3 * d), CrossMoments.zero(3 * d, len(self.kept) * d))


@dataclass
class NoiseMomentsCollector:
    """Collects ``NoiseMoments``."""

    spec: NoiseMoments
    parts: Gram
    errors: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows."""
        spec = self.spec
        drawn = spec.budget.drawn(chunk, rows)
        signal = chunk.reconstruction[drawn]
        if not len(signal):
            return
        number, seed = chunk.row[drawn.cpu()], spec.budget.seed
        noises = [
            normals(row_keys(number, seed, kind), signal.shape[1]).to(signal.device)
            for kind in (_ACTIVATION, _RECONSTRUCTION)
        ]
        (wide,) = as_double(signal)
        errors = [wide - made for made in as_double(*_reconstructions(spec.sae, signal, spec.kept))]
        parts = centred(torch.cat([wide, *noises], dim=1))
        self.parts.merge(Gram.of_centred(parts))
        self.errors.merge(CrossMoments.of(parts, torch.cat(errors, dim=1)))

    def merge(self, other: NoiseMomentsCollector) -> None:
        """Take in the next shard, or the other side of the split."""
        self.parts.merge(other.parts)
        self.errors.merge(other.errors)

    def finish(self) -> NoiseMomentsCollector:
        """Itself."""
        return self


def _reconstructions(sae: api.SAE, signal: Tensor, kept: Tensor) -> list[Tensor]:
    """What the SAE makes of its signal with each set of latents."""
    with sae.exclusive():
        codes = sae.encode(signal)
        masks = kept.to(codes.device)
        return [sae.reconstruct_from(_masked(codes, mask), signal) for mask in masks]


def _masked(codes: api.Codes, mask: Tensor) -> api.Codes:
    """The codes without those of latents that are not in the mask."""
    stays = mask[codes.indices]
    left = api.Codes.from_entries(
        codes.row_ids()[stays], codes.indices[stays], codes.values[stays], codes.d_sae, codes.batch_shape
    )
    return replace(left, row_scale=codes.row_scale, row_shift=codes.row_shift)
