"""FVU against L0 of a family's SAEs, beside baselines at the same L0.

With x̄ the mean of the held-out rows, m that of the training rows and x̃ = x - m:

    fvu[SAE]       = Σ|x - Sae(x)|² / Σ|x - x̄|²                   as `reconstruction`
    fvu.B(k)       = Σ|x - B_k(x)|² / Σ|x - x̄|²                   on the same rows, for a grid of k
    fvu.B[SAE]     = fvu.B at the SAE's L0;   ratio.B[SAE] = fvu[SAE] / fvu.B[SAE]
    l0.B[SAE]      = the L0 at which fvu.B is fvu[SAE]             (pca, pca_topk)
    area.B         = mean over log L0 (below 1: over L0 - 1) of fvu.B - frontier

B_k(x) = m + what k codes make of x̃: ``pca``, the k leading principal components; ``pca_topk`` and
``identity``, the k largest of all principal scores and of all coordinates, by size; ``identity_relu``, the k
largest positive coordinates; ``random`` and ``ica``, the k largest by size of 8 d random unit directions,
times one factor per k fitted on training rows, and of independent components. Everything is fitted on
training rows, as the controls of the same names are. Where every token has k active codes, L0 is k, and
the grid holds the whole numbers on both sides of every SAE's L0: exact at a whole L0, between two
neighbouring ones straight in log L0. `identity_relu` may have fewer than k; its curve stands at its measured
L0s and is read straight in log L0 between them. L0s are held fixed when contexts are resampled.

The frontier runs straight in log L0 through, at the L0 of every SAE, the lowest FVU of the SAEs whose L0 is
no larger. The area is taken from the smallest to the largest L0 of the family, as far as the baseline goes,
and divided by the length of that range in log L0, so that it is in units of FVU; above 0 the family is
better. It is undefined for one SAE, and where all L0s are within 10%: a note then names the ratios.

The authors' PCA with signed pairs of directions (k largest positive scores), their "dynamic" PCA (k largest
by size) and top-k of non-negative PCA are one curve, ``pca_topk``. Theirs are not centred; these are.

Tables: ``members`` {names, architectures, widths, l0s, fvu}. Curves: one per baseline, {x: L0, y: FVU}.
Source: Cunningham et al., FVU against sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from darkmatter import api
from darkmatter_plugins.evaluators.families import beside, by_width
from darkmatter_plugins.evaluators.footing import ROUNDING
from darkmatter_plugins.evaluators.fvu_l0_curve.collect import CurveCollector, CurveSums
from darkmatter_plugins.evaluators.fvu_l0_curve.curve import Area, matched, reading
from darkmatter_plugins.evaluators.fvu_l0_curve.descriptor import FvuL0CurveConfig
from darkmatter_plugins.evaluators.fvu_l0_curve.dictionaries import fit
from darkmatter_plugins.evaluators.ratios import Floats, FunctionOfRatios

CONSTANT = "the activations do not vary on the held-out rows"
INVERTED = ("pca", "pca_topk")


class FvuL0Curve:
    """The evaluator `fvu_l0_curve`."""

    def __init__(self, config: FvuL0CurveConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """The grid needs the L0s of all members first."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        members = by_width(ctx.family)
        l0s = np.array([each.l0 for each in members])
        same = ctx.hook_out == ctx.hook
        baselines = fit(self.config, ctx, l0s.tolist()) if same else {}
        names = tuple(each.name for each in members)
        found: CurveCollector
        (found,) = ctx.collect([CurveSums(ctx.subject.name, names, baselines)], "test", beside(ctx, members))
        family = _Family(ctx.output(), names, l0s, found)
        family.add_members(members)
        if not same:
            for name in dict.fromkeys(self.config.baselines):
                family.give_up(
                    name, "the baselines give back what they read; these SAEs predict something else"
                )
        for fitted, baseline in baselines.items():
            active = found.active[fitted].numpy() / max(found.n, 1)
            family.add_baseline(fitted, active, [f"{fitted}/{k}" for k in baseline.k.tolist()])
        family.note_without_areas()
        return family.out


class _Family:
    """The family's output, as baseline after baseline is held against it."""

    def __init__(self, out: api.EvalOutput, names: Sequence[str], l0s: Floats, found: CurveCollector) -> None:
        self.out, self.names, self.l0s = out, names, l0s
        self.sums = found.sums.columns(out.n_units)
        kept = ("variance", "target_sq", *map(_error, names))
        out.add_columns({name: self.sums[name] for name in kept})
        self.floor = ROUNDING * float(self.sums["target_sq"].sum())
        self.varies = float(self.sums["variance"].sum()) > self.floor

    def add_members(self, members: Sequence[api.EncodedSAE]) -> None:
        """FVU of every member."""
        for name in self.names:
            self.out.ratio(f"fvu[{name}]", _error(name), "variance", floor=self.floor, undefined=CONSTANT)
        self.out.tables["members"] = {
            "names": list(self.names),
            "architectures": [each.sae.metadata.architecture for each in members],
            "widths": [each.sae.d_sae for each in members],
            "l0s": self.l0s.tolist(),
            "fvu": [metric.value for metric in self.out.metrics],
        }

    def add_baseline(self, name: str, l0s: Floats, columns: Sequence[str]) -> None:
        """Everything about one baseline, whose curve has points at ``l0s`` with these sums."""
        points = np.stack([self.sums[column] for column in columns], axis=1)
        if not self.varies:
            self.give_up(name, CONSTANT)
            return
        self._at_members(name, l0s, points)
        if name in INVERTED:
            self._inverted(name, l0s, points)
        self._area(name, l0s, points)
        fvus = points.sum(axis=0) / self.sums["variance"].sum()
        # L0 = 0 has no place on a logarithmic axis.
        shown = l0s > 0
        self.out.curves[name] = {
            "x": l0s[shown].tolist(),
            "y": fvus[shown].tolist(),
            "x_label": "L0",
            "y_label": "FVU",
        }

    def give_up(self, name: str, reason: str) -> None:
        """A baseline that cannot be held against the family."""
        kinds = ["fvu", "ratio", *(["l0"] if name in INVERTED else [])]
        of_members = [f"{kind}.{name}[{each}]" for kind in kinds for each in self.names]
        for metric in (f"area.{name}", *of_members):
            self.out.undefined(metric, reason)

    def note_without_areas(self) -> None:
        """Where no area says anything, as of one SAE, each SAE at its own L0 still does: where to look."""
        areas = [each for each in self.out.metrics if each.name.startswith("area.")]
        if all(each.value is None for each in areas):
            self.out.notes.append(
                "there is no area, but each SAE has a ratio to the baselines at its own L0: "
                "`darkmatter table DIR --metrics 'fvu_l0_curve.ratio.*'`"
            )

    def _at_members(self, name: str, l0s: Floats, points: Floats) -> None:
        """The baseline's FVU at every member's L0, and the ratio."""
        for member, l0, weights in zip(self.names, self.l0s, reading(l0s, self.l0s), strict=True):
            fvu, ratio = f"fvu.{name}[{member}]", f"ratio.{name}[{member}]"
            if np.isnan(weights).any():
                why = f"its curve ends at L0 {l0s.max():.4g}, below the SAE's {l0:.4g}"
                self.out.undefined(fvu, why)
                self.out.undefined(ratio, why)
                continue
            column = f"error_sq.{name}[{member}]"
            self.out.columns[column] = points @ weights
            self.out.ratio(fvu, column, "variance", floor=self.floor, undefined=CONSTANT)
            nothing = "the baseline misses nothing at that L0 (round-off at most)"
            self.out.ratio(ratio, _error(member), column, floor=self.floor, undefined=nothing)

    def _inverted(self, name: str, l0s: Floats, points: Floats) -> None:
        """The L0 at which the baseline reaches every member's FVU."""
        why = "the SAE is no better than the mean"
        for member in self.names:
            self._statistic(
                f"l0.{name}[{member}]",
                np.column_stack([self.sums[_error(member)], points]),
                lambda y: matched(l0s, y[:, 1:], y[:, 0]),
                why,
            )

    def _area(self, name: str, l0s: Floats, points: Floats) -> None:
        """The area between the frontier and the baseline's curve."""
        area = Area.between(self.l0s, l0s)
        if isinstance(area, str):
            self.out.undefined(f"area.{name}", area)
            return
        count = len(self.names)
        errors = np.stack([self.sums[_error(member)] for member in self.names], axis=1)
        self._statistic(
            f"area.{name}",
            np.column_stack([errors, points]),
            lambda y: area.of(y[:, :count], y[:, count:]),
            CONSTANT,
        )

    def _statistic(
        self, name: str, numerators: Floats, function: Callable[[Floats], Floats], undefined: str
    ) -> None:
        statistic = FunctionOfRatios(numerators, self.sums["variance"], function)
        if not np.isfinite(function(statistic.ratios[None])[0]):
            self.out.undefined(name, undefined)
            return
        self.out.statistic(name, statistic, statistic.linearised())


def _error(name: str) -> str:
    """The column of Σ|e|² of a member."""
    return f"error_sq[{name}]"
