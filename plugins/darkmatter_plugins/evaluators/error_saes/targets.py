"""The parts of the error as training rows, and what is summed over held-out rows.

Notation: y [n, d] target, e = y - Sae(x), L = b*x + c fitted on training rows, N = e - L.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, LinearMap, UnitSums
from darkmatter_plugins.evaluators.error_saes.descriptor import PARTS
from darkmatter_plugins.training.topk import Trained


def parts(chunk: api.Chunk, linear: LinearMap) -> Tensor:
    """e, L and N in the order of ``PARTS``: [n, 3, d] float64."""
    predicted = linear(chunk.x)
    return torch.stack([chunk.error, predicted, chunk.error - predicted], dim=1)


def training_rows(
    ctx: api.EvalContext, linear: LinearMap, wanted: list[int], seed: int
) -> Callable[[int], Iterator[Tensor]]:
    """Blocks [n, parts, d] float32 of the training rows alone, in another order each epoch."""

    def blocks(epoch: int) -> Iterator[Tensor]:
        for chunk in ctx.chunks("train", shuffled=(seed << 32) + epoch):
            yield parts(chunk, linear)[:, wanted].float()

    return blocks


@dataclass(frozen=True, eq=False)
class PartMoments:
    """Means and variances of the parts over held-out rows, the three side by side [3 d]."""

    linear: LinearMap

    def start(self, info: api.PassInfo) -> PartMomentsCollector:
        """A fresh collector."""
        return PartMomentsCollector(self, CrossMoments.zero(0, len(PARTS) * info.d_out))


@dataclass
class PartMomentsCollector:
    """Collects ``PartMoments``: moments with a regressor of width 0."""

    spec: PartMoments
    moments: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        found = parts(chunk, self.spec.linear).flatten(1)
        self.moments.merge(CrossMoments.of((found.new_zeros(0), found[:, :0]), found))

    def merge(self, other: PartMomentsCollector) -> None:
        """Take in the next shard."""
        self.moments.merge(other.moments)

    def finish(self) -> CrossMoments:
        """The moments."""
        return self.moments


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What trained SAEs miss on held-out rows, per unit, and how often their latents fire.

    ``trained`` maps (part, seed) to an SAE, ``means`` [3, d] are those of the held-out rows.
    """

    linear: LinearMap
    means: Tensor
    trained: dict[tuple[str, int], Trained]

    def start(self, info: api.PassInfo) -> HeldOutCollector:
        """A fresh collector."""
        names = ["target_variance", *(f"{part}_variance" for part in PARTS)]
        names += [f"{part}_missed_{seed}" for part, seed in self.trained]
        fired = {key: torch.zeros(each.sae.d_sae, dtype=torch.int64) for key, each in self.trained.items()}
        return HeldOutCollector(self, info.inputs.mean_target, UnitSums(tuple(names)), fired)


@dataclass
class HeldOutCollector:
    """Collects ``HeldOut``."""

    spec: HeldOut
    mean_target: Tensor
    sums: UnitSums
    fired: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        found = parts(chunk, self.spec.linear)
        centred = found - self.spec.means.to(found.device)
        target = chunk.target.double() - self.mean_target.to(found.device)
        columns = [target.square().sum(dim=1), *centred.square().sum(dim=2).unbind(1)]
        for (part, seed), trained in self.spec.trained.items():
            rows_of_part = found[:, list(PARTS).index(part)]
            codes = trained.sae.encode(rows_of_part.float())
            columns.append((rows_of_part - trained.sae.decode(codes)).square().sum(dim=1))
            self.fired[part, seed] += torch.bincount(codes.indices.cpu(), minlength=codes.d_sae)
        self.sums.add(chunk.unit, torch.stack(columns, dim=1))

    def merge(self, other: HeldOutCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)
        for key, counts in other.fired.items():
            self.fired[key] += counts

    def finish(self) -> HeldOutCollector:
        """Itself."""
        return self
