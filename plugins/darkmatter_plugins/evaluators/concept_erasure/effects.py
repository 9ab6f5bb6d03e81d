"""What edits do to the model: its answers on held-out prompts, its predictions on unrelated text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.batches import at_once
from darkmatter_plugins.evaluators.concept_erasure.edits import Edit, Keep
from darkmatter_plugins.evaluators.concept_erasure.examples import Examples, encoded
from darkmatter_plugins.evaluators.patching import divergence, patch

Edits = Mapping[str, Sequence[Edit]]
Floats = NDArray[np.float64]


def task_scores(
    ctx: api.EvalContext, examples: Examples, edits: Edits, codes: api.Codes | None
) -> dict[str, Floats]:
    """The mean probability [units] of the right answer out of the two, after each edit."""
    assert examples.answers is not None
    two = list(examples.answers)
    sums = {name: np.zeros(examples.n_units) for name in edits}
    counts = np.zeros(examples.n_units)
    row = 0
    for batch in examples.prompts:
        resumed = ctx.model.resume_at(batch.tokens, ctx.hook_out)
        own = resumed.activations
        y = own[batch.edited.to(own.device)].double()
        mine = None if codes is None else codes.rows(row, row + len(y))
        row += len(y)
        unit = batch.unit.numpy()
        np.add.at(counts, unit, 1.0)
        for name, several in edits.items():
            for edit in several:
                logits = resumed.logits(_edited(own, batch.edited, edit, y, mine))
                chances = torch.softmax(logits[:, -1, two].double().cpu(), dim=1)
                right = chances.gather(1, batch.label[:, None])[:, 0].numpy()
                np.add.at(sums[name], unit, right / len(several))
    return {name: total / counts for name, total in sums.items()}


def side_effects(
    ctx: api.EvalContext, edits: Edits, *, contexts: int, batch: int, sae: api.SAE | None
) -> dict[str, Floats]:
    """Sums of KL(own || edited) in nats and rows [2, units]; all held-out rows of the contexts are edited."""
    found: dict[str, list[Tensor]] = {name: [] for name in edits}
    rows_of: list[Tensor] = []
    unit_of: list[Tensor] = []
    positions = next(iter(ctx.contexts(1))).rows.shape[1]
    for each in ctx.contexts(at_once(ctx.model, positions, batch), limit=contexts):
        assert each.tokens is not None
        resumed = ctx.model.resume_at(each.tokens, ctx.hook_out)
        own = resumed.activations
        y = own[each.rows.to(own.device)].double()
        codes = None if sae is None else encoded(sae, each.x[each.rows])
        rows_of.append(each.rows.sum(dim=1))
        unit_of.append(each.unit)
        context = each.rows.nonzero()[:, 0]
        for name, several in edits.items():
            sums = torch.zeros(len(each.index), dtype=torch.float64)
            for edit in several:
                logits = resumed.logits(_edited(own, each.rows, edit, y, codes))
                sums.index_add_(0, context, divergence(resumed.logits(), logits, each.rows))
            found[name].append(sums / len(several))
    # A document of several contexts is one unit: its contexts are not independent.
    unit = torch.cat(unit_of).numpy()
    rows = np.bincount(unit, torch.cat(rows_of).numpy())
    return {
        name: np.stack([np.bincount(unit, torch.cat(parts).numpy()), rows]) for name, parts in found.items()
    }


def _edited(own: Tensor, where: Tensor, edit: Edit, y: Tensor, codes: api.Codes | None) -> Tensor | None:
    """The activations with edited rows; None, the model's own, for no edit."""
    return None if isinstance(edit, Keep) else patch(own, where, edit(y, codes))
