"""What datasets give: prompts that a model is tested on, and words whose meaning is known.

Tokens are ids of the run's tokenizer without special tokens; the run puts BOS before each prompt where
its own text begins with BOS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

TaskKind = Literal["minimal_pairs", "labelled_prompts", "concepts"]
"""What a dataset says that it gives."""


@dataclass(frozen=True)
class MinimalPairs:
    """Pairs of prompts of equal length that call for different next tokens.

    Attributes:
        clean: prompts as they are.
        corrupted: the same with another word in every place of one word; as many tokens.
        answers: the right next token of each clean prompt.
        wrong: that of its corrupted prompt.
    """

    clean: Sequence[Sequence[int]]
    corrupted: Sequence[Sequence[int]]
    answers: Sequence[int]
    wrong: Sequence[int]

    def after(self, bos: int | None) -> MinimalPairs:
        """The same with BOS before every prompt."""
        return replace(self, clean=_after(bos, self.clean), corrupted=_after(bos, self.corrupted))


@dataclass(frozen=True)
class LabelledPrompts:
    """Prompts with a binary label that the model's next token should show.

    Attributes:
        prompts: token ids, of any lengths.
        labels: 0 or 1 each.
        groups: what is held out together, such as the name in the prompt.
        answers: the next tokens that stand for label 0 and label 1.
        spans: first and last position (included) of the words that carry the label, per prompt.
    """

    prompts: Sequence[Sequence[int]]
    labels: Sequence[int]
    groups: Sequence[str]
    answers: tuple[int, int]
    spans: Sequence[tuple[int, int]]

    def after(self, bos: int | None) -> LabelledPrompts:
        """The same with BOS before every prompt."""
        moved = self.spans if bos is None else [(first + 1, last + 1) for first, last in self.spans]
        return replace(self, prompts=_after(bos, self.prompts), spans=moved)


@dataclass(frozen=True)
class Concepts:
    """Concepts by the tokens that show them, in groups of which each is the other's contrast.

    ``groups["gender"] = {"f": (ids…), "m": (ids…)}``: at a token of one concept, the other concepts of its
    group are absent.
    """

    groups: Mapping[str, Mapping[str, Sequence[int]]]

    def after(self, bos: int | None) -> Concepts:  # noqa: ARG002 - there are no prompts
        """The same: concepts hold no prompts."""
        return self


Task = MinimalPairs | LabelledPrompts | Concepts

TASKS: Mapping[TaskKind, type[Task]] = {
    "minimal_pairs": MinimalPairs,
    "labelled_prompts": LabelledPrompts,
    "concepts": Concepts,
}
"""The class of each kind."""


def in_words(kind: TaskKind) -> str:
    """A kind as a sentence has it: ``minimal pairs``."""
    return kind.replace("_", " ")


def _after(bos: int | None, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[*([] if bos is None else [bos]), *prompt] for prompt in prompts]
