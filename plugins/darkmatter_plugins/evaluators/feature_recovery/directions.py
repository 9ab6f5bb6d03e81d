"""Where known features point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from darkmatter import api
from darkmatter.stats import Influence
from darkmatter_plugins.auroc import area
from darkmatter_plugins.cosines import nonzero
from darkmatter_plugins.evaluators.feature_recovery.collect import (
    ConceptMeans,
    ConceptMeansCollector,
    ConceptRows,
    ConceptRowsCollector,
    ConceptTable,
)
from darkmatter_plugins.evaluators.feature_recovery.descriptor import FeatureRecoveryConfig
from darkmatter_plugins.evaluators.rows import RowBudget

FEATURES = "features"


def true_features(ctx: api.EvalContext, config: FeatureRecoveryConfig) -> Tensor | str:
    """The true features [k, d_out] of a file or of an SAE of the run, or why they are none of this SAE's.

    Raises:
        ItemError: they are not there.
    """
    if config.truth is not None:
        path = Path(config.truth)
        rows = api.FileView(path).weights(path.name).take(FEATURES, None, None).double()
    else:
        rows = _decoder(ctx, config.truth_sae).double()
    directed = rows[nonzero(rows)]
    if rows.shape[1] != ctx.info.d_out or not len(directed):
        return (
            f"the true features are {list(rows.shape)}; expected rows in R^{ctx.info.d_out} other than zero"
        )
    return directed


def _decoder(ctx: api.EvalContext, name: str | None) -> Tensor:
    for each in (ctx.subject, *ctx.family, *ctx.others):
        if each.name == name and each.sae.W_dec is not None:
            return each.sae.W_dec
    message = f"truth_sae: there is no SAE {name!r} with a decoder matrix in this run"
    raise api.ItemError(message)


def contrast(means: Tensor) -> Tensor:
    """Directions [C, d]: each concept's mean less the mean of the other concepts' means [C, d], C > 1."""
    others = (means.sum(dim=0) - means) / (len(means) - 1)
    return means - others


@dataclass(frozen=True, eq=False)
class Group:
    """The concepts of a group that show often enough, and the held-out rows that show them.

    Attributes:
        name: the group's name.
        row: its place in the table.
        concepts: [C] places of its concepts in the table.
        directions: [C, d] float64 from training rows.
        at: [n] which of the held-out rows that are kept show one.
        local: [n] which concept they show, 0 to C - 1.
        x: [n, d] the target there.
        unit: [n] their resampling units.
        n_units: how many units there are.
    """

    name: str
    row: int
    concepts: Tensor
    directions: Tensor
    at: Tensor
    local: Tensor
    x: Tensor
    unit: Tensor
    n_units: int

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """Means [C, d] and counts [C] of the held-out rows."""
        count = torch.bincount(self.local, minlength=len(self.concepts)).double()
        total = torch.zeros_like(self.directions).index_add_(0, self.local, self.x.double())
        return total / count[:, None], count

    def cosines(self, latents: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Cosines [C] of one vector [C, d] per concept with its held-out direction, contributions [units, C].

        The direction is a difference of means, so the cosine moves with a row's residual r from its
        concept's mean by ±r·(v̂ - cos d̂)/(n |d|).
        """
        means, count = self.held_out
        direction, unit = contrast(means), normalize(latents.double())
        size = direction.norm(dim=1, keepdim=True)
        cosine = (unit * direction / size).sum(dim=1)
        slope = (unit - cosine[:, None] * direction / size) / size
        moved = (self.x.double() - means[self.local]) @ slope.T / count[self.local][:, None]
        own = self.local[:, None] == torch.arange(len(count))
        moved = torch.where(own, moved, -moved / (len(count) - 1))
        sums = torch.zeros(self.n_units, len(count), dtype=torch.float64).index_add_(0, self.unit, moved)
        return cosine.clamp(-1, 1).numpy(), sums.numpy()

    @cached_property
    def agreement(self) -> list[Influence]:
        """Cosine of each concept's training direction with its held-out one."""
        cosine, sums = self.cosines(self.directions)
        return [Influence(float(value), sums[:, place]) for place, value in enumerate(cosine)]

    @cached_property
    def along_directions(self) -> list[Influence]:
        """AUROC of each concept's tokens along its training direction, held out."""
        return self.aurocs((self.x.double() @ self.directions.T).numpy())

    def aurocs(self, scores: np.ndarray) -> list[Influence]:
        """AUROC of one score per concept [n, C] for its rows against the group's other rows."""
        local, unit, found = self.local.numpy(), self.unit.numpy(), []
        for place in range(len(self.concepts)):
            each = area(scores[:, place], local == place, unit, self.n_units)
            assert each is not None  # a group has rows of two concepts or more
            found.append(each)
        return found


@dataclass(frozen=True, eq=False)
class Concepts:
    """Known features from concepts: the same for every SAE.

    ``counts`` [2, C] are rows in training and held out; ``left_out`` names concepts and groups that show
    too seldom.
    """

    table: ConceptTable
    budget: RowBudget
    groups: Sequence[Group]
    counts: Tensor
    left_out: Sequence[str]
    n_rows: int


def concepts(ctx: api.EvalContext, config: FeatureRecoveryConfig) -> Concepts:
    """Directions of all concepts from the training rows, and the held-out rows that show them."""
    assert config.concepts is not None
    table = ConceptTable.of(ctx.dataset(config.concepts).groups)
    train, test = (ctx.collect([ConceptMeans(table)], rows)[0] for rows in ("train", "test"))
    budget = RowBudget(config.max_rows, ctx.seed, train.rows, test.rows)
    (kept,) = ctx.collect([ConceptRows(table, budget, keep="targets")], "test")
    (trained,) = ctx.collect([ConceptRows(table, budget, keep="labels")], "train")
    shown = _joined(kept)
    counts = torch.stack([train.counts, test.counts])
    enough = (counts >= config.min_rows).all(dim=0)
    for drawn in (shown, _joined(trained)):
        enough &= torch.bincount(drawn[drawn >= 0], minlength=len(table.names)) > 0
    left_out = [_full(table, index) for index in (~enough).nonzero().flatten().tolist()]
    groups = []
    for row, name in enumerate(table.group_names):
        found = (enough & (table.groups == row)).nonzero().flatten()
        if len(found) < 2:
            left_out.append(f"all of {name}")
            continue
        groups.append(_group(ctx, table, row, found, train, kept, shown))
    return Concepts(table, budget, groups, counts, left_out, shown.shape[1])


def _group(
    ctx: api.EvalContext,
    table: ConceptTable,
    row: int,
    found: Tensor,
    train: ConceptMeansCollector,
    kept: ConceptRowsCollector,
    shown: Tensor,
) -> Group:
    at, local = rows_of(shown[row], found)
    return Group(
        table.group_names[row],
        row,
        found,
        contrast(train.sums[found] / train.counts[found][:, None]),
        at,
        local,
        torch.cat(kept.targets)[at],
        torch.cat(kept.unit)[at],
        ctx.info.n_units,
    )


def rows_of(shown: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows of ``shown`` [n] show one of some concepts [C] (ascending), and which [m], 0 to C - 1."""
    at = torch.isin(shown, concepts).nonzero().flatten()
    return at, torch.searchsorted(concepts, shown[at])


def _joined(kept: ConceptRowsCollector) -> Tensor:
    empty = torch.empty(len(kept.spec.table.group_names), 0, dtype=torch.int64)
    return torch.cat([empty, *kept.shown], dim=1)


def _full(table: ConceptTable, index: int) -> str:
    return f"{table.group_names[int(table.groups[index])]}/{table.names[index]}"
