"""Train TopK SAEs on the parts of the error, and ask which part is the easier one.

e = y - Sae(x), L = b*x + c, N = e - L with the map fitted on training rows (y, e, L, N [n, d]). For each
part v one SAE per seed is trained on the training rows of v, all of equal k, width, steps and batches,
and judged on the held-out rows (v̂ its reconstruction, v̄ the mean of v over the held-out rows):

    fvu.v      = Σ|v - v̂|² / Σ|v - v̄|²           fvu_of_x.v = Σ|v - v̂|² / Σ|y - ȳ|²
    fvu_gap    = fvu.nonlinear - fvu.linear, paired over the held-out units
    fvu_mean, fvu_std, fvu_range, fvu_gap_mean    over training seeds, the gap paired within each
    dead.v     = share of latents that never fire
    similarity = mean over firing latents of max_j cos(w, W_dec[j]); similarity_excess takes off what as many
                 random directions give: E max = 1 - ∫ F(c)^m dc, (1 + c)/2 ~ Beta((d-1)/2, (d-1)/2) under F
    score.v    = mean over sampled firing latents of the Pearson correlation between activations and their
                 n-gram simulation, over top and random held-out fragments; the simulator (mean activation
                 at the same last two tokens, else one, else overall) saw training fragments alone
    norm_r2_gap = R² of |L|² less R² of |N|² from x (norm-prediction test), paired

``fvu.*``, ``dead.*``, ``similarity.*`` and ``score.*`` speak of the first seed. Intervals are over held-out
units, of scores over latents, of ``fvu_mean`` and ``fvu_gap_mean`` over seeds. Source: Engels et
al., section on SAEs of the errors; unlike their code, training sees training rows alone, and scores use
the positions of the training.

Curves ``training_fvu.PART.SEED``: x step, y FVU of the batches. Table ``saes``: one row per trained SAE
(part, seed, fvu, fvu_of_x, dead, train_fvu, rows); ``latents.PART``: the scores of sampled latents.
"""

from __future__ import annotations

from collections.abc import Sequence

from darkmatter import api
from darkmatter.stats import LinearMap
from darkmatter_plugins.evaluators.error_saes.descriptor import PARTS, ErrorSAEsConfig
from darkmatter_plugins.evaluators.error_saes.gaps import norm_gap
from darkmatter_plugins.evaluators.error_saes.interpret import latent_scores, sampled_latents
from darkmatter_plugins.evaluators.error_saes.report import Report
from darkmatter_plugins.evaluators.error_saes.targets import (
    HeldOut,
    HeldOutCollector,
    PartMoments,
    training_rows,
)
from darkmatter_plugins.evaluators.footing import OF_NONLINEAR, ROUNDING, VARIANCE_FLOOR, few_rows
from darkmatter_plugins.training.rows import ShuffledRows
from darkmatter_plugins.training.topk import TopKPlan, Trained, train_topk

TrainedSAEs = dict[tuple[str, int], Trained]


class ErrorSAEs:
    """The evaluator `error_saes`."""

    def __init__(self, config: ErrorSAEsConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What the fitted map and the mean error need."""
        return (api.ErrorMoments(), api.MeanError())

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics; one thread, so that training gives the same bytes each time."""
        with api.one_thread_each():
            return self._run(ctx)

    def _run(self, ctx: api.EvalContext) -> api.EvalOutput:
        out, inputs, linear = ctx.output(), ctx.info.inputs, ctx.error_map()
        (moments,) = ctx.collect([PartMoments(linear)], "test")
        means, variances = (each.view(len(PARTS), -1) for each in (moments.mean_y, moments.syy))
        constant = ROUNDING * (inputs.total_variance + ctx.n_test * float(inputs.mean_target.square().sum()))
        floor = max(VARIANCE_FLOOR * inputs.total_variance, constant)
        defined = [part for part, v in zip(PARTS, variances.sum(dim=1), strict=True) if float(v) > floor]
        trained = self._train(ctx, linear, defined)
        (held_out,) = ctx.collect([HeldOut(linear, means, trained)], "test")
        out.add_columns(held_out.sums.columns(ctx.info.n_units))
        report = Report(out, defined, held_out, self.config.seeds)
        report.reconstruction(floor=constant)
        report.latents(ctx.sae.W_dec)
        self._add_scores(report, ctx, linear, held_out)
        report.gaps(norm_gap(ctx, linear))
        report.training()
        if trained and self.config.k > (width := self._width(ctx)):
            out.notes.append(
                f"k is {width} instead of {self.config.k}: the trained SAEs have no more latents"
            )
        out.notes += few_rows(ctx.n_train, ctx.info.d_in, OF_NONLINEAR)
        return out

    def _train(self, ctx: api.EvalContext, linear: LinearMap, wanted: list[str]) -> TrainedSAEs:
        """The SAEs of all parts and seeds; those of one seed see the same batches."""
        config = self.config
        found: TrainedSAEs = {}
        width = self._width(ctx)
        plan = TopKPlan(
            k=min(config.k, width),
            width=width,
            steps=config.steps,
            lr=config.lr,
            warmup=config.warmup,
            auxk=config.auxk,
            centre=config.centre,
        )
        index = [list(PARTS).index(part) for part in wanted]
        for number in range(config.seeds if wanted else 0):
            seed = (ctx.seed * 1_000_003 + number) % 2**63
            blocks = training_rows(ctx, linear, index, number)
            rows = ShuffledRows(blocks, batch=config.batch, buffer=config.buffer * config.batch, seed=seed)
            found |= {
                (part, number): each for part, each in zip(wanted, train_topk(rows, plan, seed), strict=True)
            }
        return found

    def _width(self, ctx: api.EvalContext) -> int:
        """Latents of the trained SAEs."""
        return self.config.width or self.config.expansion * ctx.info.d_out

    def _add_scores(
        self,
        report: Report,
        ctx: api.EvalContext,
        linear: LinearMap,
        held_out: HeldOutCollector,
    ) -> None:
        """``score.*``, of the first seed."""
        count = self.config.latents
        chosen = {
            part: (
                held_out.spec.trained[part, 0].sae,
                sampled_latents(held_out.fired[part, 0], count, ctx.seed),
            )
            for part in report.defined
        }
        if count == 0:
            report.scores("no latents were to be scored (latents = 0)")
        elif not chosen:
            report.scores({})
        else:
            report.scores(latent_scores(ctx, self.config, linear, chosen))
