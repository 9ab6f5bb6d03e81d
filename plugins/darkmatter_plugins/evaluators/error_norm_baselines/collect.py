"""The two passes: sums that everything is fitted from, then residuals on the held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, GramFactor, LinearMap, UnitSums
from darkmatter_plugins.evaluators.error_norm_baselines.groups import GroupSums

SCALARS = ("loss", "l0", "norm", "norm_squared", "position")
GROUPS = ("token", "position_means")


def error_norm(chunk: api.Chunk, power: int) -> Tensor:
    """|e|^power [n], float64."""
    square = chunk.error.square().sum(dim=1)
    return square if power == 2 else square.sqrt()


def scalars(chunk: api.Chunk) -> Tensor:
    """``SCALARS`` of every row [n, 5], float64; a loss that is not there is 0."""
    square = chunk.x.to(torch.float64).square().sum(dim=1)
    loss = torch.zeros_like(square) if chunk.loss is None else chunk.loss.to(square)
    l0 = chunk.codes.offsets.diff().to(square)
    return torch.stack(
        [loss.nan_to_num(0, 0, 0), l0, square.sqrt(), square, chunk.position.to(square)], dim=1
    )


def groups(chunk: api.Chunk) -> dict[str, Tensor]:
    """The ids of ``GROUPS``, as far as they are there."""
    ids = {"token": chunk.tokens, "position_means": chunk.position}
    return {name: values for name, values in ids.items() if values is not None}


@dataclass(frozen=True)
class NormSums:
    """Everything that the predictions of y = |e|^power are fitted from, on the shared pass."""

    power: int

    def start(self, info: api.PassInfo) -> NormSumsCollector:
        """A fresh collector."""
        return NormSumsCollector(self.power, CrossMoments.zero(info.d_in, 1))


@dataclass
class NormSumsCollector:
    """Training moments of y with x and with the scalars, y per group, and the moments of held-out y.

    ``scalars`` is the Gram of ``SCALARS`` and y; of ``with_loss`` rows the cache has a loss, of ``lost``
    among them it is no number.
    """

    power: int
    activations: CrossMoments
    scalars: Gram = field(default_factory=lambda: Gram.zero(len(SCALARS) + 1))
    train: dict[str, GroupSums] = field(default_factory=lambda: {name: GroupSums.empty() for name in GROUPS})
    test_tokens: GroupSums = field(default_factory=GroupSums.empty)
    test: Gram = field(default_factory=lambda: Gram.zero(1))
    lost: int = 0
    with_loss: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows of either side."""
        y = error_norm(chunk, self.power)
        if chunk.loss is not None:
            self.with_loss += len(y)
            self.lost += int((~torch.isfinite(chunk.loss)).sum())
        if rows == "test":
            self.test.merge(Gram.of(y[:, None]))
            if chunk.tokens is not None:
                self.test_tokens.add(chunk.tokens, y)
            return
        self.activations.merge(CrossMoments.of(chunk.x_centred, y[:, None]))
        self.scalars.merge(Gram.of(torch.cat([scalars(chunk), y[:, None]], dim=1)))
        for name, ids in groups(chunk).items():
            self.train[name].add(ids, y)

    def merge(self, other: NormSumsCollector) -> None:
        """Take in the next shard."""
        self.activations.merge(other.activations)
        self.scalars.merge(other.scalars)
        self.test.merge(other.test)
        self.test_tokens.merge(other.test_tokens)
        for name, sums in other.train.items():
            self.train[name].merge(sums)
        self.lost += other.lost
        self.with_loss += other.with_loss

    def finish(self) -> NormSumsCollector:
        """Itself."""
        return self

    @property
    def mean(self) -> float:
        """Training mean of y."""
        return float(self.scalars.mean[-1])

    def scalar_map(self, name: str) -> LinearMap:
        """The least-squares line through y over one scalar; flat where the scalar does not vary."""
        one = slice(SCALARS.index(name), SCALARS.index(name) + 1)
        n, mean, products = self.scalars.n, self.scalars.mean, self.scalars.cxx
        cross = CrossMoments(n, mean[one], mean[-1:], products[one, -1:], products[-1:, -1])
        return GramFactor.of(Gram(n, mean[one], products[one, one])).solve(cross)


@dataclass(frozen=True, eq=False)
class NormResiduals:
    """Sums per unit of squared residuals of y under fitted predictions, and of (y - ȳ)²."""

    power: int
    mean: float
    activations: LinearMap
    lines: Mapping[str, LinearMap]
    tables: Mapping[str, GroupSums]
    shrinkage: Mapping[str, float]
    train_mean: float

    @property
    def names(self) -> tuple[str, ...]:
        """The columns: one per prediction, the variance last."""
        return ("activations", *self.lines, *self.tables, "variance")

    def start(self, info: api.PassInfo) -> NormResidualsCollector:
        """A fresh collector."""
        del info
        return NormResidualsCollector(self, UnitSums(self.names))

    def residuals(self, chunk: api.Chunk) -> Tensor:
        """Squared deviations of y from every prediction and from its mean [n, len(names)]."""
        y, values, ids = error_norm(chunk, self.power), scalars(chunk), groups(chunk)
        predicted = [self.activations(chunk.x)[:, 0]]
        for name, line in self.lines.items():
            column = SCALARS.index(name)
            predicted.append(line(values[:, column : column + 1])[:, 0])
        for name, table in self.tables.items():
            predicted.append(table.predicted(ids[name], self.train_mean, self.shrinkage[name]).to(y))
        predicted.append(torch.full_like(y, self.mean))
        return (y[:, None] - torch.stack(predicted, dim=1)).square()


@dataclass
class NormResidualsCollector:
    """Collects ``NormResiduals``."""

    spec: NormResiduals
    sums: UnitSums

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in held-out rows."""
        self.sums.add(chunk.unit, self.spec.residuals(chunk))

    def merge(self, other: NormResidualsCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums
