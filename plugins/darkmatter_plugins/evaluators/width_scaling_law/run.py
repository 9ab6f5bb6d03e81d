"""Fit FVU(W) = c + a W^-m over the widths of a family, and account for what is left.

For K members of widths W_k at about one L0 (one per width; ``members.take`` says which and why), with
e, N, FVU and FVU_nonlinear exactly as in `reconstruction` and `error_decomposition` (held-out rows,
pooled, centred per dimension, b* with intercept from training rows):

    c, a, m              = argmin Σ_k (FVU_k - c - a W_k^-m)²,  c, a >= 0        (FVU; FVU; no unit)
    fvu_slope            = least-squares slope of log FVU_k in log W_k; the same for FVU_nonlinear
    share.absent[k]      = FVU_k - c                     in units of FVU, as in the paper's accounting:
    share.linear         = c - mean FVU_nonlinear        the three add up to FVU_k
    share.nonlinear      = mean FVU_nonlinear
    forecast.widest      = c' + a' W_K^-m' of the law without the widest member;
    forecast.error       = forecast.widest - FVU_K       forecast.next = the law of all at 2 W_K

The paper divides share.nonlinear further, by what gradient pursuit leaves of FVU_nonlinear: that is
`gradient_pursuit`'s encoder_error, which the figure of this accounting takes from its results. A share
that would be negative is undefined, never clipped.

FVU_nonlinear is called flat where the 95% interval of its slope lies within ±``flat``, not flat where
it lies outside, else undecided. Intervals refit everything for every resample, in which all members
keep the same contexts; they do not hold what other training seeds would give.

Tables: ``members`` (names, widths, l0s, fvu, fvu_nonlinear), ``left_out`` (name: why), ``law``,
``flatness``, ``accounting``, ``forecast``. Curves over widths: ``fvu`` and ``fvu_nonlinear`` with
intervals, ``law`` up to twice the largest width.

Source: Engels, Smith, Tegmark; they fit by 50,000 steps of Adam from a random start, which does not
reach the optimum, and take FVU_nonlinear to be constant, which is tested here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darkmatter import api
from darkmatter.stats import UnitSums
from darkmatter_plugins.evaluators.families import Errors, beside
from darkmatter_plugins.evaluators.footing import OF_NONLINEAR, ROUNDING, few_rows
from darkmatter_plugins.evaluators.width_scaling_law.collect import FamilySums, error_column, nonlinear_column
from darkmatter_plugins.evaluators.width_scaling_law.descriptor import WidthScalingLawConfig
from darkmatter_plugins.evaluators.width_scaling_law.law import LEAST_WIDTHS, PER_FAMILY, Law
from darkmatter_plugins.evaluators.width_scaling_law.members import Taken, take

CONSTANT = "the activations do not vary on the held-out rows"


class WidthScalingLaw:
    """The evaluator `width_scaling_law`."""

    def __init__(self, config: WidthScalingLawConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Everything needs b* of all members first."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        taken = take(ctx.family, self.config)
        names = [each.name for each in taken.members]
        self._explain(out, taken)
        sums: UnitSums
        (sums,) = ctx.collect([FamilySums(Errors.of(ctx, taken.members))], "test", beside(ctx, taken.members))
        out.add_columns(sums.columns(ctx.info.n_units))
        floor = ROUNDING * float(out.columns["target_sq"].sum())
        for name in names:
            out.ratio(f"fvu[{name}]", error_column(name), "variance", floor=floor, undefined=CONSTANT)
            out.ratio(
                f"fvu_nonlinear[{name}]", nonlinear_column(name), "variance", floor=floor, undefined=CONSTANT
            )
        why_not = CONSTANT if not float(out.columns["variance"].sum()) > floor else self._too_few(taken)
        if why_not:
            for metric in PER_FAMILY:
                out.undefined(metric, why_not)
            return out
        law = Law(out, names, np.array([float(each.sae.d_sae) for each in taken.members]))
        law.add_fit()
        law.add_slopes(self.config.flat)
        law.add_accounting()
        law.add_forecasts()
        law.add_tables([each.l0 for each in taken.members])
        out.notes.append(f"intervals are over {ctx.unit_kind}: SAEs of other training seeds may lie outside")
        out.notes += few_rows(ctx.n_train, ctx.info.d_in, OF_NONLINEAR)
        return out

    def _too_few(self, taken: Taken) -> str:
        if len(taken.members) >= LEAST_WIDTHS:
            return ""
        widths = ", ".join(str(each.sae.d_sae) for each in taken.members) or "none"
        return (
            f"needs {LEAST_WIDTHS} or more widths at about one L0; within {self.config.l0_tolerance:.0%} "
            f"of L0 {taken.l0:.4g} there are {len(taken.members)}: {widths}"
        )

    def _explain(self, out: api.EvalOutput, taken: Taken) -> None:
        names = ", ".join(each.name for each in taken.members)
        note = (
            f"taken, one member per width within {self.config.l0_tolerance:.0%} of L0 {taken.l0:.4g}: {names}"
        )
        if taken.left_out:
            note += f"; left out: {'; '.join(f'{name} ({why})' for name, why in taken.left_out.items())}"
        out.notes.append(note)
        out.tables["left_out"] = taken.left_out
