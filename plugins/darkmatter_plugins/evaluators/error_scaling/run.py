"""Predict the error norm of wider SAEs from that of narrower ones, on the same tokens.

With e_i the error of member i, N_i = e_i - b*_i x - c_i its nonlinear part (b* fitted on training
rows), and p = ``norm_power`` (1 as in the paper, or 2):

    r2[i→j]   = 1 - Σ(|e_j|^p - α - β|e_i|^p)² / Σ(|e_j|^p - mean|e_j|^p)²
    r2_gain_nonlinear[i→j] = 100 (R²' - R²) / (1 - R²) = 100 (1 - RSS' / RSS),
                R²' and RSS' with [1, |e_i|^p, |N_i|^p] as regressors
    r2.next   = the same R² for the widest member, from [1, |e_i|^p of all narrower members i]

Coefficients are fitted on training rows, sums run over held-out rows (y [n], one number a token).
Members are ordered by width, then L0, then name, and i stands before j. ``.mean`` is over pairs of
different width; of several widest members ``.next`` speaks of the last in this order. R² is unit-free,
at most 1, and negative where the fit is worse than the mean; the gain is in percent, and undefined
where R² is 1 to rounding, or where no more training rows than b* has coefficients leave |N| = 0 on all
of them. Controls are no members.

Tables: ``members`` (name, width, l0, and mean |e|, |L|, |N| on held-out rows), ``r2`` and
``r2_gain_nonlinear`` (heat-maps: values[i][j], rows are the predictor, with names, widths, l0s; null
below the diagonal), ``next`` (for every member with narrower ones: predicted, from, r2,
r2_gain_nonlinear). Curves: ``error_norm[NAME]``, ``linear_norm[NAME]``, ``nonlinear_norm[NAME]`` of
the first held-out tokens (``position`` within the context tells where one begins), and
``predicted_error_norm[NAME]`` of the widest member.

Source: Engels, Smith, Tegmark, per-token scaling experiment; here with an intercept in b*, held-out
rows only, and a split by context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from darkmatter import api
from darkmatter.stats import Gram, MeanOfRatios, UnitSums
from darkmatter_plugins.evaluators.error_scaling.collect import (
    FirstTokens,
    FirstTokensCollector,
    HeldOut,
    NormMoments,
    Predictions,
    Question,
    RoundOff,
    regressors,
    residual_column,
)
from darkmatter_plugins.evaluators.error_scaling.descriptor import ErrorScalingConfig
from darkmatter_plugins.evaluators.families import Errors, beside, by_width
from darkmatter_plugins.evaluators.footing import OF_NONLINEAR, few_rows

PARTS = ("error", "linear", "nonlinear")

ONE_WIDTH = "all members have the same width"


class ErrorScaling:
    """The evaluator `error_scaling`."""

    def __init__(self, config: ErrorScalingConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Everything needs b* of all members first."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        members, power = by_width(ctx.family), self.config.norm_power
        pairs = Pairs([each.name for each in members], [each.sae.d_sae for each in members])
        errors, others = Errors.of(ctx, members), beside(ctx, members)
        gram: Gram
        (gram,) = ctx.collect([NormMoments(errors, power)], "train", others)
        round_off = RoundOff.of(ctx, power)
        predictions = Predictions.fit(gram, pairs.questions(), round_off)
        sums: UnitSums
        first: FirstTokensCollector
        sums, first = ctx.collect(
            [HeldOut(errors, power, predictions), FirstTokens(errors, self.config.tokens)], "test", others
        )
        out.add_columns(sums.columns(ctx.info.n_units))
        _add_gain_columns(out, pairs)
        answers = Answers(out, _floors(out, pairs.names, round_off), _why_no_gain(ctx))
        for i, j in pairs.ordered:
            answers.give(pairs.name(i, j), pairs.names[j])
        answers.mean([pairs.name(i, j) for i, j in pairs.of_different_width])
        self._next(answers, pairs)
        l0s = [each.l0 for each in members]
        _add_tables(out, pairs, l0s, first)
        _add_curves(out, pairs, first, predictions, power)
        out.notes += few_rows(ctx.n_train, ctx.info.d_in, OF_NONLINEAR)
        return out

    @staticmethod
    def _next(answers: Answers, pairs: Pairs) -> None:
        """The prediction for the widest member as metrics, those for the others in the table."""
        found = [(j, *answers.values(pairs.next_name(j), pairs.names[j])) for j in pairs.with_narrower]
        answers.out.tables["next"] = {
            "predicted": [pairs.names[j] for j, _, _ in found],
            "from": [[pairs.names[i] for i in pairs.narrower(j)] for j, _, _ in found],
            "r2": [r2 for _, r2, _ in found],
            "r2_gain_nonlinear": [gain for _, _, gain in found],
        }
        if not found:
            answers.out.undefined("r2.next", ONE_WIDTH)
            answers.out.undefined("r2_gain_nonlinear.next", ONE_WIDTH)
            return
        widest = pairs.with_narrower[-1]
        answers.give(pairs.next_name(widest), pairs.names[widest], shown=".next")


@dataclass(frozen=True)
class Pairs:
    """Which member is predicted from which; members are numbered from narrow to wide."""

    names: list[str]
    widths: list[int]

    @property
    def ordered(self) -> list[tuple[int, int]]:
        """All pairs (predictor, predicted)."""
        return list(combinations(range(len(self.names)), 2))

    @property
    def of_different_width(self) -> list[tuple[int, int]]:
        """Pairs in which the predicted member is wider."""
        return [(i, j) for i, j in self.ordered if self.widths[i] < self.widths[j]]

    def narrower(self, j: int) -> list[int]:
        """Members of smaller width than member j."""
        return [i for i in range(j) if self.widths[i] < self.widths[j]]

    @property
    def with_narrower(self) -> list[int]:
        """Members that have narrower ones."""
        return [j for j in range(len(self.names)) if self.narrower(j)]

    def name(self, i: int, j: int) -> str:
        """A pair as metrics name it."""
        return f"[{self.names[i]}→{self.names[j]}]"

    def next_name(self, j: int) -> str:
        """The prediction of member j from all narrower ones."""
        return f"[narrower→{self.names[j]}]"

    @property
    def asked(self) -> dict[str, tuple[list[int], int]]:
        """All that is predicted, by name: (predictors, predicted)."""
        found = {self.name(i, j): ([i], j) for i, j in self.ordered}
        return found | {self.next_name(j): (self.narrower(j), j) for j in self.with_narrower}

    def questions(self) -> tuple[Question, ...]:
        """Every prediction without |N| ("r2[…]") and with it ("r2_nonlinear[…]")."""
        k = len(self.names)
        return tuple(
            question
            for name, (given, j) in self.asked.items()
            for question in (
                Question(f"r2{name}", tuple(given), j),
                Question(f"r2_nonlinear{name}", (*given, *(k + i for i in given)), j),
            )
        )


def _floors(out: api.EvalOutput, names: list[str], round_off: RoundOff) -> dict[str, float]:
    """Σ(y - ȳ)² at or below which y = |e|^p of a member does not vary; makes the variance columns."""
    rows, floors = out.columns["rows"], {}
    n = float(rows.sum())
    for name in names:
        total, squares = out.columns.pop(f"norm_sum[{name}]"), out.columns.pop(f"norm_sq[{name}]")
        mean = float(total.sum()) / n
        out.columns[_variance_column(name)] = squares - 2 * mean * total + mean**2 * rows
        floors[name] = n * round_off.at(mean)
    return floors


def _variance_column(name: str) -> str:
    return f"norm_variance[{name}]"


@dataclass(frozen=True)
class Answers:
    """Turns residual sums into R² and gains; ``floors`` by member say what is round-off."""

    out: api.EvalOutput
    floors: dict[str, float]
    why_no_gain: str | None

    def values(self, question: str, target: str) -> tuple[float | None, float | None]:
        """R² and gain of a question about a member, None where undefined."""
        columns, floor = self.out.columns, self.floors[target]
        variance = float(columns[_variance_column(target)].sum())
        missed = float(columns[residual_column(f"r2{question}")].sum())
        gained = float(columns[_gain_column(question)].sum())
        r2 = 1 - missed / variance if variance > floor else None
        has_gain = r2 is not None and missed > floor and self.why_no_gain is None
        return r2, gained / missed if has_gain else None

    def give(self, question: str, target: str, shown: str | None = None) -> None:
        """The metrics of a question about a member, under the question's name or as ``shown``."""
        shown = question if shown is None else shown
        r2, _ = self.values(question, target)
        floor, missed = self.floors[target], residual_column(f"r2{question}")
        constant = f"the error norm of {target} does not vary (round-off at most)"
        self.out.ratio(
            f"r2{shown}", missed, _variance_column(target), complement=True, floor=floor, undefined=constant
        )
        name = f"r2_gain_nonlinear{shown}"
        if r2 is None or self.why_no_gain is not None:
            self.out.undefined(name, constant if r2 is None else str(self.why_no_gain))
            return
        exact = "R² is 1 to rounding without the nonlinear part, so that nothing is left to gain"
        self.out.ratio(name, _gain_column(question), missed, floor=floor, undefined=exact)

    def mean(self, questions: list[str]) -> None:
        """The means over pairs, each over the pairs where it is defined."""
        given = {metric.name: metric.value for metric in self.out.metrics}
        for kind in ("r2", "r2_gain_nonlinear"):
            defined = [each for each in questions if given[f"{kind}{each}"] is not None]
            if not defined:
                why = "it is undefined for every pair of different width" if questions else ONE_WIDTH
                self.out.undefined(f"{kind}.mean", why)
                continue
            estimators = [self.out.estimators[f"{kind}{each}"] for each in defined]
            top = np.stack([self.out.columns[each.numerator] for each in estimators], axis=1)
            bottom = np.stack([self.out.columns[str(each.denominator)] for each in estimators], axis=1)
            ratios = MeanOfRatios(top, bottom, complement=kind == "r2")
            self.out.statistic(f"{kind}.mean", ratios, ratios.linearised())


def _why_no_gain(ctx: api.EvalContext) -> str | None:
    """Why |N| cannot be a regressor, if it cannot: the fit of b* leaves nothing of e on training rows."""
    coefficients = ctx.info.d_in + 1
    if ctx.n_train > coefficients:
        return None
    return (
        f"b* has {coefficients} coefficients for {ctx.n_train} training rows, which leave no nonlinear part"
    )


def _add_gain_columns(out: api.EvalOutput, pairs: Pairs) -> None:
    """Per unit, a hundred times what joining |N| takes from the squared residuals of each question."""
    for question in pairs.asked:
        without = out.columns[residual_column(f"r2{question}")]
        joined = out.columns.pop(residual_column(f"r2_nonlinear{question}"))
        out.columns[_gain_column(question)] = 100 * (without - joined)


def _gain_column(question: str) -> str:
    return f"gain{question}"


def _add_tables(out: api.EvalOutput, pairs: Pairs, l0s: list[float], first: FirstTokensCollector) -> None:
    given = {metric.name: metric.value for metric in out.metrics}
    size = range(len(pairs.names))
    family: dict[str, Any] = {"names": pairs.names, "widths": pairs.widths, "l0s": l0s}
    means = {f"mean_{part}_norm": values for part, values in zip(PARTS, first.means.tolist(), strict=True)}
    out.tables["members"] = {**family, **means}
    for kind in ("r2", "r2_gain_nonlinear"):
        values = [[given.get(f"{kind}{pairs.name(i, j)}") for j in size] for i in size]
        out.tables[kind] = {**family, "rows": "predictor", "columns": "predicted", "values": values}


def _add_curves(
    out: api.EvalOutput, pairs: Pairs, first: FirstTokensCollector, predictions: Predictions, power: int
) -> None:
    if not len(first.position):
        return
    axes = {"x": list(range(len(first.position))), "x_label": "held-out token"}
    axes["position"] = first.position.tolist()
    for part, lengths, label in zip(PARTS, first.lengths, ("|e|", "|L|", "|N|"), strict=True):
        for name, y in zip(pairs.names, lengths.T.tolist(), strict=True):
            out.curves[f"{part}_norm[{name}]"] = {**axes, "y": y, "y_label": label}
    if pairs.with_narrower:
        widest = pairs.with_narrower[-1]
        asked = [question.name for question in predictions.questions]
        column = asked.index(f"r2{pairs.next_name(widest)}")
        predicted = predictions(regressors(first.lengths, power))[:, column]
        y = predicted.clamp(min=0) ** (1 / power)
        curve = {**axes, "y": y.tolist(), "y_label": "|e| predicted from narrower members"}
        out.curves[f"predicted_error_norm[{pairs.names[widest]}]"] = curve
