"""Attribute the cross-entropy that an SAE costs to the linear and the nonlinear part of its error.

At the patched positions the activation y is replaced, elsewhere the model keeps its own. With
S = Sae(x), e = y - S, L = b*x + c (b*, c fitted on training rows) and N = e - L, and CE the mean loss in
nats over the predictions that the held-out rows make (row t predicts token t + 1):

    share.ce.Z      = 100 (CE_S - CE_{S+Z}) / (CE_S - CE_clean),   Z = L (linear) or N (nonlinear)
    share.fvu.Z     = 100 (Σ|e|² - Σ|e - Z|²) / Σ|e|²              on the same rows
    share.norm.Z    = 100 Σ|Z| / Σ|e|;   share.norm_per_token.Z = 100 mean |Z|/|e|
    loss_recovered  = (CE_zero - CE_S) / (CE_zero - CE_clean);     loss_recovered_mean: mean for zero
    kl              = mean KL(clean || patched with S)
    perplexity.Z    = exp(CE_Z), every token of equal weight (the authors average batches); interval: exp
                      of the CE's

CE shares of both parts need not sum to 100, since the loss is not linear in the error. Adding L back
leaves S + L = y - N, so ``share.ce.linear`` is what the linear error costs beside the nonlinear one. The
controls say what other vectors of N's norms do: the nonlinear errors of other patched tokens of the
batch (``sae_shuffled``), random directions (``sae_random``). A share is undefined where the interval of
its denominator contains 0, or where there is none. Source: Engels, Smith, Tegmark; theirs fits no
intercept (``bias: false``).

``tables``: ``sample`` {contexts, rows, held_out_rows, positions_patched, batch}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darkmatter import api, sources
from darkmatter.stats import UnitSums
from darkmatter_plugins.evaluators.batches import at_once
from darkmatter_plugins.evaluators.ce_attribution.clean import CleanRuns
from darkmatter_plugins.evaluators.ce_attribution.descriptor import (
    CONTROLS,
    PARTS,
    PERPLEXITIES,
    SETTINGS,
    CEAttributionConfig,
)
from darkmatter_plugins.evaluators.ce_attribution.replacements import replacements
from darkmatter_plugins.evaluators.ce_attribution.rows import ErrorParts, HeldOutRows, everywhere
from darkmatter_plugins.evaluators.footing import OF_NONLINEAR, few_rows
from darkmatter_plugins.evaluators.patching import divergence, patch
from darkmatter_plugins.evaluators.ratios import FunctionOfRatios

LARGEST_EXPONENT = 700.0
"""Above it exp is no float64."""

ROUND_OFF = 1e-6
"""A difference in CE below this many nats is rounding of float32 losses."""

ERRORS = (
    "rows",
    "error_sq",
    "linear_sq",
    "nonlinear_sq",
    "error_norm",
    "linear_norm",
    "nonlinear_norm",
    "linear_ratio",
    "nonlinear_ratio",
    "nonzero_rows",
)


class CEAttribution:
    """The evaluator `ce_attribution`."""

    def __init__(self, config: CEAttributionConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What the fitted map needs."""
        return (api.ErrorMoments(),)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        sums, contexts = self._sums(ctx)
        n_units = max((int(ids[-1]) for ids, _ in sums.pieces), default=-1) + 1
        columns = sums.columns(n_units)
        n_rows = int(columns["rows"].sum())
        out = ctx.output(n_rows=n_rows, n_units=n_units)
        out.add_columns(columns)
        settings = [name for name in SETTINGS if f"loss_{name}" in columns]
        _add_losses(out, settings)
        _add_perplexities(out)
        for part in (*PARTS, *CONTROLS):
            setting = f"sae_{part}"
            if setting in settings:
                out.columns[f"recovered_{part}"] = 100 * (
                    out.columns["loss_sae"] - out.columns[f"loss_{setting}"]
                )
                _ratio(out, f"share.ce.{part}", f"recovered_{part}", "sae")
        for name, ablation in (("loss_recovered", "zero"), ("loss_recovered_mean", "mean")):
            out.columns[name] = out.columns[f"loss_{ablation}"] - out.columns["loss_sae"]
            _ratio(out, name, name, ablation)
        out.ratio("kl", "kl", "rows")
        _add_error_shares(out, float(ctx.info.inputs.total_variance) / ctx.n_test)
        out.tables["sample"] = {
            "contexts": contexts,
            "rows": n_rows,
            "held_out_rows": ctx.n_test,
            "positions_patched": self.config.patch_positions,
            "batch": self._batch(ctx),
        }
        if self.config.contexts is not None:
            out.notes.append(f"over {contexts} contexts, {n_rows} of {ctx.n_test} held-out rows")
        out.notes += few_rows(ctx.n_train, ctx.info.d_in, OF_NONLINEAR)
        return out

    def _batch(self, ctx: api.EvalContext) -> int:
        """Contexts run together."""
        positions = next(iter(ctx.contexts(1))).rows.shape[1]
        return at_once(ctx.model, positions, self.config.batch)

    def _sums(self, ctx: api.EvalContext) -> tuple[UnitSums, int]:
        """Sums per unit of losses by setting, KL and error norms, and how many contexts were run."""
        config, linear = self.config, ctx.error_map(bias=self.config.bias)
        every = config.patch_positions == "all"
        mean = ctx.info.inputs.train_target.mean_y
        size = self._batch(ctx)
        clean = ctx.shared(
            (ctx.hook_out, every, size, config.contexts), lambda: CleanRuns(ctx.hook_out, mean, every)
        )
        rows, generator = HeldOutRows(ctx, linear), torch.Generator().manual_seed(ctx.seed)
        sums: UnitSums | None = None
        contexts = 0
        for batch in ctx.contexts(size, limit=config.contexts):
            contexts += len(batch.index)
            resumed, losses = clean.of(ctx.model, batch)
            parts = rows.of(batch)
            if every:
                parts = everywhere(parts, batch, ctx.sae, linear)
            scored = batch.rows.clone()
            scored[:, -1] = False  # the last position predicts nothing
            values = _patched_losses(resumed, batch, parts, scored, generator, config.controls)
            values |= {f"loss_{name}": loss[scored].double() for name, loss in losses.items()}
            values |= _error_norms(parts, scored)
            unit = batch.unit.unsqueeze(1).expand_as(scored)[scored]
            sums = sums or UnitSums(tuple(values))
            sums.add(unit, torch.stack(list(values.values()), dim=1))
        if sums is None or not sums.pieces:
            message = "no held-out row predicts a token"
            raise api.ItemError(message)
        return sums, contexts


def _patched_losses(
    resumed: sources.Resumed,
    batch: api.Contexts,
    parts: ErrorParts,
    scored: Tensor,
    generator: torch.Generator,
    controls: str,
) -> dict[str, Tensor]:
    """Losses of every setting with an SAE, and KL for the reconstruction, at scored rows [n] float64."""
    assert batch.tokens is not None
    found = {}
    for name, rows in replacements(parts, generator, controls):
        logits = resumed.logits(patch(resumed.activations, parts.patched, rows))
        if name == "sae":
            found["kl"] = divergence(resumed.logits(), logits, scored)
        found[f"loss_{name}"] = sources.token_losses(logits, batch.tokens).cpu()[scored].double()
    return found


def _error_norms(parts: ErrorParts, scored: Tensor) -> dict[str, Tensor]:
    """``ERRORS`` at scored rows [n] float64."""
    inside = scored[parts.patched]
    squares = [
        part.square().sum(dim=1).cpu()[inside] for part in (parts.error, parts.linear, parts.nonlinear)
    ]
    norms = [square.sqrt() for square in squares]
    nonzero = squares[0] > 0
    ratios = [torch.where(nonzero, norm / norms[0], 0.0) for norm in norms[1:]]
    columns = [torch.ones_like(squares[0]), *squares, *norms, *ratios, nonzero.double()]
    return dict(zip(ERRORS, columns, strict=True))


def _add_losses(out: api.EvalOutput, settings: Sequence[str]) -> None:
    """CE by setting, and the increase over the model's own."""
    out.ratio("ce.clean", "loss_clean", "rows")
    for name in settings:
        out.ratio(f"ce.{name}", f"loss_{name}", "rows")
        out.columns[f"increase_{name}"] = out.columns[f"loss_{name}"] - out.columns["loss_clean"]
        out.ratio(f"ce_increase.{name}", f"increase_{name}", "rows")


def _add_perplexities(out: api.EvalOutput) -> None:
    """exp(CE), its interval that of the CE: symmetric about exp(CE) it would miss, and reach below 1."""
    of = {metric.name: metric for metric in out.metrics}
    for name in PERPLEXITIES:
        losses = out.columns[f"loss_{name}"][:, None]
        statistic = FunctionOfRatios(losses, out.columns["rows"], lambda ce: np.exp(ce[:, 0]))
        out.statistic(f"perplexity.{name}", statistic, statistic.linearised())
        low, high = of[f"ce.{name}"].ci_low, of[f"ce.{name}"].ci_high
        if low is not None and high is not None and high < LARGEST_EXPONENT:
            ends = {"ci_low": math.exp(low), "ci_high": math.exp(high)}
            out.metrics[-1] = out.metrics[-1].model_copy(update=ends)


def _ratio(out: api.EvalOutput, name: str, numerator: str, setting: str) -> None:
    """A share of the CE increase of ``setting``, where that is known to be above 0."""
    (increase,) = (metric for metric in out.metrics if metric.name == f"ce_increase.{setting}")
    value, low = increase.value, increase.ci_low
    if value is None or value <= ROUND_OFF:
        out.undefined(name, f"the CE with {setting} is not above the model's own (round-off at most)")
    elif low is None:
        out.undefined(name, f"the CE increase with {setting} has {increase.ci_method}")
    elif low <= 0:
        out.undefined(name, f"the interval of the CE increase with {setting} contains 0")
    else:
        out.ratio(name, numerator, f"increase_{setting}")


def _add_error_shares(out: api.EvalOutput, variance: float) -> None:
    """Shares of FVU and of norms; an error below 1e-10 of the variance [per row] is round-off."""
    columns = out.columns
    floor = 1e-10 * variance * float(columns["rows"].sum())
    none = "the SAE makes no error (round-off at most)"
    is_error = float(columns["error_sq"].sum()) > floor
    for part, other in (("linear", "nonlinear"), ("nonlinear", "linear")):
        # What is left when a part is added back is the other part.
        columns[f"fvu_{part}"] = 100 * (columns["error_sq"] - columns[f"{other}_sq"])
        columns[f"norm_{part}"] = 100 * columns[f"{part}_norm"]
        columns[f"ratio_{part}"] = 100 * columns[f"{part}_ratio"]
        for name, numerator, denominator in (
            (f"share.fvu.{part}", f"fvu_{part}", "error_sq"),
            (f"share.norm.{part}", f"norm_{part}", "error_norm"),
            (f"share.norm_per_token.{part}", f"ratio_{part}", "nonzero_rows"),
        ):
            if is_error:
                out.ratio(name, numerator, denominator, undefined=none)
            else:
                out.undefined(name, none)
