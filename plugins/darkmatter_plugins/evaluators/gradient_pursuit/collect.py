"""Pursue codes on some rows, and keep what the metrics are made of: two small collectors.

Each looks at the error of the SAE's own codes and at that of the pursued ones on the same rows, so
the two cannot be taken on different positions (as they were in the first version of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, LinearMap, UnitSums, centred, gradient_pursuit
from darkmatter_plugins.evaluators.gradient_pursuit.decoder import DecoderSpace
from darkmatter_plugins.evaluators.rows import RowBudget, as_double, l0, subset

COLUMNS = (
    "rows",
    "variance",
    "target_sq",
    "before_sq",
    "after_sq",
    "nonlinear_before_sq",
    "nonlinear_after_sq",
    "l0",
    "l0_after",
    "negative_codes",
)


@dataclass(frozen=True, eq=False)
class Pursuit:
    """How codes are pursued, and on which rows; ``target`` None means the SAE's own L0."""

    space: DecoderSpace
    budget: RowBudget
    target: int | None
    unit_rows: bool

    def errors(self, chunk: api.Chunk, drawn: Tensor) -> tuple[Tensor, Tensor, api.Codes]:
        """Both errors [m, d_out] float64 of the drawn rows, before and after, and the pursued codes."""
        x, target, before, _ = subset(chunk, drawn)
        wanted = l0(chunk.codes, drawn) if self.target is None else self.target
        signal = self.space.signal(x, target)
        atoms = self.space.dictionary.to(x.device)
        codes = gradient_pursuit(signal, atoms, wanted, unit_rows=self.unit_rows)
        after = self.space.reconstruction(codes, x)
        target, before, after = as_double(target, before, after)
        return target - before, target - after, codes


@dataclass(frozen=True, eq=False)
class PursuitMoments:
    """Training moments between x and both errors side by side [2 d_out]."""

    pursuit: Pursuit

    def start(self, info: api.PassInfo) -> PursuitMomentsCollector:
        """A fresh collector."""
        return PursuitMomentsCollector(
            self.pursuit, Gram.zero(info.d_in), CrossMoments.zero(info.d_in, 2 * info.d_out)
        )


@dataclass
class PursuitMomentsCollector:
    """Collects ``PursuitMoments``."""

    pursuit: Pursuit
    gram: Gram
    errors: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows."""
        drawn = self.pursuit.budget.drawn(chunk, rows)
        before, after, _ = self.pursuit.errors(chunk, drawn)
        x = centred(chunk.x[drawn])
        self.gram.merge(Gram.of_centred(x))
        self.errors.merge(CrossMoments.of(x, torch.cat([before, after], dim=1)))

    def merge(self, other: PursuitMomentsCollector) -> None:
        """Take in the next shard."""
        self.gram.merge(other.gram)
        self.errors.merge(other.errors)

    def finish(self) -> PursuitMomentsCollector:
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class PursuitSums:
    """Sums per unit of ``COLUMNS``, given the maps of x onto both errors."""

    pursuit: Pursuit
    linear: LinearMap

    def start(self, info: api.PassInfo) -> PursuitSumsCollector:
        """A fresh collector."""
        return PursuitSumsCollector(self, info.inputs.mean_target)


@dataclass
class PursuitSumsCollector:
    """Collects ``PursuitSums``."""

    spec: PursuitSums
    mean: Tensor
    sums: UnitSums = field(default_factory=lambda: UnitSums(COLUMNS))

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows."""
        pursuit = self.spec.pursuit
        drawn = pursuit.budget.drawn(chunk, rows)
        before, after, codes = pursuit.errors(chunk, drawn)
        x, target, _, unit = subset(chunk, drawn)
        (target,) = as_double(target)
        linear = self.spec.linear(x)
        d_out = before.shape[1]
        vectors = (
            target - self.mean.to(target.device),
            target,
            before,
            after,
            before - linear[:, :d_out],
            after - linear[:, d_out:],
        )
        own = l0(chunk.codes, drawn)
        negative = torch.zeros(len(chunk.x), device=x.device, dtype=torch.float64)
        negative.index_add_(0, chunk.codes.row_ids(), (chunk.codes.values < 0).to(negative))
        squares = [vector.square().sum(dim=1) for vector in vectors]
        counts = [*as_double(own, codes.l0()), negative[drawn]]
        columns = [torch.ones_like(negative[drawn]), *squares, *counts]
        self.sums.add(unit, torch.stack(columns, dim=1))

    def merge(self, other: PursuitSumsCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums
