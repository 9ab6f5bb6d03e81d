"""Sums behind the members' FVU and the baselines' curves, all on the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import UnitSums
from darkmatter_plugins.evaluators.fvu_l0_curve.dictionaries import Baseline


@dataclass(frozen=True, eq=False)
class CurveSums:
    """Per unit: Σ|x - x̄|², Σ|x|², Σ|e|² of every member, Σ|e|² of every baseline at each k of its grid."""

    subject: str
    members: tuple[str, ...]
    baselines: Mapping[str, Baseline]

    def start(self, info: api.PassInfo) -> CurveCollector:
        """A fresh collector."""
        names = ["variance", "target_sq", *(f"error_sq[{name}]" for name in self.members)]
        names += [f"{name}/{k}" for name, curve in self.baselines.items() for k in curve.k.tolist()]
        active = {
            name: torch.zeros(len(curve.k), dtype=torch.float64) for name, curve in self.baselines.items()
        }
        return CurveCollector(self, info, UnitSums(tuple(names)), active)


@dataclass
class CurveCollector:
    """Collects ``CurveSums``; ``active`` [G] are sums over rows of the baselines' active codes."""

    spec: CurveSums
    info: api.PassInfo
    sums: UnitSums
    active: dict[str, Tensor]
    n: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in held-out rows."""
        x = chunk.target.to(torch.float64)
        squares = [(x - self.info.inputs.mean_target.to(x)).square().sum(dim=1), x.square().sum(dim=1)]
        for name in self.spec.members:
            seen = chunk if name == self.spec.subject else chunk.beside[name]
            squares.append(seen.error.square().sum(dim=1))
        columns = [torch.stack(squares, dim=1)]
        for name, curve in self.spec.baselines.items():
            missed, active = curve.missed(x - self.info.inputs.train.mean.to(x), curve.k)
            columns.append(missed)
            self.active[name] += active.sum(dim=0).cpu()
        self.sums.add(chunk.unit, torch.cat(columns, dim=1))
        self.n += len(x)

    def merge(self, other: CurveCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)
        for name, active in other.active.items():
            self.active[name] += active
        self.n += other.n

    def finish(self) -> CurveCollector:
        """Itself."""
        return self
