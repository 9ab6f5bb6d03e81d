"""Encode again by gradient pursuit with the SAE's decoder, and split both errors.

On the same rows, with x̂ the SAE's reconstruction, p that of codes pursued with its decoder (as many
latents on each token as the SAE uses there, at most), e = y - x̂ and e' = y - p, maps b*, b'* of x
onto either fitted on training rows, and N = e - b*x - c, N' = e' - b'*x - c' on held-out rows:

    fvu           = Σ|e|² / Σ|y - ȳ|²        fvu_after           = Σ|e'|² / Σ|y - ȳ|²
    fvu_nonlinear = Σ|N|² / Σ|y - ȳ|²        fvu_nonlinear_after = Σ|N'|² / Σ|y - ȳ|²
    encoder_error = fvu_nonlinear - fvu_nonlinear_after

Shapes: x [n, d_in], y, x̂, p, e, N [n, d_out]; ȳ is the mean of all held-out rows. Codes are pursued
in the space in which the decoder is affine (see ``decoder``): normalisation, code scales, skip
connection and a transcoder's target are respected. Intervals resample contexts, before and after
together. Pursuit is greedy: it bounds what an encoder could reach from one side only, so a negative
``encoder_error`` says that the encoder does better than pursuit.

Tables: ``before`` and ``after`` hold fvu, fvu_nonlinear and l0 (what Figs. 10-12 draw), ``rows`` says
which rows were used, ``regression`` how the maps were solved.

Source: Engels, Riggs, Tegmark, "Decomposing the Dark Matter of Sparse Autoencoders", with an intercept,
held-out rows, and one set of rows for both reconstructions.
"""

from __future__ import annotations

from collections.abc import Sequence

from darkmatter import api
from darkmatter.stats import GramFactor, UnitSums
from darkmatter_plugins.evaluators.error_decomposition.run import add_fit_notes
from darkmatter_plugins.evaluators.footing import ROUNDING, VARIANCE_FLOOR
from darkmatter_plugins.evaluators.gradient_pursuit.collect import (
    Pursuit,
    PursuitMoments,
    PursuitMomentsCollector,
    PursuitSums,
)
from darkmatter_plugins.evaluators.gradient_pursuit.decoder import decoder_space
from darkmatter_plugins.evaluators.gradient_pursuit.descriptor import GRADIENT_PURSUIT, GradientPursuitConfig
from darkmatter_plugins.evaluators.rows import RowBudget

NOT_AFFINE = "the SAE's reconstructions are not an affine function of its codes, so nothing can be pursued"
NO_ROWS = "no row was drawn on one side of the split: raise max_rows"
CONSTANT = "the activations do not vary on the held-out rows"
NO_ERROR = "the SAE makes no error (round-off at most), so there is nothing to remove"


class GradientPursuit:
    """The evaluator `gradient_pursuit`."""

    def __init__(self, config: GradientPursuitConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Nothing: what is pursued is decided in the passes of its own."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        space = decoder_space(ctx)
        if space is None:
            return _nothing(out, NOT_AFFINE)
        budget = RowBudget.of(ctx, self.config.max_rows)
        target = None if self.config.target == "own" else self.config.target
        pursuit = Pursuit(space, budget, target, self.config.unit_rows)
        fit: PursuitMomentsCollector
        (fit,) = ctx.collect([PursuitMoments(pursuit)], "train")
        if fit.gram.n == 0:
            return _nothing(out, NO_ROWS)
        linear = GramFactor.of(fit.gram).solve(fit.errors)
        sums: UnitSums
        (sums,) = ctx.collect([PursuitSums(pursuit, linear)], "test")
        out.add_columns(sums.columns(ctx.info.n_units))
        n_test = int(out.columns["rows"].sum())
        if n_test == 0:
            return _nothing(out, NO_ROWS)
        out.on_rows(n_test)
        add_fit_notes(out, linear, ctx.info.d_in)
        out.tables["rows"] = budget.record(fit.gram.n, n_test)
        _metrics(out)
        _before_and_after(out)
        return out


def _nothing(out: api.EvalOutput, reason: str) -> api.EvalOutput:
    for metric in GRADIENT_PURSUIT.metrics:
        out.undefined(metric.name, reason)
    return out


def _metrics(out: api.EvalOutput) -> None:
    columns = out.columns
    columns["gain_sq"] = columns["before_sq"] - columns["after_sq"]
    columns["encoder_sq"] = columns["nonlinear_before_sq"] - columns["nonlinear_after_sq"]
    floor = ROUNDING * float(columns["target_sq"].sum())
    for name, numerator in (
        ("encoder_error", "encoder_sq"),
        ("fvu", "before_sq"),
        ("fvu_after", "after_sq"),
        ("fvu_nonlinear", "nonlinear_before_sq"),
        ("fvu_nonlinear_after", "nonlinear_after_sq"),
        ("fvu_gain", "gain_sq"),
    ):
        out.ratio(name, numerator, "variance", floor=floor, undefined=CONSTANT)
    least = max(floor, VARIANCE_FLOOR * float(columns["variance"].sum()))
    for name, after, before in (
        ("fvu_removed", "after_sq", "before_sq"),
        ("fvu_nonlinear_removed", "nonlinear_after_sq", "nonlinear_before_sq"),
    ):
        out.ratio(name, after, before, complement=True, floor=least, undefined=NO_ERROR)
    out.ratio("l0", "l0", "rows")
    out.ratio("l0_after", "l0_after", "rows")
    if columns.pop("negative_codes").sum() > 0:
        out.notes.append(
            "codes of this SAE may be negative; pursued codes are not, so it is at a disadvantage"
        )


def _before_and_after(out: api.EvalOutput) -> None:
    value = {metric.name: metric.value for metric in out.metrics}
    names = ("fvu", "fvu_nonlinear", "l0")
    out.tables["before"] = {name: value[name] for name in names}
    out.tables["after"] = {name: value[f"{name}_after"] for name in names}
