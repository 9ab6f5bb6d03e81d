"""Whether a dataset gives what it says, the same each time, in tokens that fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darkmatter.descriptors import Dataset
from darkmatter.models import TextTokenizer
from darkmatter.tasks import TASKS, Concepts, LabelledPrompts, MinimalPairs
from darkmatter.testing.rules import default_config, descriptor_of, refuse, require, undisturbed
from darkmatter.testing.words import WordTokenizer

LEAST_GROUPS = 4
"""Groups of one label from which on a split by group has two on either side."""


def check_dataset(
    dataset: Dataset | str, config: Mapping[str, Any] | None = None, *, tokenizer: TextTokenizer | None = None
) -> None:
    """Raise AssertionError unless a dataset conforms.

    It gives the kind that its descriptor names, equal for equal seeds, of at least two items, whose tokens
    are ids; pairs are of equal length and differ; labels are 0 and 1, each with four groups of its own or
    more, so that half of them can be held out; the two answers differ; spans lie in their prompts; concepts
    have tokens and share none within a group.

    Args:
        dataset: a descriptor, or the name of an installed one (then imports are checked too).
        config: options; by default the defaults.
        tokenizer: what it is written with; by default one for which every word is a token.
    """
    described = descriptor_of("datasets", dataset, Dataset)
    where = f"the dataset {described.name!r}"
    options = default_config(described, config)
    make = described.resolve()
    words = tokenizer or WordTokenizer()
    with undisturbed(where, first=True):
        task = make(options, words, 0)
        again = make(options, words, 0)
    require(task == again, "One seed gives one dataset.", f"{where}: two that differ", "draw from the seed.")
    expected = TASKS[described.gives]
    require(
        isinstance(task, expected),
        "A dataset gives what its descriptor says.",
        f"{where}: {type(task).__name__}, described as {described.gives!r}",
        f"return an api.{expected.__name__}.",
    )
    for fault in _faults(task):
        refuse(
            "What a dataset gives fits together, and is enough to measure with.",
            f"{where}: {fault}",
            f"see help(darkmatter.api.{expected.__name__}) and its fields in docs/plugins.md.",
        )


def _faults(task: MinimalPairs | LabelledPrompts | Concepts) -> list[str]:
    if isinstance(task, MinimalPairs):
        return _pair_faults(task)
    if isinstance(task, LabelledPrompts):
        return _label_faults(task)
    return _concept_faults(task)


def _pair_faults(pairs: MinimalPairs) -> list[str]:
    sizes = {len(each) for each in (pairs.clean, pairs.corrupted, pairs.answers, pairs.wrong)}
    if len(sizes) != 1 or min(sizes) < 2:
        return [
            f"{sorted(sizes)} clean and corrupted prompts, answers, wrong answers; expected as many, 2 up"
        ]
    found = []
    for n, (clean, corrupted) in enumerate(zip(pairs.clean, pairs.corrupted, strict=True)):
        if len(clean) != len(corrupted) or not clean or list(clean) == list(corrupted):
            found.append(f"pair {n} has {len(clean)} and {len(corrupted)} tokens, or does not differ")
        if pairs.answers[n] == pairs.wrong[n]:
            found.append(f"pair {n} has one right and wrong answer, token {pairs.wrong[n]}")
    return found + _id_faults([*pairs.clean, *pairs.corrupted, pairs.answers, pairs.wrong])


def _label_faults(task: LabelledPrompts) -> list[str]:
    sizes = {len(each) for each in (task.prompts, task.labels, task.groups, task.spans)}
    if len(sizes) != 1:
        return [f"{sorted(sizes)} prompts, labels, groups, spans; expected as many of each"]
    if set(task.labels) != {0, 1}:
        return [f"the labels are {sorted(set(task.labels))}, not 0 and 1"]
    found = _group_faults(task)
    if len(task.answers) != 2 or task.answers[0] == task.answers[1]:
        found.append(
            f"the answers are {task.answers}; expected two tokens that differ, for label 0 and label 1"
        )
    for n, (prompt, (first, last)) in enumerate(zip(task.prompts, task.spans, strict=True)):
        if not 0 <= first <= last < len(prompt):
            found.append(f"the span {first} to {last} of prompt {n} is outside its {len(prompt)} tokens")
    return found + _id_faults([*task.prompts, task.answers])


def _group_faults(task: LabelledPrompts) -> list[str]:
    of = [{g for g, label in zip(task.groups, task.labels, strict=True) if label == side} for side in (0, 1)]
    found = [
        f"label {label} has {len(groups)} groups; a split by group needs {LEAST_GROUPS} or more, so that two "
        "train and two are held out"
        for label, groups in enumerate(of)
        if len(groups) < LEAST_GROUPS
    ]
    both = sorted(of[0] & of[1])
    if both:
        found.append(f"the group {both[0]!r} has prompts of both labels, so that it tells neither")
    return found


def _concept_faults(task: Concepts) -> list[str]:
    found = [] if task.groups else ["there are no groups"]
    for name, concepts in task.groups.items():
        tokens = [token for ids in concepts.values() for token in ids]
        if len(concepts) < 2 or not all(concepts.values()):
            found.append(f"the group {name!r} has fewer than two concepts, or one without tokens")
        if len(tokens) != len(set(tokens)):
            found.append(f"two concepts of the group {name!r} share a token")
        found += _id_faults(list(concepts.values()))
    return found


def _id_faults(rows: Sequence[Sequence[int]]) -> list[str]:
    wrong = [token for row in rows for token in row if type(token) is not int or token < 0]
    return [f"{wrong[0]!r} is no token id"] if wrong else []
