"""Edit a few features, and see whether the model predicts what it would for another prompt.

Of a minimal pair, x is the activation of the clean run at the hook point and x̄ that of its counterfactual
(as many tokens), c and c̄ their codes. For a set F of features, at every position,

    x' = x + Σ_{j in F} (c̄_j - c_j) f_j

so the SAE's error e of the clean run stays. The model goes on from x'; at the last position,

    KL(F)  = KL(prediction of the counterfactual's run || prediction with x')     nats
    edit   = mean over the prompt's tokens (BOS included) of |x' - x|

F = {} gives the model itself and edit 0. With all features |x̄ - x'| = |ē - e|, which is ``distance_all``.
F are the first m = 0, 1, 2, 4, ... features of an order, by default by attribution: (c̄ - c) f . grad KL,
summed over positions, most negative first, the gradient taken once at x. The order is each pair's own:
pairs differ in their names, so one set for all (``order: pooled``, nearer to the paper, which searches one
set on all its prompts) has to hold the features of every name, and then counts names.

    kl_left           Σ KL(m) / Σ KL({}) over pairs, m = ``features``
    area              mean of Σ KL(m) / Σ KL({}) over log2(1 + m), from 0 to log2(1 + ``largest``)
    features_for_half least m with Σ KL(m) <= Σ KL({}) / 2, between sizes a line in log2(1 + m)
    flipped           share of pairs with logit(wrong) > logit(answer) under x'
    moved             Σ (d - d') / Σ (d - d̄), d = logit(answer) - logit(wrong): clean, edited, counterfactual

A pair counts where the model answers both of its prompts right. Intervals are over pairs. Source: Cunningham
et al., whose search, unlike ``order: greedy``, let KL drift and recorded the edit of the last set tried.

``tables``: ``sample`` {dataset, pairs, counted}; ``search`` (greedy) [{threshold, features, kl,
edit}], means over pairs of the accepted sets. ``curves``: ``kl_left``, ``edit``, ``flipped`` {x: features, y,
low, high}; ``kl_left_by_edit`` {x: mean edit, y}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.feature_editing.curves import Crossing, area, sizes
from darkmatter_plugins.evaluators.feature_editing.descriptor import FEATURE_EDITING, FeatureEditingConfig
from darkmatter_plugins.evaluators.feature_editing.edits import (
    Changes,
    changes,
    order_of_pairs,
    pooled_orders,
)
from darkmatter_plugins.evaluators.feature_editing.pairs import Pairs, run_pairs
from darkmatter_plugins.evaluators.feature_editing.search import Accepted, greedy_order

ROUND_OFF = 1e-6
"""A mean KL below this many nats is rounding of float32 logits."""

CURVES = {"kl_left": "kl0", "edit": "pairs", "flipped": "pairs"}
"""What is drawn over the number of features, and what it is a mean over."""


@dataclass
class Edited:
    """What edits of all pairs gave; float64, ``kl``, ``edit`` and ``difference`` [n, sizes + 1].

    The last column is with every feature edited. ``distance`` and ``count`` [n] belong to it; ``exact`` [n]
    is the size of the edit that puts the counterfactual's activations in place.
    """

    kl: Tensor
    edit: Tensor
    difference: Tensor
    distance: Tensor
    count: Tensor
    exact: Tensor
    accepted: list[tuple[Tensor, list[Accepted]]] = field(default_factory=list)

    @classmethod
    def empty(cls, n: int, columns: int) -> Edited:
        """Zeros to be filled in."""
        curves = [torch.zeros(n, columns, dtype=torch.float64) for _ in range(3)]
        ends = [torch.zeros(n, dtype=torch.float64) for _ in range(3)]
        return cls(curves[0], curves[1], curves[2], ends[0], ends[1], ends[2])


class FeatureEditing:
    """The evaluator `feature_editing`."""

    def __init__(self, config: FeatureEditingConfig) -> None:
        self.config = config
        self.sizes = sizes(config.largest, config.features)

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """None: the prompts are its own."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        config = self.config
        pairs: Pairs = ctx.shared(config.model_dump_json(), lambda: run_pairs(ctx, config))
        total, counted = len(pairs.right), len(pairs)
        out = ctx.output(n_rows=counted, n_units=counted, units="pairs")
        out.mean_over("right", pairs.right.double().numpy(), units="pairs of the dataset")
        out.tables["sample"] = {"dataset": config.dataset.name, "pairs": total, "counted": counted}
        if counted < config.least_pairs:
            _all_undefined(out, _too_few(counted, total, config))
        elif float(pairs.kl[:, 0].mean()) <= ROUND_OFF:
            _all_undefined(out, "the model predicts the same after both prompts of the pairs")
        else:
            edited = self._edit(ctx, pairs)
            self._measure(out, pairs, edited)
            if edited.accepted:
                out.tables["search"] = _search_table(edited.accepted)
        return out

    def _edit(self, ctx: api.EvalContext, pairs: Pairs) -> Edited:
        """Run every pair with every number of features."""
        edited = Edited.empty(len(pairs), len(self.sizes) + 1)
        edited.kl[:, 0], edited.difference[:, 0] = pairs.kl[:, 0], pairs.difference[:, 0]
        found = [changes(ctx.sae, batch) for batch in pairs.batches]
        orders = self._orders(ctx, pairs, found, edited)
        for batch, each, ranks in zip(pairs.batches, found, orders, strict=True):
            resumed, index = ctx.model.resume_at(batch.tokens, ctx.hook_out), batch.index
            before = torch.zeros_like(each.differ)
            for column, size in enumerate((*self.sizes[1:], None), start=1):
                kept = each.differ if size is None else each.differ & (ranks < size)
                if torch.equal(kept, before):
                    for values in (edited.kl, edited.edit, edited.difference):
                        values[index, column] = values[index, column - 1]
                else:
                    edit = each.edit(kept)
                    kl, moved = batch.scores(resumed.logits(batch.y.double() + edit))
                    edited.kl[index, column], edited.difference[index, column] = kl, moved
                    edited.edit[index, column] = _size(edit)
                before = kept
            apart = batch.y_other.double() - batch.y.double()
            edited.count[index] = each.differ.sum(1).double().cpu()
            edited.exact[index], edited.distance[index] = _size(apart), _size(apart - each.edit(each.differ))
        return edited

    def _orders(
        self, ctx: api.EvalContext, pairs: Pairs, found: Sequence[Changes], edited: Edited
    ) -> Iterator[Tensor]:
        """Ranks of the features of each batch; the greedy search leaves its accepted sets in ``edited``."""
        if self.config.order == "pooled":
            yield from pooled_orders(found, ctx.sae.d_sae)
            return
        generator = torch.Generator().manual_seed(ctx.seed)
        shape = (len(self.config.thresholds), len(pairs), self.config.candidates)
        draws = torch.rand(shape, generator=generator).argsort(dim=2)
        for batch, each in zip(pairs.batches, found, strict=True):
            ranks = order_of_pairs(each)
            if self.config.order == "greedy":
                resumed = ctx.model.resume_at(batch.tokens, ctx.hook_out)
                drawn = draws[:, batch.index]
                ranks, accepted = greedy_order(batch, each, ranks, resumed, self.config.thresholds, drawn)
                edited.accepted.append((batch.index, accepted))
            yield ranks

    def _measure(self, out: api.EvalOutput, pairs: Pairs, edited: Edited) -> None:
        """Metrics and curves of what was found."""
        config, fixed = self.config, self.sizes.index(self.config.features)
        kl, flipped = edited.kl.numpy(), (edited.difference < 0).double().numpy()
        clean, exact = pairs.difference[:, 0], pairs.difference_other
        columns = {
            "pairs": np.ones(len(kl)),
            "kl0": kl[:, 0],
            "kl_fixed": kl[:, fixed],
            "kl_all": kl[:, -1],
            "kl_exact": pairs.kl[:, 1].numpy(),
            "area": area(kl, self.sizes, config.largest),
            "flipped": flipped[:, fixed],
            "flipped_all": flipped[:, -1],
            "flipped_exact": (pairs.difference[:, 1] < 0).double().numpy(),
            "edit": edited.edit[:, fixed].numpy(),
            "edit_all": edited.edit[:, -1].numpy(),
            "edit_exact": edited.exact.numpy(),
            "distance_all": edited.distance.numpy(),
            "logit_difference": clean.numpy(),
            "logit_difference_exact": exact.numpy(),
            "fall": (clean - edited.difference[:, fixed]).numpy(),
            "fall_exact": (clean - exact).numpy(),
            "features_all": edited.count.numpy(),
        }
        out.add_columns(columns)
        out.ratio("kl_left", "kl_fixed", "kl0")
        out.ratio("area", "area", "kl0")
        half = Crossing(kl[:, :-1] - kl[:, :1] / 2, self.sizes)
        linearised = half.linearised()
        if linearised is None:
            why = f"more than half of the KL is left with any number of features up to {self.sizes[-1]}"
            out.undefined("features_for_half", why)
        else:
            out.statistic("features_for_half", half, linearised, is_smooth=False)
        out.ratio("moved", "fall", "fall_exact", undefined="the answers' logits do not change")
        for name in columns:
            if FEATURE_EDITING.metric(name) is not None and name != "area":
                out.ratio(name, name, "pairs")
        self._add_curves(out, dict(zip(CURVES, (kl, edited.edit.numpy(), flipped), strict=True)))

    def _add_curves(self, out: api.EvalOutput, values: dict[str, np.ndarray]) -> None:
        """What every number of features gives, as metrics and as curves."""
        for kind, columns in values.items():
            points = []
            for column, size in enumerate(self.sizes):
                name = f"{kind}_at[{size}]"
                out.add_columns({name: columns[:, column]})
                out.ratio(name, name, CURVES[kind])
                points.append(out.metrics[-1])
            out.curves[kind] = {
                "x": self.sizes,
                "y": [each.value for each in points],
                "low": [each.ci_low for each in points],
                "high": [each.ci_high for each in points],
            }
        out.curves["kl_left_by_edit"] = {"x": out.curves["edit"]["y"], "y": out.curves["kl_left"]["y"]}


def _size(edit: Tensor) -> Tensor:
    """Mean over tokens of the norm of edits [B, P, d]: [B] on the CPU."""
    size: Tensor = edit.norm(dim=2).mean(1)
    return size.cpu()


def _too_few(counted: int, total: int, config: FeatureEditingConfig) -> str:
    """Why nothing is measured, and what helps."""
    if config.right == "any":
        return f"the dataset has {total} pairs, {config.least_pairs} are needed; raise its `pairs`"
    answered, easier = {"both": ("both prompts", "clean"), "clean": ("the clean prompt", "any")}[config.right]
    return (
        f"the model answers {answered} right in {counted} of {total} pairs, {config.least_pairs} are needed; "
        f"raise the dataset's `pairs`, or set `right: {easier}`"
    )


def _all_undefined(out: api.EvalOutput, why: str) -> None:
    """Every metric undefined but the share of pairs that count."""
    for metric in FEATURE_EDITING.metrics:
        if metric.name != "right" and not metric.name.endswith("[*]"):
            out.undefined(metric.name, why)


def _search_table(accepted: Sequence[tuple[Tensor, list[Accepted]]]) -> list[dict[str, float]]:
    """Means over pairs of the sets that the greedy search accepted, by threshold."""
    rows = []
    for step, first in enumerate(accepted[0][1]):
        sets = [each[step] for _, each in accepted]
        size, kl, edit = (
            float(torch.cat([getattr(each, name).double() for each in sets]).mean())
            for name in ("size", "kl", "edit")
        )
        rows.append({"threshold": first.threshold, "features": size, "kl": kl, "edit": edit})
    return rows
