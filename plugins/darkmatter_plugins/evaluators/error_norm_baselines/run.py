"""How predictable the error's size is, and from what: y = |e|^p, p = 2 unless `norm_power` is 1.

    r2.v = 1 - Σ(y - ŷ_v)² / Σ(y - ȳ)²        over held-out rows, ȳ their mean

ŷ_v is fitted on the training rows: ``activations`` y on [1, x]; ``loss``, ``l0``, ``norm``,
``norm_squared`` and ``position`` y on [1, scalar]; ``token`` and ``position_means`` the mean y of the
token id or position, (n·mean + k·global mean) / (n + k) for an id seen n times (k = `token_shrinkage`
for tokens, 0 for positions) and the global mean for one never seen. No unit, at most 1, negative where
a prediction is worse than the held-out mean. Intervals are over held-out contexts.

``authors.r2.token`` takes the means over all rows, the predicted one included, as the authors' script
does while its other baselines are held out: a token id that occurs once is predicted perfectly.

``tables["token"]`` has the number of token ids in the training rows and the share of held-out rows whose
id is not among them. Source: Engels, Smith, Tegmark, appendix; |x|² and position are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darkmatter import api
from darkmatter.stats import Gram, UnitSums
from darkmatter_plugins.evaluators.error_norm_baselines.collect import (
    GROUPS,
    SCALARS,
    NormResiduals,
    NormSums,
    NormSumsCollector,
)
from darkmatter_plugins.evaluators.error_norm_baselines.descriptor import (
    REGRESSORS,
    ErrorNormBaselinesConfig,
)
from darkmatter_plugins.evaluators.error_norm_baselines.groups import GroupSums
from darkmatter_plugins.evaluators.footing import few_rows

NO_VARIANCE = "the error's norm does not vary on the held-out rows (round-off at most)"


class ErrorNormBaselines:
    """The evaluator `error_norm_baselines`."""

    def __init__(self, config: ErrorNormBaselinesConfig) -> None:
        self.config = config
        self._sums = NormSums(config.norm_power)

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """What everything is fitted from."""
        return (self._sums,)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        fitted: NormSumsCollector = ctx.collected(self._sums)
        missing = _missing(fitted)
        spec = self._residuals(ctx, fitted, missing)
        (sums,) = ctx.collect([spec], "test")
        columns = _columns(sums, ctx.info.n_units)
        out.add_columns(columns)
        floor = self._floor(ctx, fitted.test)
        for name in REGRESSORS:
            if name in missing:
                out.undefined(f"r2.{name}", missing[name])
                continue
            out.ratio(
                f"r2.{name}",
                f"{name}_residual_sq",
                "variance",
                complement=True,
                floor=floor,
                undefined=NO_VARIANCE,
            )
        _authors(out, fitted, missing, floor)
        _add_notes(out, ctx, fitted, missing)
        return out

    def _residuals(
        self, ctx: api.EvalContext, fitted: NormSumsCollector, missing: dict[str, str]
    ) -> NormResiduals:
        """The fitted predictions."""
        return NormResiduals(
            power=self.config.norm_power,
            mean=float(fitted.test.mean),
            activations=ctx.info.inputs.factor.solve(fitted.activations),
            lines={name: fitted.scalar_map(name) for name in SCALARS if name not in missing},
            tables={name: fitted.train[name] for name in GROUPS if name not in missing},
            shrinkage={"token": self.config.token_shrinkage, "position_means": 0.0},
            train_mean=fitted.mean,
        )

    def _floor(self, ctx: api.EvalContext, test: Gram) -> float:
        """A variance of y below this is round-off, of the activations or of y itself."""
        share = ctx.info.inputs.total_variance / test.n
        return max(1e-20 * share**self.config.norm_power, 1e-12 * float(test.mean) ** 2) * test.n


def _missing(fitted: NormSumsCollector) -> dict[str, str]:
    """Why predictions cannot be made."""
    no_tokens = len(fitted.train["token"].ids) == 0
    missing = {"token": "the activations come without token ids"} if no_tokens else {}
    if fitted.with_loss == 0:
        missing["loss"] = "the activations come without losses"
    elif fitted.lost:
        missing["loss"] = (
            f"{fitted.lost} of {fitted.with_loss} rows have no loss (the last position of a context has "
            "none: leave it out with skip_last)"
        )
    return missing


def _columns(sums: UnitSums, n_units: int) -> dict[str, np.ndarray]:
    return {
        name if name == "variance" else f"{name}_residual_sq": values
        for name, values in sums.columns(n_units).items()
    }


def _authors(out: api.EvalOutput, fitted: NormSumsCollector, missing: dict[str, str], floor: float) -> None:
    """The token baseline over all rows together, each row among those that predict it."""
    if "token" in missing:
        out.undefined("authors.r2.token", missing["token"])
        return
    tokens = GroupSums.empty()
    tokens.merge(fitted.train["token"])
    tokens.merge(fitted.test_tokens)
    every = Gram(fitted.scalars.n, fitted.scalars.mean[-1:], fitted.scalars.cxx[-1:, -1:].clone())
    every.merge(fitted.test)
    if not every.trace > floor * every.n / fitted.test.n:
        out.undefined("authors.r2.token", NO_VARIANCE)
        return
    why = "the authors' convention, for comparison: training and held-out rows together"
    out.plain("authors.r2.token", min(tokens.between() / every.trace, 1.0), why_no_interval=why)


def _add_notes(
    out: api.EvalOutput, ctx: api.EvalContext, fitted: NormSumsCollector, missing: dict[str, str]
) -> None:
    if "token" not in missing:
        _, seen = fitted.train["token"].place(fitted.test_tokens.ids)
        unseen = float(fitted.test_tokens.count[~seen].sum() / fitted.test.n)
        out.tables["token"] = {"train_ids": len(fitted.train["token"].ids), "unseen_share": unseen}
    flat = [
        name
        for name, square in zip(SCALARS, fitted.scalars.cxx.diagonal().tolist(), strict=False)
        if square == 0 and name not in missing
    ]
    if flat:
        out.notes.append(f"constant on the training rows, so no better than their mean: {', '.join(flat)}")
    out.notes += few_rows(ctx.n_train, ctx.info.d_in, "r2.activations is pessimistic")
