"""Split the error into a linear and a nonlinear part, and test how predictable norms are.

With e = y - Sae(x), the map b*, c = argmin Σ|e - b x - c|² over training rows and
N = e - b*x - c on held-out rows (y, e, N [n, d]):

    fvu            = Σ|e|² / Σ|y - ȳ|²
    fvu_nonlinear  = Σ|N|² / Σ|y - ȳ|²            fvu_linear = fvu - fvu_nonlinear
    error_r2       = 1 - Σ|N|² / Σ|e - ē|²
    norm_r2.v      = 1 - Σ(|v|² - a·x - a₀)² / Σ(|v|² - mean|v|²)²,   a, a₀ fitted on training rows
    feature_norm   see ``features``: whether the map that predicts |Sae(x)|² names each feature's size;
                   curves ``feature_norm`` (a point per latent) and ``feature_norm_running_mean``

Means are those of the held-out rows. Source: Engels, Smith, Tegmark, with an intercept, float64,
and held-out rows only; ``authors.*`` keep their conventions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, LinearMap, MeanOfRatios
from darkmatter_plugins.evaluators.decoding import atoms
from darkmatter_plugins.evaluators.error_decomposition.authors import (
    AuthorsNorms,
    authors_metrics,
    authors_sums,
)
from darkmatter_plugins.evaluators.error_decomposition.collect import (
    Centres,
    NormMoments,
    Residuals,
    ResidualsCollector,
    norm_variance,
)
from darkmatter_plugins.evaluators.error_decomposition.descriptor import VECTORS, ErrorDecompositionConfig
from darkmatter_plugins.evaluators.error_decomposition.features import (
    FeatureSums,
    FeatureSumsCollector,
    feature_metrics,
    no_features,
)
from darkmatter_plugins.evaluators.footing import ROUNDING, VARIANCE_FLOOR, few_rows

NO_ERROR = "the SAE makes no error that varies (round-off at most), so there is nothing to predict"
CONSTANT = "the activations do not vary on the held-out rows"


class ErrorDecomposition:
    """The evaluator `error_decomposition`."""

    def __init__(self, config: ErrorDecompositionConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What the fitted map needs; the rest takes a second look at the rows."""
        return (api.ErrorMoments(), api.MeanError(), api.LatentMoments())

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        moments: CrossMoments = ctx.collected(api.ErrorMoments())
        linear = api.fit_error_map(ctx.info, moments, bias=self.config.bias)
        add_fit_notes(out, linear, ctx.info.d_in)
        power, every_row = self.config.norm_power, self.config.eval_rows == "all"
        fitted = self._training(ctx, linear, moments)
        norm = api.fit_error_map(ctx.info, fitted["norms"], bias=self.config.bias)
        centres = _centres(ctx, moments, every_row=every_row)
        specs: dict[str, api.CollectorSpec] = {
            "residuals": Residuals(linear, norm, power, centres, one_unit=every_row)
        }
        if self.config.authors:
            specs["authors"] = authors_sums(ctx, moments, fitted["authors"])
        test = _collect(ctx, specs, "test")
        train = _collect(
            ctx, {name: spec for name, spec in specs.items() if every_row or name == "authors"}, "train"
        )
        sums: ResidualsCollector = test["residuals"]
        if every_row:
            sums.merge(train["residuals"])
            out.without_intervals("training and held-out rows together", ctx.n_train + ctx.n_test)
        n_units = 1 if every_row else ctx.info.n_units
        out.add_columns(sums.scalars.columns(n_units))
        total_variance = float(out.columns["target_variance"].sum())
        # Activations that do not vary leave nothing to explain: what is left of them is rounding.
        constant = ROUNDING * float(out.columns["target_sq"].sum())
        self._fvu(out, centres, constant)
        self._error_r2(out, sums.per_dim.total(n_units), max(VARIANCE_FLOOR * total_variance, constant))
        self._norms(out)
        if self.config.authors:
            authors_metrics(out, ctx, test["authors"], train["authors"], floor=constant)
        self._features(out, ctx, fitted)
        return out

    def _training(self, ctx: api.EvalContext, linear: LinearMap, moments: CrossMoments) -> dict[str, Any]:
        """What a second look at the training rows gives, once b* is known."""
        specs: dict[str, api.CollectorSpec] = {"norms": NormMoments(linear, self.config.norm_power)}
        if self.config.authors:
            specs["authors"] = AuthorsNorms(api.fit_error_map(ctx.info, moments, bias=False))
        decoder = atoms(ctx.sae)
        if decoder is not None and ctx.info.d_sae > 0:
            specs["features"] = FeatureSums(decoder)
        return _collect(ctx, specs, "train")

    def _features(self, out: api.EvalOutput, ctx: api.EvalContext, fitted: dict[str, Any]) -> None:
        fits = {"": self.config.bias, **({"authors.": False} if self.config.authors else {})}
        if "features" not in fitted:
            no_features(out, "the SAE has no decoder matrix with a row for each latent", list(fits))
            return
        moments: FeatureSumsCollector = fitted["features"]
        feature_metrics(out, moments.decoder, ctx.collected(api.LatentMoments()).sums, moments, fits)

    def _fvu(self, out: api.EvalOutput, centres: Centres, floor: float) -> None:
        denominator = "target_sq" if self.config.fvu_center == "none" else "target_variance"
        if self.config.fvu_center == "scalar":
            spread = float((centres.target - centres.target.mean()).square().sum())
            out.columns["scalar_variance"] = out.columns["target_variance"] + spread * out.columns["rows"]
            denominator = "scalar_variance"
        for name, numerator in (
            ("fvu_linear", "linear_sq"),
            ("fvu_nonlinear", "nonlinear_sq"),
            ("fvu_bias", "bias_sq"),
        ):
            out.ratio(name, numerator, denominator, floor=floor, undefined=CONSTANT)

    def _error_r2(self, out: api.EvalOutput, per_dim: Tensor, floor: float) -> None:
        residual, total = np.split(per_dim.numpy(), 2, axis=1)
        by_dim = MeanOfRatios(residual, total, complement=True, floor=floor / max(total.shape[1], 1))
        pooled_is_primary = self.config.r2_reduction == "pooled"
        if pooled_is_primary:
            out.ratio(
                "error_r2", "nonlinear_sq", "error_variance", complement=True, floor=floor, undefined=NO_ERROR
            )
        for name in ("error_r2_per_dim",) if pooled_is_primary else ("error_r2", "error_r2_per_dim"):
            if not (by_dim.defined.any() and total.sum() > floor):
                out.undefined(name, NO_ERROR)
                continue
            out.statistic(name, by_dim, by_dim.linearised())
        constant = int((~by_dim.defined).sum())
        if 0 < constant < total.shape[1]:
            out.notes.append(f"{constant} dimensions without error variance are left out of error_r2_per_dim")

    def _norms(self, out: api.EvalOutput) -> None:
        """R² of each norm."""
        for key in VECTORS:
            column = f"norm_{key}_variance"
            out.columns[column], floor = norm_variance(out.columns, key, self.config.norm_power)
            for used in ("sum", "sq"):
                del out.columns[f"norm_{key}_{used}"]
            names = ("error_norm_r2", "norm_r2.error") if key == "error" else (f"norm_r2.{key}",)
            for name in names:
                out.ratio(
                    name,
                    f"norm_{key}_residual_sq",
                    column,
                    complement=True,
                    floor=floor,
                    undefined=f"the norm of {VECTORS[key]} does not vary (round-off at most)",
                )


def _collect(ctx: api.EvalContext, specs: dict[str, api.CollectorSpec], rows: api.Rows) -> dict[str, Any]:
    """Finished collectors by name, from one pass; no pass where there is nothing to collect."""
    return dict(zip(specs, ctx.collect(list(specs.values()), rows), strict=True)) if specs else {}


def _centres(ctx: api.EvalContext, moments: CrossMoments, *, every_row: bool) -> Centres:
    inputs, error = ctx.info.inputs, ctx.collected(api.MeanError())
    if not every_row:
        return Centres(inputs.mean_target, error)
    share = ctx.n_train / (ctx.n_train + ctx.n_test)
    target = share * inputs.train_target.mean_y + (1 - share) * inputs.mean_target
    return Centres(target, share * moments.mean_y + (1 - share) * error)


def add_fit_notes(out: api.EvalOutput, linear: LinearMap, d: int) -> None:
    """Say on what footing the regression stands."""
    out.tables["regression"] = {
        "n_train": linear.n_train,
        "d": d,
        "rank": linear.rank,
        "condition": linear.condition if np.isfinite(linear.condition) else None,
        "method": linear.method,
    }
    if linear.rank < d:
        out.notes.append(
            f"the activations span only {linear.rank} of {d} dimensions (to rounding); the fit uses those"
        )
    out.notes += few_rows(linear.n_train, d, "held-out R² is pessimistic")
