"""Take a concept out of the activations, and see whether it is gone and what else is.

Rows y [n, d] at the hook point with a label z, 0 or 1, are split by group: names of a dataset's prompts, 60%
for training, or contexts of raw activations. With μ the mean, Δ the difference of the class means and Σ the
covariance of the training rows, the edits are

    latent             y - f fᵀ(y - μ)            f the unit decoder row of the chosen latent
    latents            y - U Uᵀ(y - μ)            U an orthonormal basis of several of them
    latent_subtracted  y - c_f f                  where the latent is active, c_f its code: less than rank one
    mean_difference    y - u uᵀ(y - μ)            u = Δ / |Δ|
    leace              y - Δ wᵀ(y - μ) / wᵀΔ      w = Σ⁺Δ
    random             y - r rᵀ(y - μ)            r a random unit vector, the mean over several
    none               y

(``centre: false`` takes projections about 0, as the authors do.) Latents are ranked on the training rows,
see ``choosing``. Positions of a prompt that are fitted, edited and probed are those of ``positions``; on
unrelated text every held-out row is edited. Measured on held-out groups, with intervals over groups:

    probe_auroc        AUROC of a linear discriminant fitted on the edited training rows
    probe_auroc_fresh  AUROC of discriminants fitted on the edited rows of other held-out groups
    direction_auroc    AUROC, before the edit, of what it reads (f·y, c_f, Δ·y, w·y, r·y)
    task               mean P(right answer) / P(either answer) after the prompt, edited at the hook point
    edit               mean |y' - y| over edited positions; edit_frobenius: mean over prompts of √Σ|y' - y|²
    kl                 mean KL(own || edited) over rows of held-out contexts, intervals over their documents
                       (contexts, where a document is no more than one)

Where the class means of the training rows coincide, as they do after `leace` and `mean_difference`, no
linear probe fitted on these rows is better than a constant, whatever there is to learn elsewhere:
``probe_auroc`` is then 1/2 by ties and its interval has no width. ``probe_auroc_fresh`` tells whether the
concept is gone for a probe that did not share the edit's names. The authors fit, choose and score on the
same prompts. Without a model `task` and `kl` are undefined.

``tables``: ``sample`` (counts), ``latents`` (chosen ones, best first), ``fit`` (per method, on the training
rows: gap of the class means, largest covariance with the label, mean squared edit; and ``before``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from darkmatter import api
from darkmatter.stats import Influence
from darkmatter_plugins.auroc import Pairs
from darkmatter_plugins.evaluators.concept_erasure.choosing import Chosen, choose, decoder_rows
from darkmatter_plugins.evaluators.concept_erasure.descriptor import CONCEPT_ERASURE, ConceptErasureConfig
from darkmatter_plugins.evaluators.concept_erasure.edits import (
    ClassMoments,
    Edit,
    Keep,
    SubtractLatent,
    gaps,
    leace,
    projection,
    random_directions,
)
from darkmatter_plugins.evaluators.concept_erasure.effects import side_effects, task_scores
from darkmatter_plugins.evaluators.concept_erasure.examples import Examples, from_labels, from_prompts
from darkmatter_plugins.evaluators.concept_erasure.probing import (
    GUARDED,
    compare,
    fresh_area,
    held_out_area,
    mean_influence,
)

Floats = NDArray[np.float64]
Edits = Mapping[str, Sequence[Edit]]

NO_MODEL = "raw activations come without a model"


@dataclass(frozen=True)
class Measured:
    """What one kind of edit does.

    ``areas`` has the AUROCs by metric; ``edit`` and ``rows`` are sums per unit, ``frobenius`` and
    ``prompts`` too; ``task`` is a mean per unit, ``kl`` [2, units] sums and rows per unit of the run's text.
    """

    areas: Mapping[str, Influence | None]
    edit: Floats
    rows: Floats
    frobenius: Floats
    prompts: Floats
    task: Floats | None
    kl: Floats | None
    fit: Mapping[str, float]


@dataclass(frozen=True)
class Common:
    """What is the same for every SAE at these hook points."""

    examples: Examples
    moments: ClassMoments
    measured: Mapping[str, Measured]


class ConceptErasure:
    """The evaluator `concept_erasure`."""

    def __init__(self, config: ConceptErasureConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Nothing rides the shared pass."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        common = ctx.shared(self.config.model_dump_json(), lambda: self._common(ctx))
        examples = common.examples
        train, test = examples.train.encoded(ctx.sae), examples.test.encoded(ctx.sae)
        examples = Examples(train, test, examples.n_units, examples.units, examples.prompts, examples.answers)
        chosen = choose(ctx.sae, train, common.moments, self.config)
        edits = self._of_latents(ctx.sae, chosen, common.moments)
        measured = dict(common.measured) | self._measure(ctx, examples, common.moments, edits)
        return self._report(ctx, examples, common, chosen, measured)

    # -- edits ----------------------------------------------------------------------------------------

    def _common(self, ctx: api.EvalContext) -> Common:
        """Examples, and every edit that needs no SAE."""
        from_model = ctx.tokenizer is not None
        examples = from_prompts(ctx, self.config) if from_model else from_labels(ctx, self.config)
        moments = ClassMoments.of(examples.train.y, examples.train.label)
        if not float(moments.difference.norm()) > GUARDED * float(moments.mean.norm()):
            message = "the class means of the training rows are the same: there is no direction to take out"
            raise api.ItemError(message)
        d = len(moments.mean)
        edits: Edits = {
            "none": [Keep()],
            "mean_difference": [self._projection(moments.difference[None, :], moments)],
            "leace": [leace(moments)],
            "random": [
                self._projection(each, moments)
                for each in random_directions(d, self.config.random_seeds, ctx.seed)
            ],
        }
        return Common(examples, moments, self._measure(ctx, examples, moments, edits))

    def _of_latents(self, sae: api.SAE, chosen: Sequence[Chosen], moments: ClassMoments) -> Edits:
        """Edits by the SAE's latents; none without an active one."""
        if not chosen:
            return {}
        rows = decoder_rows(sae, [each.latent for each in chosen])
        return {
            "latent": [self._projection(rows[:1], moments)],
            "latents": [self._projection(rows, moments)],
            "latent_subtracted": [SubtractLatent(sae, chosen[0].latent)],
        }

    def _projection(self, directions: torch.Tensor, moments: ClassMoments) -> Edit:
        centre = moments.mean if self.config.centre else torch.zeros_like(moments.mean)
        return projection(directions, centre)

    # -- measures -------------------------------------------------------------------------------------

    def _measure(
        self, ctx: api.EvalContext, examples: Examples, moments: ClassMoments, edits: Edits
    ) -> dict[str, Measured]:
        """All edits on the held-out groups, and on unrelated text."""
        tasks: Mapping[str, Floats] = {}
        effects: Mapping[str, Floats] = {}
        if examples.answers is not None and edits:
            codes = examples.test.codes
            tasks = task_scores(ctx, examples, edits, codes)
            if self.config.contexts:
                changing = {name: each for name, each in edits.items() if name != "none"}
                sae = None if codes is None else ctx.sae
                effects = side_effects(
                    ctx, changing, contexts=self.config.contexts, batch=self.config.batch, sae=sae
                )
        return {
            name: self._measured(examples, moments, several, tasks.get(name), effects.get(name))
            for name, several in edits.items()
        }

    def _measured(
        self,
        examples: Examples,
        moments: ClassMoments,
        edits: Sequence[Edit],
        task: Floats | None,
        kl: Floats | None,
    ) -> Measured:
        train, test, n_units = examples.train, examples.test, examples.n_units
        ridge, least = self.config.ridge, GUARDED * float(moments.difference.norm())
        areas: dict[str, list[Influence | None]] = {
            "probe_auroc": [], "probe_auroc_fresh": [], "direction_auroc": []
        }  # fmt: skip
        edit_size, frobenius = np.zeros(n_units), np.zeros(n_units)
        unit, prompt = test.unit.numpy(), test.prompt.numpy()
        for edit in edits:
            fitted = edit(train.y, train.codes), train.label
            edited = edit(test.y, test.codes), test.label
            areas["probe_auroc"].append(held_out_area(fitted, edited, test.unit, n_units, ridge, least))
            areas["probe_auroc_fresh"].append(
                fresh_area(edited, test.unit, n_units, self.config.folds, ridge)
            )
            areas["direction_auroc"].append(_direction_area(edit, examples))
            squared = (edited[0] - test.y).square().sum(dim=1).numpy()
            np.add.at(edit_size, unit, np.sqrt(squared) / len(edits))
            per_prompt = np.sqrt(np.bincount(prompt, squared))
            np.add.at(frobenius, _unit_of_prompt(prompt, unit), per_prompt / len(edits))
        return Measured(
            {name: mean_influence(each) for name, each in areas.items()},
            edit_size,
            np.bincount(unit, minlength=n_units).astype(np.float64),
            frobenius,
            np.bincount(_unit_of_prompt(prompt, unit), minlength=n_units).astype(np.float64),
            task,
            kl,
            gaps(edits, train.y, train.label, train.codes),
        )

    # -- results --------------------------------------------------------------------------------------

    def _report(
        self,
        ctx: api.EvalContext,
        examples: Examples,
        common: Common,
        chosen: Sequence[Chosen],
        measured: Mapping[str, Measured],
    ) -> api.EvalOutput:
        out = ctx.output(n_rows=len(examples.test.y), n_units=examples.n_units, units=examples.units)
        why = (
            f"no latent is active on {self.config.min_rate:.0%} of the training rows, or only latents whose "
            "decoder row is zero"
        )
        for metric in CONCEPT_ERASURE.metrics:
            name, method = metric.name.split(".")
            if method in measured:
                found = measured[method]
                if name == "kl" and found.kl is not None:
                    out.metrics.append(_side_effect(ctx, metric.name, *found.kl))
                else:
                    _add(out, name, method, found, has_model=examples.answers is not None)
            else:
                out.undefined(metric.name, why)
        out.notes.append(
            "probe_auroc.leace and probe_auroc.mean_difference are 1/2 by construction: after these edits "
            "the class means of the training rows coincide, and the probe fitted on these rows is constant. "
            "Whether the concept is gone is said by probe_auroc_fresh.*"
        )
        out.tables["latents"] = [each.record() for each in chosen]
        out.tables["fit"] = {name: dict(each.fit) for name, each in measured.items()}
        out.tables["sample"] = _sample(examples, common.moments)
        return out


def _add(out: api.EvalOutput, name: str, method: str, found: Measured, *, has_model: bool) -> None:
    """One metric of one method."""
    full = f"{name}.{method}"
    if name.endswith(("auroc", "fresh")):
        area = found.areas[name]
        if area is None:
            out.undefined(full, "no probe could be fitted and compared on both labels of the held-out groups")
        else:
            out.statistic(full, area, area)
    elif name in {"edit", "edit_frobenius"}:
        top, bottom = (found.edit, found.rows) if name == "edit" else (found.frobenius, found.prompts)
        out.add_columns({full: top, f"{full}:count": bottom})
        out.ratio(full, full, f"{full}:count")
    elif not has_model:
        out.undefined(full, NO_MODEL)
    elif name == "task":
        assert found.task is not None
        out.add_columns({full: found.task, f"{full}:count": np.ones(len(found.task))})
        out.ratio(full, full, f"{full}:count")
    else:
        out.undefined(full, "no contexts were asked for")


def _side_effect(ctx: api.EvalContext, name: str, total: Floats, rows: Floats) -> api.MetricValue:
    """A mean over rows of the run's text, whose units are not the names of the other metrics."""
    beside = ctx.output(n_rows=int(rows.sum()), n_units=len(rows))
    beside.add_columns({"kl": total, "rows": rows})
    beside.ratio(name, "kl", "rows")
    return beside.metrics[-1]


def _direction_area(edit: Edit, examples: Examples) -> Influence | None:
    """The area of what an edit reads, the sign taken from the training rows."""
    train, test = examples.train, examples.test
    known, scores = edit.score(train.y, train.codes), edit.score(test.y, test.codes)
    if known is None or scores is None:
        return None
    towards = known[train.label == 1].mean() - known[train.label == 0].mean()
    pairs = Pairs.none(examples.n_units)
    compare(pairs, scores if towards >= 0 else -scores, test.label, test.unit)
    return pairs.area()


def _unit_of_prompt(prompt: NDArray[np.int64], unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """[prompts] the unit that each prompt belongs to."""
    _, first = np.unique(prompt, return_index=True)
    return unit[first]


def _sample(examples: Examples, moments: ClassMoments) -> dict[str, Any]:
    return {
        "units": examples.units,
        "held_out_units": examples.n_units,
        "training_rows": len(examples.train.y),
        "held_out_rows": len(examples.test.y),
        "training_prompts": int(examples.train.prompt.max()) + 1,
        "held_out_prompts": int(examples.test.prompt.max()) + 1,
        "difference_norm": float(moments.difference.norm()),
        "answers": None if examples.answers is None else list(examples.answers),
    }
