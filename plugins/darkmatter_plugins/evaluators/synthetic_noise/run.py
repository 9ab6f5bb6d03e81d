"""Plant two noises whose sizes are known, and see which part of the error each one moves.

The SAE's own reconstructions x0 = Sae(x) [n, d] are taken as the true activations. With standard
normal a, r [n, d] and levels s_a, s_r,

    x' = x0 + s_a a              activations with something that no latent stands for
    x̂' = decode(codes of x0) + s_r r      a reconstruction with noise of its own
    e  = x' - x̂',   b*, c fitted to (x', e) on training rows

    linear    = (Σ|e|² - Σ|e - b*x' - c|²) / Σ|x' - x̄'|²    over held-out rows
    nonlinear = Σ|e - b*x' - c|² / Σ|x' - x̄'|²

and ``corr.NOISE.PART`` is Pearson's correlation of a level with a part over all pairs of levels. If the
paper's reading is right, activation noise moves the linear part and reconstruction noise the nonlinear
one. By how much depends on noise over signal: for a signal of variance s² in every direction and an
exact SAE, with V = s² + s_a²,

    linear = (s_a² / V)²,   nonlinear = (s_r² + s_a² s² / V) / V        (``expected.*``)

So levels are standard deviations in units of the signal's own, s² = mean over dimensions of the variance
of x0 on training rows (``signal_std``); ``relative: false`` takes them as they are. The encoder reads x0,
not x', as in the authors' script.

Tables: ``levels`` (relative and absolute), ``linear``, ``nonlinear`` and their ``expected_*`` (a row for
each s_a, a column for each s_r; null where undefined), ``rows``. Curves: ``linear[A,R]`` and
``nonlinear[A,R]`` for each of ``pairs``: FVU over the percentage of latents ablated, those of smallest
mean activation on training rows first.

``authors.corr.*``: levels 0 to 4 as absolute standard deviations (the script calls them "Var"), no
intercept, fitted and evaluated on all rows, one scalar mean in FVU's denominator. There are no
intervals: the points of a grid are no sample of anything.

Source: Engels, Riggs, Tegmark, "Decomposing the Dark Matter of Sparse Autoencoders", synthetic experiment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.footing import OF_NONLINEAR, ROUNDING, few_rows
from darkmatter_plugins.evaluators.rows import RowBudget
from darkmatter_plugins.evaluators.synthetic_noise.collect import (
    NoiseMoments,
    NoiseMomentsCollector,
    SignalCodes,
)
from darkmatter_plugins.evaluators.synthetic_noise.descriptor import (
    GRID,
    SYNTHETIC_NOISE,
    SyntheticNoiseConfig,
)
from darkmatter_plugins.evaluators.synthetic_noise.grid import (
    Estimate,
    Side,
    correlations,
    estimate,
    expected,
)

WHY = "the points of the noise grid are no sample"
TRANSCODER = "a transcoder's output is no input of its own, so it cannot be taken as the signal"
CONSTANT = "the SAE's reconstructions do not vary, so there is no signal"
FLAT = "it does not vary over the noise grid"
NO_ROWS = "no row was drawn on one side of the split: raise max_rows"


class SyntheticNoise:
    """The evaluator `synthetic_noise`."""

    def __init__(self, config: SyntheticNoiseConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Nothing: the signal is what the SAE reconstructs."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        if _is_transcoder(ctx):
            return _nothing(out, TRANSCODER)
        budget = RowBudget.of(ctx, self.config.max_rows)
        train, test = _moments(ctx, budget, self.config.ablated)
        if not (train.parts.n and test.parts.n):
            return _nothing(out, NO_ROWS)
        signal = _signal_std(train)
        if not signal > 0:
            return _nothing(out, CONSTANT)
        out.on_rows(test.parts.n)
        out.tables["rows"] = budget.record(train.parts.n, test.parts.n)
        unit = signal if self.config.relative else 1.0
        self._grid(out, train, test, unit, signal)
        self._ablations(out, train, test, unit)
        if self.config.authors:
            every: NoiseMomentsCollector = train.spec.start(ctx.info)
            every.merge(train)
            every.merge(test)
            _authors(out, every)
        out.plain("signal_std", signal, why_no_interval="a description of the training rows")
        out.notes += few_rows(train.parts.n, ctx.info.d_in, OF_NONLINEAR)
        clean = Side.at(test, 0.0, 0.0, ablation=0)
        out.plain("own_output_fvu", clean.error_sq() / clean.variance(scalar=False), why_no_interval=WHY)
        return out

    def _grid(
        self,
        out: api.EvalOutput,
        train: NoiseMomentsCollector,
        test: NoiseMomentsCollector,
        unit: float,
        signal: float,
    ) -> None:
        """Both parts at all pairs of levels, beside what is expected of them."""
        levels = self.config.levels
        points = [(a * unit, r * unit) for a, r in product(levels, levels)]
        seen = [_held_out(train, test, point, 0) for point in points]
        foreseen = [expected(*point, signal) for point in points]
        _correlations(out, "corr", points, seen)
        _correlations(out, "expected", points, foreseen)
        out.tables["levels"] = {
            "relative": [level * unit / signal for level in levels],
            "absolute": [level * unit for level in levels],
        }
        for prefix, found in (("", seen), ("expected_", foreseen)):
            for i, name in enumerate(Estimate._fields):
                out.tables[prefix + name] = _square([each[i] for each in found], len(levels))

    def _ablations(
        self, out: api.EvalOutput, train: NoiseMomentsCollector, test: NoiseMomentsCollector, unit: float
    ) -> None:
        """Both parts as more and more latents are missing."""
        shares = self.config.ablated
        for a, r in self.config.pairs:
            found = [_held_out(train, test, (a * unit, r * unit), i) for i in range(len(shares))]
            for i, name in enumerate(Estimate._fields):
                out.curves[f"{name}[{a:g},{r:g}]"] = {
                    "x": [100 * share for share in shares],
                    "y": [_or_null(each[i]) for each in found],
                    "x_label": "latents ablated (%)",
                    "y_label": f"{name} part of FVU",
                }


def _is_transcoder(ctx: api.EvalContext) -> bool:
    """Whether what it should give is something else than what it reads."""
    if ctx.info.d_in != ctx.info.d_out:
        return True
    first = next(ctx.chunks("test"), None)
    return first is not None and not torch.equal(first.target, first.x)


def _moments(
    ctx: api.EvalContext, budget: RowBudget, shares: Sequence[float]
) -> tuple[NoiseMomentsCollector, NoiseMomentsCollector]:
    """Those of the training and of the held-out rows; latents are ranked on training rows."""
    total: Tensor
    (total,) = ctx.collect([SignalCodes(ctx.sae, budget)], "train")
    place = total.argsort(stable=True).argsort()
    kept = torch.stack([place >= int(share * len(total)) for share in shares])
    spec = NoiseMoments(ctx.sae, budget, kept)
    (train,) = ctx.collect([spec], "train")
    (test,) = ctx.collect([spec], "test")
    return train, test


def _signal_std(train: NoiseMomentsCollector) -> float:
    """Root of the mean over dimensions of the signal's variance; 0 where that is round-off."""
    d, n = len(train.parts.mean) // 3, train.parts.n
    variance = float(train.parts.cxx.diagonal()[:d].sum())
    square = variance + n * float(train.parts.mean[:d].square().sum())
    return math.sqrt(variance / (n * d)) if variance > ROUNDING * square else 0.0


def _held_out(
    train: NoiseMomentsCollector, test: NoiseMomentsCollector, point: tuple[float, float], ablation: int
) -> Estimate:
    sides = (Side.at(side, *point, ablation) for side in (train, test))
    return estimate(*sides, bias=True, scalar=False)


def _authors(out: api.EvalOutput, every: NoiseMomentsCollector) -> None:
    """The matrix of Table 1 by the authors' conventions, from the moments of all rows."""
    points = list(product(GRID, GRID))
    sides = [Side.at(every, *point, ablation=0) for point in points]
    _correlations(
        out, "authors.corr", points, [estimate(side, side, bias=False, scalar=True) for side in sides]
    )


def _correlations(
    out: api.EvalOutput, prefix: str, points: Sequence[tuple[float, float]], parts: Sequence[Estimate]
) -> None:
    for name, value in correlations(points, parts).items():
        if math.isnan(value):
            out.undefined(f"{prefix}.{name}", FLAT)
        else:
            out.plain(f"{prefix}.{name}", value, why_no_interval=WHY)


def _nothing(out: api.EvalOutput, reason: str) -> api.EvalOutput:
    for metric in SYNTHETIC_NOISE.metrics:
        out.undefined(metric.name, reason)
    return out


def _square(values: Sequence[float], size: int) -> list[list[float | None]]:
    """Values of the grid as rows."""
    return [[_or_null(value) for value in values[i : i + size]] for i in range(0, len(values), size)]


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
