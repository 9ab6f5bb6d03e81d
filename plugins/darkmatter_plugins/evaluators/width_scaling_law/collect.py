"""Sums per unit behind FVU and FVU_nonlinear of every member."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from darkmatter import api
from darkmatter.stats import UnitSums
from darkmatter_plugins.evaluators.families import Errors


def error_column(name: str) -> str:
    """Σ|e|² of a member."""
    return f"error_sq[{name}]"


def nonlinear_column(name: str) -> str:
    """Σ|N|² of a member."""
    return f"nonlinear_sq[{name}]"


@dataclass(frozen=True, eq=False)
class FamilySums:
    """Per unit of held-out rows: Σ|y - ȳ|² and Σ|y|² of the target, Σ|e|² and Σ|N|² of every member."""

    errors: Errors

    def start(self, info: api.PassInfo) -> FamilySumsCollector:
        """A fresh collector."""
        names = ["variance", "target_sq"]
        for name in self.errors.maps:
            names += [error_column(name), nonlinear_column(name)]
        return FamilySumsCollector(self, info, UnitSums(tuple(names)))


@dataclass
class FamilySumsCollector:
    """Collects ``FamilySums``."""

    spec: FamilySums
    info: api.PassInfo
    sums: UnitSums

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in held-out rows."""
        target = chunk.target.to(torch.float64)
        vectors = [target - self.info.inputs.mean_target.to(target.device), target]
        for error, _, nonlinear in self.spec.errors.parts(chunk):
            vectors += [error, nonlinear]
        squares = [vector.square().sum(dim=1) for vector in vectors]
        self.sums.add(chunk.unit, torch.stack(squares, dim=1))

    def merge(self, other: FamilySumsCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums
