"""The numbers that the paper's own scripts would print on the same rows.

They fit no intercept; R² of the error is the unweighted mean over dimensions on held-out rows, with
the held-out mean in the denominator; FVU_nonlinear is taken over training and held-out rows
together, about their common mean. They predict squared norms without intercept, those of e and of
Sae(x) + N = y - L among them; that their violin adds 1 to every squared norm (a bias that ended up in
the target) is not copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, LinearMap
from darkmatter_plugins.evaluators.error_decomposition.collect import norms

WHY = "the authors' convention, for comparison"


def author_norms(chunk: api.Chunk, linear: LinearMap) -> Tensor:
    """|e|² and |Sae(x) + N|² [n, 2] under the map without intercept."""
    return norms((chunk.error, chunk.target.to(torch.float64) - linear(chunk.x)), 2)


@dataclass(frozen=True, eq=False)
class AuthorsNorms:
    """Training moments between x and ``author_norms``."""

    linear: LinearMap

    def start(self, info: api.PassInfo) -> AuthorsNormsCollector:
        """A fresh collector."""
        return AuthorsNormsCollector(self.linear, CrossMoments.zero(info.d_in, 2))


@dataclass
class AuthorsNormsCollector:
    """Collects ``AuthorsNorms``."""

    linear: LinearMap
    moments: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in training rows."""
        if rows == "train":
            self.moments.merge(CrossMoments.of(chunk.x_centred, author_norms(chunk, self.linear)))

    def merge(self, other: AuthorsNormsCollector) -> None:
        """Take in the next shard."""
        self.moments.merge(other.moments)

    def finish(self) -> CrossMoments:
        """The moments."""
        return self.moments


@dataclass(frozen=True, eq=False)
class AuthorsSums:
    """Totals over one side's rows under the maps without intercept."""

    linear: LinearMap
    norm: LinearMap
    mean_error: Tensor

    def start(self, info: api.PassInfo) -> AuthorsCollector:
        """A fresh collector."""
        zeros = torch.zeros(info.d_out, dtype=torch.float64)
        return AuthorsCollector(self, zeros, zeros.clone())


@dataclass
class AuthorsCollector:
    """Sums per dimension of N² and (e - ē)²; norm sums (residual², Σ y, Σ y²) of ``author_norms``."""

    spec: AuthorsSums
    residual: Tensor
    total: Tensor
    norm: Tensor = field(default_factory=lambda: torch.zeros(3, 2, dtype=torch.float64))
    n: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        spec, error = self.spec, chunk.error
        self.residual += (error - spec.linear(chunk.x)).square().sum(dim=0).cpu()
        self.total += (error - spec.mean_error.to(error.device)).square().sum(dim=0).cpu()
        length = author_norms(chunk, spec.linear)
        missed = (length - spec.norm(chunk.x)).square().sum(dim=0)
        self.norm += torch.stack([missed, length.sum(dim=0), length.square().sum(dim=0)]).cpu()
        self.n += len(error)

    def merge(self, other: AuthorsCollector) -> None:
        """Take in the next shard."""
        self.residual += other.residual
        self.total += other.total
        self.norm += other.norm
        self.n += other.n

    def finish(self) -> AuthorsCollector:
        """Itself."""
        return self


def authors_sums(ctx: api.EvalContext, moments: CrossMoments, norm_moments: CrossMoments) -> AuthorsSums:
    """The maps without intercept, from the training moments of e and of ``author_norms``."""
    linear = api.fit_error_map(ctx.info, moments, bias=False)
    norm = api.fit_error_map(ctx.info, norm_moments, bias=False)
    return AuthorsSums(linear, norm, ctx.collected(api.MeanError()))


def authors_metrics(
    out: api.EvalOutput,
    ctx: api.EvalContext,
    test: AuthorsCollector,
    train: AuthorsCollector,
    *,
    floor: float,
) -> None:
    """Add ``authors.*`` to the output, from the sums over either side; variance below ``floor`` is none."""
    inputs = ctx.info.inputs
    total_variance = inputs.total_variance
    varies = test.total > max(1e-10 * total_variance, floor) / max(len(test.total), 1)
    _plain(
        out, "authors.error_r2", float((1 - test.residual[varies] / test.total[varies]).mean()), varies.any()
    )
    between = (inputs.train_target.mean_y - inputs.mean_target).square().sum()
    everything = (
        float(inputs.train_target.syy.sum())
        + total_variance
        + float(between) * ctx.n_train * ctx.n_test / (ctx.n_train + ctx.n_test)
    )
    missed = float(test.residual.sum() + train.residual.sum())
    _plain(
        out, "authors.fvu_nonlinear", missed / everything if everything > floor else 0.0, everything > floor
    )
    for column, name in enumerate(("authors.error_norm_r2", "authors.norm_r2.sae_plus_nonlinear")):
        residual, total, squares = test.norm[:, column].tolist()
        variance = squares - total**2 / test.n
        least = max(1e-20 * (total_variance / test.n) ** 2 * test.n, 1e-12 * total**2 / test.n)
        value = 1 - residual / variance if variance > least else 0.0
        _plain(out, name, value, variance > least)


def _plain(out: api.EvalOutput, name: str, value: float, defined: object) -> None:
    if bool(defined):
        out.plain(name, value, why_no_interval=WHY)
    else:
        out.undefined(name, "nothing varies that could be predicted")
