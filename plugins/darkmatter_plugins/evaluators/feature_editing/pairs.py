"""What the model makes of minimal pairs before any SAE edits it; the same for all SAEs at a hook point.

Pairs are run in batches of equal length, so no prompt is padded and every position is a token of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api, sources
from darkmatter_plugins.evaluators.batches import at_once
from darkmatter_plugins.evaluators.feature_editing.descriptor import FeatureEditingConfig


@dataclass(frozen=True)
class PairBatch:
    """B pairs of P tokens each.

    Attributes:
        index: [B] numbers of the pairs among those that count.
        tokens: [B, P] clean prompts.
        changed: [B, P] True from the first token on that differs; before it a causal model is the same.
        x, x_other: [B, P, d_in] what the SAE reads in the clean run and in the counterfactual's.
        y, y_other: [B, P, d_out] what stands where the edit is made.
        gradient: [B, P, d_out] float64, of KL(counterfactual || model) in y at the clean run.
        target: [B, V] float64 log-probabilities of the counterfactual's run at the last position.
        answers: [B, 2] the right and the wrong token.
    """

    index: Tensor
    tokens: Tensor
    changed: Tensor
    x: Tensor
    x_other: Tensor
    y: Tensor
    y_other: Tensor
    gradient: Tensor
    target: Tensor
    answers: Tensor

    def scores(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """KL(counterfactual || prediction) in nats, and the logit difference; [B] float64 on the CPU."""
        last = logits[:, -1].double()
        return divergence(self.target, last).cpu(), difference(last, self.answers).cpu()


@dataclass(frozen=True)
class Pairs:
    """The pairs that count.

    Attributes:
        batches: all of them, ``index`` ascending.
        right: [pairs of the dataset] whether each counts.
        kl, difference: [n, 2] float64, without an edit and with the counterfactual's own activations.
        difference_other: [n] logit difference of the counterfactual's run.
    """

    batches: tuple[PairBatch, ...]
    right: Tensor
    kl: Tensor
    difference: Tensor
    difference_other: Tensor

    def __len__(self) -> int:
        return int(self.right.sum())


def divergence(target: Tensor, last: Tensor) -> Tensor:
    """KL(target || softmax(last)) [B] float64, of log-probabilities and logits [B, V]."""
    # Rounding may leave less than nothing of two equal predictions.
    return (target.exp() * (target - last.log_softmax(1))).sum(1).clamp_min(0)


def difference(last: Tensor, answers: Tensor) -> Tensor:
    """Logit of the right token less that of the wrong one [B]."""
    found = last.gather(1, answers.to(last.device))
    return found[:, 0] - found[:, 1]


def run_pairs(ctx: api.EvalContext, config: FeatureEditingConfig) -> Pairs:
    """The dataset's pairs as the model takes them."""
    task: api.MinimalPairs = ctx.dataset(config.dataset)
    answers = torch.tensor([task.answers, task.wrong]).T
    right = torch.zeros(len(answers), dtype=torch.bool)
    for rows, clean, other in _batches(task, torch.ones_like(right), ctx.model, config.batch):
        right[rows] = _counts(ctx, clean, other, answers[rows], config.right)
    places = right.cumsum(0) - 1
    batches = [
        _batch(ctx, places[rows], clean, other, answers[rows])
        for rows, clean, other in _batches(task, right, ctx.model, config.batch)
    ]
    n = int(right.sum())
    kl, moved, exact = torch.zeros(n, 2).double(), torch.zeros(n, 2).double(), torch.zeros(n).double()
    for batch in batches:
        resumed = ctx.model.resume_at(batch.tokens, ctx.hook_out)
        for column, value in enumerate((None, batch.y_other)):
            kl[batch.index, column], moved[batch.index, column] = batch.scores(resumed.logits(value))
        exact[batch.index] = difference(batch.target, batch.answers).cpu()
    return Pairs(tuple(batches), right, kl, moved, exact)


def _batches(
    task: api.MinimalPairs, wanted: Tensor, model: sources.LanguageModel, most: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Numbers [B] of wanted pairs of one length, their clean and their corrupted tokens [B, P]."""
    lengths = torch.tensor([len(prompt) for prompt in task.clean])
    for length in sorted(set(lengths.tolist())):
        rows = ((lengths == length) & wanted).nonzero().squeeze(1)
        for part in rows.split(at_once(model, length, most)) if len(rows) else ():
            numbers = part.tolist()
            clean, other = ([side[n] for n in numbers] for side in (task.clean, task.corrupted))
            yield part, torch.tensor(clean), torch.tensor(other)


def _counts(ctx: api.EvalContext, clean: Tensor, other: Tensor, answers: Tensor, right: str) -> Tensor:
    """[B] whether the model prefers the right answer where that is asked for."""
    if right == "any":
        return torch.ones(len(clean), dtype=torch.bool)
    found = difference(ctx.model.resume_at(clean, ctx.hook_out).logits()[:, -1], answers) > 0
    if right == "both":
        found &= difference(ctx.model.resume_at(other, ctx.hook_out).logits()[:, -1], answers) < 0
    return found.cpu()


def _batch(ctx: api.EvalContext, index: Tensor, clean: Tensor, other: Tensor, answers: Tensor) -> PairBatch:
    """Both runs of some pairs, and the gradient between them."""
    resumed, resumed_other = (ctx.model.resume_at(tokens, ctx.hook_out) for tokens in (clean, other))
    target = resumed_other.logits()[:, -1].double().log_softmax(1)
    gradient = resumed.gradient(lambda logits: divergence(target, logits[:, -1].double()).sum())
    return PairBatch(
        index=index,
        tokens=clean,
        changed=(clean != other).cummax(1).values.to(gradient.device),
        x=_read(ctx, clean, resumed),
        x_other=_read(ctx, other, resumed_other),
        y=resumed.activations,
        y_other=resumed_other.activations,
        gradient=gradient.double(),
        target=target,
        answers=answers,
    )


def _read(ctx: api.EvalContext, tokens: Tensor, resumed: sources.Resumed) -> Tensor:
    """[B, P, d_in] what the SAE reads: for a transcoder, elsewhere than where it predicts."""
    if ctx.hook == ctx.hook_out:
        return resumed.activations
    return ctx.model.forward(tokens, [ctx.hook]).activations[ctx.hook]
