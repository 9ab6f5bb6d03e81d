"""What other SAEs and other places of the model know of an SAE's error.

e = y - Sae(x) is split by the map b* of training rows into L = b*x + c and N = e - L. For a source r [n, w],
a row of regressors at the same tokens, least-squares maps with intercept are fitted on training rows and
measured on held-out ones:

    r2.v[r]                  = 1 - Σ|v - v̂(r)|² / Σ|v - v̄|²      v = e (error), L (linear), N (nonlinear)
    fvu_after[r]             = Σ|e - ê(r)|² / Σ|y - ȳ|²           the FVU with the prediction added back
    fvu_nonlinear_after[r]   = Σ|e - ê(x, r)|² / Σ|y - ȳ|²        the same for x and r jointly

so that fvu_after is the FVU of Sae(x) + r M for the map M that makes it smallest, to be compared with fvu,
and fvu_nonlinear_after its nonlinear FVU for the M that makes that smallest, to be compared with
fvu_nonlinear; L0 stays. Neither is larger than what it is compared with on the training rows (``left_train``
below); on held-out rows a source that knows nothing makes both larger. R² is at most 1 and may be negative;
FVUs are not negative, lower is better. Intervals are over held-out contexts. What stands in the brackets:

    itself               the SAE's own reconstruction (any SAE with a nonlinearity predicts some of its N)
    NAME                 the reconstruction of another SAE
    all                  the reconstructions of all sources at once that have one
    activation@HOOK      the activation at another hook point
    NAME:codes           the codes of an SAE, as far as it fires on training rows
    NAME:shuffled        control: NAME's rows permuted across the tokens of each shard
    NAME:codes:shuffled  the same of its codes
    NAME:random          control: as many random mixtures of x as NAME's reconstruction has dimensions

There is no fvu_nonlinear_after for an SAE itself, since x and Sae(x) together are its error; a transcoder,
whose error is y - Sae(x), has one. Codes of more latents than `max_code_width`, or than `rows_per_regressor`
allows for the training rows, are undefined with these numbers. ``tables["fits"]`` has rank, condition, method
and rows of every fit, and as ``left_train`` the share of Σ|e|² that it leaves on the training rows, in [0, 1]
(null where e is zero); regressors that span less than their number are solved by the rank-revealing solver.
Source: Engels, Smith, Tegmark, §6.2, who fit no intercept (`bias`) and
average R² over dimensions (`per_dim`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import LinearMap
from darkmatter_plugins.evaluators.cross_layer.collect import (
    DesignMoments,
    Firings,
    FitResiduals,
    FitResidualsCollector,
    MeanInput,
)
from darkmatter_plugins.evaluators.cross_layer.descriptor import TARGETS, CrossLayerConfig
from darkmatter_plugins.evaluators.cross_layer.designs import Fit
from darkmatter_plugins.evaluators.cross_layer.sources import (
    Plan,
    label,
    plan_all,
    plan_random,
    plan_shuffled,
)

WHY = "the paper's reduction, for comparison"
NOTHING = {
    "error": "the SAE makes no error that varies (round-off at most), so there is nothing to predict",
    "linear": "the linear part of the error does not vary (round-off at most)",
    "nonlinear": "the error has no nonlinear part (round-off at most)",
}


class CrossLayer:
    """The evaluator `cross_layer`."""

    def __init__(self, config: CrossLayerConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What b* and the centres need."""
        return (api.ErrorMoments(), api.MeanError(), MeanInput())

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        sources = [each for each in (*ctx.family, *ctx.others) if each.name != ctx.sae_name]
        linear = ctx.error_map(bias=self.config.bias)
        plan = plan_all(ctx, self.config, sources, self._live(ctx, sources))
        plan.refused |= self._absent(ctx, sources)
        fits = self._fits(ctx, linear, plan, sources)
        shuffled: list[Fit] = []
        if self.config.controls:
            random = plan_random(ctx, fits)
            shuffled = self._fits(ctx, linear, plan_shuffled(ctx, plan), sources, shuffled=ctx.seed)
            fits += self._fits(ctx, linear, random, sources)
            plan.refused |= random.refused
        self._measure(out, ctx, linear, fits, sources)
        if shuffled:
            self._measure(out, ctx, linear, shuffled, sources, shuffled=ctx.seed)
        for bracket, reason in plan.refused.items():
            self._refuse(out, ctx, bracket, reason)
        add_fits(out, [*fits, *shuffled])
        return out

    def _absent(self, ctx: api.EvalContext, sources: Sequence[api.EncodedSAE]) -> dict[str, str]:
        """Sources that were named and are not there."""
        there = {ctx.sae_name, *(each.name for each in sources)}
        why = "no SAE of this name has been encoded in this run"
        return {label(name): why for name in dict.fromkeys(self.config.sources or ()) if name not in there}

    def _live(self, ctx: api.EvalContext, sources: Sequence[api.EncodedSAE]) -> dict[str, Tensor]:
        """The latents that fire on training rows, by source; one pass over all of them."""
        if "codes" not in self.config.kinds:
            return {}
        widths = {"": ctx.info.d_sae, **{each.name: each.info.d_sae for each in sources}}
        (live,) = ctx.collect([Firings(widths)], "train", sources)
        return dict(live)

    def _fits(
        self,
        ctx: api.EvalContext,
        linear: LinearMap,
        plan: Plan,
        sources: Sequence[api.EncodedSAE],
        shuffled: int | None = None,
    ) -> list[Fit]:
        """Everything that a plan wants, fitted from one pass over the training rows."""
        designs = plan.designs
        if not designs:
            return []
        (moments,) = ctx.collect([DesignMoments(designs, linear)], "train", sources, shuffled=shuffled)
        of = dict(zip(designs, moments, strict=True))
        return [each.fit(*of[each.design], bias=self.config.bias) for each in plan.wanted]

    def _measure(
        self,
        out: api.EvalOutput,
        ctx: api.EvalContext,
        linear: LinearMap,
        fits: Sequence[Fit],
        sources: Sequence[api.EncodedSAE],
        shuffled: int | None = None,
    ) -> None:
        """Metrics of fits, from one pass over the held-out rows."""
        inputs, mean_error = ctx.info.inputs, ctx.collected(api.MeanError())
        mean_linear = linear(ctx.collected(MeanInput())[None])[0]
        means = torch.cat([mean_error, mean_error - mean_linear])
        spec = FitResiduals(fits, linear, means, inputs.mean_target)
        (found,) = ctx.collect([spec], "test", sources, shuffled=shuffled)
        out.add_columns(found.sums.columns(ctx.info.n_units))
        # What float32 leaves of activations that do not vary is no variance.
        rounding = 1e-13 * (inputs.total_variance + ctx.n_test * float(inputs.mean_target.square().sum()))
        least = max(1e-10 * inputs.total_variance, rounding)
        for fit in fits:
            bracket, joint = fit.wanted.name, fit.wanted.joint
            name, left = ("fvu_nonlinear_after", "joint") if joint else ("fvu_after", "error")
            out.ratio(
                f"{name}[{bracket}]",
                f"{left}_residual_sq[{bracket}]",
                "target_variance",
                floor=rounding,
                undefined="the activations do not vary on the held-out rows",
            )
            for key in () if joint else TARGETS:
                out.ratio(
                    f"r2.{key}[{bracket}]",
                    f"{key}_residual_sq[{bracket}]",
                    f"{key}_variance",
                    complement=True,
                    floor=least,
                    undefined=NOTHING[key],
                )
        if self.config.per_dim:
            _per_dim(out, spec, found, least)

    def _refuse(self, out: api.EvalOutput, ctx: api.EvalContext, bracket: str, reason: str) -> None:
        """All metrics of a source are undefined."""
        own = bracket == "itself:codes" and ctx.hook_out == ctx.hook
        within = own or bracket.endswith(":random")
        after = ["fvu_after"] if within else ["fvu_after", "fvu_nonlinear_after"]
        per_dim = [f"r2_per_dim.{key}" for key in TARGETS] if self.config.per_dim else []
        for name in (*(f"r2.{key}" for key in TARGETS), *after, *per_dim):
            out.undefined(f"{name}[{bracket}]", reason)


def _per_dim(out: api.EvalOutput, spec: FitResiduals, found: FitResidualsCollector, least: float) -> None:
    """The mean over dimensions of 1 - residual / variance, over dimensions that vary."""
    rows = dict(zip(spec.names, found.per_dim, strict=False))  # the variance of the target has no row
    for fit in spec.fits:
        for key in () if fit.wanted.joint else TARGETS:
            name, total = f"r2_per_dim.{key}[{fit.wanted.name}]", rows[f"{key}_variance"]
            varies = total > least / len(total)
            if not varies.any():
                out.undefined(name, NOTHING[key])
                continue
            left = rows[f"{key}_residual_sq[{fit.wanted.name}]"]
            out.plain(name, float((1 - left[varies] / total[varies]).mean()), why_no_interval=WHY)


def add_fits(out: api.EvalOutput, fits: Sequence[Fit]) -> None:
    """Say on what footing each fit stands."""
    out.tables["fits"] = [
        {
            "source": fit.wanted.name,
            "with_x": fit.wanted.joint,
            "regressors": len(fit.at) if fit.wanted.mixing is None else fit.wanted.mixing.shape[1],
            "rank": fit.found.rank,
            "condition": fit.found.condition if np.isfinite(fit.found.condition) else None,
            "method": fit.found.method,
            "n_train": fit.found.n_train,
            "left_train": fit.left_train,
        }
        for fit in fits
    ]
    few = sorted({fit.wanted.name for fit in fits if fit.found.n_train < 20 * fit.found.rank})
    if few:
        out.notes.append(
            "warning: fewer than 20 training rows for each regressor, so that held-out numbers are "
            f"pessimistic: {', '.join(few)}; use more contexts"
        )
