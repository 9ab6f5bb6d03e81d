"""One pass over training rows for the fits, one over held-out rows for what they miss.

Norms of K members stand side by side as columns [n, 2 K]: |e|^p of each member in the family's order,
then |N|^p of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, GramFactor, UnitSums
from darkmatter_plugins.evaluators.families import Errors
from darkmatter_plugins.evaluators.footing import ROUNDING, VARIANCE_FLOOR


def norms(errors: Errors, chunk: api.Chunk) -> Tensor:
    """|e|, |L| and |N| of every member [3, n, K], float64."""
    rows = [torch.stack([part.norm(dim=1) for part in parts]) for parts in errors.parts(chunk)]
    return torch.stack(rows, dim=2)


def regressors(lengths: Tensor, power: int) -> Tensor:
    """The columns [n, 2 K] that are predicted, and predicted from."""
    return torch.cat([lengths[0], lengths[2]], dim=1) ** power


@dataclass(frozen=True, eq=False)
class NormMoments:
    """Training moments of all members' norms: (2 K)² sums, whatever the number of rows."""

    errors: Errors
    power: int

    def start(self, info: api.PassInfo) -> NormMomentsCollector:  # noqa: ARG002 - the protocol's
        """A fresh collector."""
        return NormMomentsCollector(self, Gram.zero(2 * len(self.errors.maps)))


@dataclass
class NormMomentsCollector:
    """Collects ``NormMoments``."""

    spec: NormMoments
    gram: Gram

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in training rows."""
        self.gram.merge(Gram.of(regressors(norms(self.spec.errors, chunk), self.spec.power)))

    def merge(self, other: NormMomentsCollector) -> None:
        """Take in the next shard."""
        self.gram.merge(other.gram)

    def finish(self) -> Gram:
        """The moments."""
        return self.gram


@dataclass(frozen=True)
class RoundOff:
    """What variance of |v|^p is none; ``variance`` and ``square`` are those of the activations, per row."""

    variance: float
    square: float
    power: int

    @classmethod
    def of(cls, ctx: api.EvalContext, power: int) -> RoundOff:
        """For the activations of a run."""
        inputs = ctx.info.inputs
        variance = inputs.total_variance / ctx.n_test
        return cls(variance, variance + float(inputs.mean_target.square().sum()), power)

    def at(self, mean: float) -> float:
        """The largest variance of y = |v|^p, of this mean, that is round-off."""
        # d|v|^p = p |v|^(p-1) d|v|, and d|v|² is what float32 leaves of |x|².
        rounding = ROUNDING * self.square * (1.0 if self.power == 1 else 4 * mean)
        return max((VARIANCE_FLOOR * self.variance) ** self.power, rounding)


@dataclass(frozen=True)
class Question:
    """Predict the column ``target`` from the columns ``given`` and a constant; ``name`` is its own."""

    name: str
    given: tuple[int, ...]
    target: int


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers to F questions as one map: columns [n, 2 K] @ weight [2 K, F] + intercept [F]."""

    questions: tuple[Question, ...]
    weight: Tensor
    intercept: Tensor

    @classmethod
    def fit(cls, gram: Gram, questions: tuple[Question, ...], round_off: RoundOff) -> Predictions:
        """Least squares with intercept for every question, from blocks of one Gram matrix.

        A column that varies by round-off alone predicts nothing and is left out: scaled to unit
        variance, its noise would be one more regressor.
        """
        varies = [
            float(total) > gram.n * round_off.at(float(mean))
            for total, mean in zip(gram.cxx.diagonal(), gram.mean, strict=True)
        ]
        weight = torch.zeros(len(gram.mean), len(questions), dtype=torch.float64)
        intercept = torch.zeros(len(questions), dtype=torch.float64)
        for column, question in enumerate(questions):
            given, target = [each for each in question.given if varies[each]], [question.target]
            intercept[column] = gram.mean[question.target]
            if given:
                own = Gram(gram.n, gram.mean[given], gram.cxx[given][:, given])
                total = gram.cxx.diagonal()[target]
                cross = CrossMoments(gram.n, own.mean, gram.mean[target], gram.cxx[given][:, target], total)
                solved = GramFactor.of(own).solve(cross)
                weight[given, column], intercept[column] = solved.weight[:, 0], solved.intercept[0]
        return cls(questions, weight, intercept)

    def __call__(self, columns: Tensor) -> Tensor:
        """Predictions [n, F]."""
        return torch.addmm(self.intercept.to(columns.device), columns, self.weight.to(columns.device))

    def residual(self, columns: Tensor) -> Tensor:
        """What was to be predicted, less the prediction [n, F]."""
        return columns[:, [question.target for question in self.questions]] - self(columns)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Per unit: rows, Σ y and Σ y² of each member's y = |e|^p, and each question's Σ residual²."""

    errors: Errors
    power: int
    predictions: Predictions

    def start(self, info: api.PassInfo) -> HeldOutCollector:  # noqa: ARG002 - the protocol's
        """A fresh collector."""
        names = [f"{what}[{name}]" for what in ("norm_sum", "norm_sq") for name in self.errors.maps]
        names += [residual_column(question.name) for question in self.predictions.questions]
        return HeldOutCollector(self, UnitSums(("rows", *names)))


def residual_column(question: str) -> str:
    """The column of a question's squared residuals."""
    return f"{question}:residual_sq"


@dataclass
class HeldOutCollector:
    """Collects ``HeldOut``."""

    spec: HeldOut
    sums: UnitSums

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in held-out rows."""
        columns = regressors(norms(self.spec.errors, chunk), self.spec.power)
        y = columns[:, : columns.shape[1] // 2]
        residual = self.spec.predictions.residual(columns)
        self.sums.add(chunk.unit, torch.cat([torch.ones_like(y[:, :1]), y, y**2, residual**2], dim=1))

    def merge(self, other: HeldOutCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums


@dataclass(frozen=True, eq=False)
class FirstTokens:
    """The norms of the first ``count`` held-out rows, and the mean norms of all of them."""

    errors: Errors
    count: int

    def start(self, info: api.PassInfo) -> FirstTokensCollector:  # noqa: ARG002 - the protocol's
        """A fresh collector."""
        wide, k = torch.float64, len(self.errors.maps)
        position = torch.zeros(0, dtype=torch.int64)
        return FirstTokensCollector(
            self, position, torch.zeros(3, 0, k, dtype=wide), torch.zeros(3, k, dtype=wide)
        )


@dataclass
class FirstTokensCollector:
    """``position`` [t], ``lengths`` [3, t, K] of |e|, |L|, |N|; ``total`` [3, K] over ``n`` rows."""

    spec: FirstTokens
    position: Tensor
    lengths: Tensor
    total: Tensor
    n: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in held-out rows."""
        lengths = norms(self.spec.errors, chunk).cpu()
        self._keep(chunk.position.cpu(), lengths)
        self.total += lengths.sum(dim=1)
        self.n += lengths.shape[1]

    def merge(self, other: FirstTokensCollector) -> None:
        """Take in the next shard."""
        self._keep(other.position, other.lengths)
        self.total += other.total
        self.n += other.n

    def finish(self) -> FirstTokensCollector:
        """Itself."""
        return self

    def _keep(self, position: Tensor, lengths: Tensor) -> None:
        room = self.spec.count - len(self.position)
        if room > 0:
            self.position = torch.cat([self.position, position[:room]])
            self.lengths = torch.cat([self.lengths, lengths[:, :room]], dim=1)

    @property
    def means(self) -> Tensor:
        """Mean |e|, |L|, |N| of each member [3, K]."""
        return self.total / max(self.n, 1)
