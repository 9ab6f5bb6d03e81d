"""Rows with a binary label, split by group: prompts of a dataset, or labelled raw activations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.concept_erasure.descriptor import ConceptErasureConfig
from darkmatter_plugins.evaluators.rows import RowBudget

TRAIN_SHARE = 0.6
DENSE_CODES = 1 << 25
"""Codes that an encoder may have to write out at a time (128 MB of float32)."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows of one side of the split.

    Attributes:
        x: [n, d_in] float32, what the SAE reads.
        y: [n, d] float64, what is edited: at the hook point that the SAE predicts.
        label: [n] int64, 0 or 1.
        unit: [n] int64, the group of each row: a name, or a context.
        prompt: [n] int64, the prompt or context of each row, from 0 up.
        codes: the rows' codes; None until an SAE has encoded them.
    """

    x: Tensor
    y: Tensor
    label: Tensor
    unit: Tensor
    prompt: Tensor
    codes: api.Codes | None = None

    def encoded(self, sae: api.SAE) -> LabelledRows:
        """The same with an SAE's codes."""
        return replace(self, codes=encoded(sae, self.x))


def encoded(sae: api.SAE, x: Tensor) -> api.Codes:
    """Codes of rows x [n, d_in], a few rows at a time where the SAE is wide."""
    assert sae.W_dec is not None  # the evaluator requires a decoder
    rows = max(1, DENSE_CODES // max(1, sae.d_sae))
    with sae.exclusive():
        parts = [sae.encode(part.to(sae.W_dec.device, torch.float32)) for part in torch.split(x, rows)]
    return api.Codes.cat([part.to("cpu") for part in parts])


@dataclass(frozen=True)
class HeldOutPrompts:
    """Prompts of equal length, for the task.

    Attributes:
        tokens: [B, P].
        label: [B] the right answer.
        edited: [B, P] True at the positions that are edited.
        unit: [B] the name.
    """

    tokens: Tensor
    label: Tensor
    edited: Tensor
    unit: Tensor


@dataclass(frozen=True)
class Examples:
    """Both sides of the split.

    Attributes:
        train, test: rows.
        n_units: groups among the test rows, numbered so that numbers of one label follow each other.
        units: what a group is, in the plural.
        prompts: held-out prompts in batches; none for raw activations.
        answers: tokens for labels 0 and 1; None for raw activations.
    """

    train: LabelledRows
    test: LabelledRows
    n_units: int
    units: str
    prompts: Sequence[HeldOutPrompts] = ()
    answers: tuple[int, int] | None = None


# -- prompts ----------------------------------------------------------------------------------------


def from_prompts(ctx: api.EvalContext, config: ConceptErasureConfig) -> Examples:
    """The dataset's prompts: 60% of the names of each label for training, drawn by the seed."""
    task: api.LabelledPrompts = ctx.dataset(config.dataset)
    train, test = _split(task, ctx.seed)
    numbers = {name: index for index, name in enumerate(test)}
    sides = []
    for names in (set(train), set(test)):
        batches = list(_batches(task, names, numbers, config))
        sides.append((batches, _rows(ctx, batches)))
    (_, train_rows), (batches, test_rows) = sides
    return Examples(train_rows, test_rows, len(test), "names", tuple(batches), task.answers)


def _split(task: api.LabelledPrompts, seed: int) -> tuple[list[str], list[str]]:
    """Names of the training and of the held-out side, those of label 0 first."""
    label_of = dict(zip(task.groups, task.labels, strict=True))
    train, test = [], []
    for label in (0, 1):
        names = sorted(name for name, each in label_of.items() if each == label)
        random.Random(f"{seed}/names/{label}").shuffle(names)  # noqa: S311 - no secret
        cut = round(TRAIN_SHARE * len(names))
        if min(cut, len(names) - cut) < 2:
            message = f"{len(names)} names with label {label}: 4 are needed, two to train and two to hold out"
            raise api.ItemError(message)
        train += names[:cut]
        test += names[cut:]
    return train, test


def _batches(
    task: api.LabelledPrompts, names: set[str], numbers: dict[str, int], config: ConceptErasureConfig
) -> Iterator[HeldOutPrompts]:
    """Prompts of some names in batches of one length, short ones first."""
    mine = [index for index, name in enumerate(task.groups) if name in names]
    by_length: dict[int, list[int]] = {}
    for index in mine:
        by_length.setdefault(len(task.prompts[index]), []).append(index)
    for length in sorted(by_length):
        for start in range(0, len(by_length[length]), config.batch):
            some = by_length[length][start : start + config.batch]
            yield HeldOutPrompts(
                torch.tensor([list(task.prompts[index]) for index in some]),
                torch.tensor([task.labels[index] for index in some]),
                torch.stack([_edited(task, index, config.positions) for index in some]),
                torch.tensor([numbers.get(task.groups[index], -1) for index in some]),
            )


def _edited(task: api.LabelledPrompts, index: int, positions: str) -> Tensor:
    """[P] True at the positions of one prompt that are edited."""
    where = torch.arange(len(task.prompts[index]))
    name = task.spans[index][0]
    first = {"name": name, "last": len(where) - 1, "all": min(1, name)}[positions]
    return where >= first


def _rows(ctx: api.EvalContext, batches: Sequence[HeldOutPrompts]) -> LabelledRows:
    """What the model has at the edited positions."""
    found = []
    prompt = 0
    for batch in batches:
        forward = ctx.model.forward(batch.tokens, sorted({ctx.hook, ctx.hook_out}))
        x, y = (forward.activations[hook].cpu()[batch.edited] for hook in (ctx.hook, ctx.hook_out))
        of_prompt, _ = batch.edited.nonzero(as_tuple=True)
        found.append(
            (x.float(), y.double(), batch.label[of_prompt], batch.unit[of_prompt], prompt + of_prompt)
        )
        prompt += len(batch.tokens)
    x, y, label, unit, number = (torch.cat(column) for column in zip(*found, strict=True))
    return LabelledRows(x, y, label, unit, number)


# -- raw activations --------------------------------------------------------------------------------


def from_labels(ctx: api.EvalContext, config: ConceptErasureConfig) -> Examples:
    """Labelled rows of the cache, split as everywhere by context.

    Raises:
        ItemError: the labels are not binary, or one side has only one of them.
    """
    budget = RowBudget.of(ctx, config.max_rows)
    train, test = _labelled(ctx, budget, "train"), _labelled(ctx, budget, "test")
    values = sorted(set(train.label.tolist()) | set(test.label.tolist()))
    if values != [0, 1] or not all(0 < int(side.label.sum()) < len(side.label) for side in (train, test)):
        message = (
            f"the labels are {values[:6]}; erasure needs the labels 0 and 1, both of them in the training "
            "rows and in the held-out rows"
        )
        raise api.ItemError(message)
    return Examples(train, test, ctx.info.n_units, ctx.unit_kind)


def _labelled(ctx: api.EvalContext, budget: RowBudget, rows: api.Rows) -> LabelledRows:
    found = []
    for chunk in ctx.chunks(rows):
        drawn = budget.drawn(chunk, rows).cpu()
        if chunk.labels is not None and len(drawn):
            context = chunk.row - chunk.position  # the number of its first row names a context
            found.append(
                (
                    chunk.x.cpu()[drawn],
                    chunk.target.cpu()[drawn].double(),
                    chunk.labels[drawn],
                    chunk.unit[drawn],
                    context[drawn],
                )
            )
    if not found:
        message = f"there are no labelled rows on the side {rows!r}"
        raise api.ItemError(message)
    x, y, label, unit, context = (torch.cat(column) for column in zip(*found, strict=True))
    _, prompt = torch.unique(context, return_inverse=True)
    return LabelledRows(x, y, label, unit, prompt)
